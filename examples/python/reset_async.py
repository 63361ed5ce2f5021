"""A password reset with asyncio: reset_async.py TARGET [TLS]

Install and generate as for reset.py.
"""

import asyncio
import json
import sys
import urllib.request
import uuid
from pathlib import Path

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from autoshares.passwordreset.v1.password_reset_pb2 import (
    GenerateTokenRequest, GetSecretQuestionRequest, ResetPasswordRequest, UpdatePasswordRequest)
from autoshares.passwordreset.v1.password_reset_pb2_grpc import PasswordResetServiceStub

MAILBOX = "http://127.0.0.1:8080/sandbox/mailbox/robert.zak"
SERVICE_CONFIG = Path("deploy/grpc/retry-with-request-id.json").read_text()
TIMEOUT = 12  # seconds, a little more than the gateway's own


def connect(target, tls=None):
    options = [("grpc.service_config", SERVICE_CONFIG)]
    if tls is None:
        return grpc.aio.insecure_channel(target, options)
    files = [(Path(tls) / name).read_bytes() for name in ("ca.pem", "client-key.pem", "client.pem")]
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(*files), options)


def error_info(error):
    """None: a library or a proxy made the status."""
    status, info = Status.FromString(error.trailing_metadata().get("grpc-status-details-bin", b"")), ErrorInfo()
    return info if any(detail.Unpack(info) for detail in status.details) else None


def new_id():
    return str(uuid.uuid4())


def mailed_code():
    with urllib.request.urlopen(MAILBOX) as mailbox:
        return json.load(mailbox)["code"]


async def main(*arguments):
    async with connect(*arguments) as channel:
        service = PasswordResetServiceStub(channel)
        try:
            await service.ResetPassword(ResetPasswordRequest(user="robert.zak", request_id=new_id()), timeout=TIMEOUT)
        except grpc.aio.AioRpcError as error:
            info = error_info(error)
            if not info or info.reason != "SECRET_QUESTION_ANSWER_REQUIRED":
                raise
            print(f"{info.reason}, outcome: {info.metadata['outcome']}")
            await answer_the_question(service)

        code = GenerateTokenRequest(code=await asyncio.to_thread(mailed_code), request_id=new_id())
        token = (await service.GenerateToken(code, timeout=TIMEOUT)).token
        update = UpdatePasswordRequest(token=token, password="correct horse", request_id=new_id())
        await service.UpdatePassword(update, timeout=TIMEOUT)
        print("the password is set")


async def answer_the_question(service):
    request = GetSecretQuestionRequest(username="robert.zak")
    print((await service.GetSecretQuestion(request, timeout=TIMEOUT)).secret_question)
    request = ResetPasswordRequest(user="robert.zak", secret_question_answer="Peterson", request_id=new_id())
    await service.ResetPassword(request, timeout=TIMEOUT)


asyncio.run(main(*sys.argv[1:]))
