"""A password reset: reset.py TARGET [TLS]

    pip install grpcio grpcio-status grpcio-tools
    F=autoshares/passwordreset/v1/password_reset.proto
    python -m grpc_tools.protoc -I proto --python_out=examples/python --grpc_python_out=examples/python $F
    python examples/python/reset.py 127.0.0.1:50051
"""

import json
import sys
import urllib.request
import uuid
from pathlib import Path

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from autoshares.passwordreset.v1.password_reset_pb2 import (
    GenerateTokenRequest, GetSecretQuestionRequest, ResetPasswordRequest, UpdatePasswordRequest)
from autoshares.passwordreset.v1.password_reset_pb2_grpc import PasswordResetServiceStub

MAILBOX = "http://127.0.0.1:8080/sandbox/mailbox/robert.zak"
SERVICE_CONFIG = Path("deploy/grpc/retry-with-request-id.json").read_text()
TIMEOUT = 12  # seconds, a little more than the gateway's own


def connect(target, tls=None):
    options = [("grpc.service_config", SERVICE_CONFIG)]
    if tls is None:
        return grpc.insecure_channel(target, options)
    files = [(Path(tls) / name).read_bytes() for name in ("ca.pem", "client-key.pem", "client.pem")]
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(*files), options)


def error_info(error):
    """None: a library or a proxy made the status."""
    status, info = rpc_status.from_call(error), ErrorInfo()
    return info if status and any(detail.Unpack(info) for detail in status.details) else None


def new_id():
    return str(uuid.uuid4())


def mailed_code():
    with urllib.request.urlopen(MAILBOX) as mailbox:
        return json.load(mailbox)["code"]


def main(*arguments):
    with connect(*arguments) as channel:
        service = PasswordResetServiceStub(channel)
        try:
            service.ResetPassword(ResetPasswordRequest(user="robert.zak", request_id=new_id()), timeout=TIMEOUT)
        except grpc.RpcError as error:
            info = error_info(error)
            if not info or info.reason != "SECRET_QUESTION_ANSWER_REQUIRED":
                raise
            print(f"{info.reason}, outcome: {info.metadata['outcome']}")
            answer_the_question(service)

        code = GenerateTokenRequest(code=mailed_code(), request_id=new_id())
        token = service.GenerateToken(code, timeout=TIMEOUT).token
        update = UpdatePasswordRequest(token=token, password="correct horse", request_id=new_id())
        service.UpdatePassword(update, timeout=TIMEOUT)
        print("the password is set")


def answer_the_question(service):
    request = GetSecretQuestionRequest(username="robert.zak")
    print(service.GetSecretQuestion(request, timeout=TIMEOUT).secret_question)
    request = ResetPasswordRequest(user="robert.zak", secret_question_answer="Peterson", request_id=new_id())
    service.ResetPassword(request, timeout=TIMEOUT)


main(*sys.argv[1:])
