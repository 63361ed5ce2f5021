"""A password reset with grpcio: python_sync.py TARGET SANDBOX"""

import json
import sys
import urllib.request

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from autoshares.passwordreset.v1.password_reset_pb2 import (
    GenerateTokenRequest, GetSecretQuestionRequest, ResetPasswordRequest, UpdatePasswordRequest)
from autoshares.passwordreset.v1.password_reset_pb2_grpc import PasswordResetServiceStub


def reason(error):
    """The reason in the error's ErrorInfo."""
    info = ErrorInfo()
    details = rpc_status.from_call(error).details
    return next(info.reason for detail in details if detail.Unpack(info))


def mailed_code(sandbox, user):
    with urllib.request.urlopen(f"{sandbox}sandbox/mailbox/{user}") as mailbox:
        return json.load(mailbox)["code"]


def main(target, sandbox):
    with grpc.insecure_channel(target, compression=grpc.Compression.Gzip) as channel:
        service = PasswordResetServiceStub(channel)

        try:
            service.ResetPassword(ResetPasswordRequest(user="robert.zak"), timeout=10)
            raise AssertionError("the secret question was not asked")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
            assert reason(error) == "SECRET_QUESTION_ANSWER_REQUIRED", error

        request = GetSecretQuestionRequest(username="robert.zak")
        question = service.GetSecretQuestion(request, timeout=10).secret_question
        assert question.startswith("What street"), question

        try:
            service.GetSecretQuestion(GetSecretQuestionRequest(username="fault:hang"), timeout=0.3)
            raise AssertionError("the deadline did not pass")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error

        answered = ResetPasswordRequest(user="robert.zak", secret_question_answer="Peterson")
        service.ResetPassword(answered, timeout=10)

        code = mailed_code(sandbox, "robert.zak")
        token = service.GenerateToken(GenerateTokenRequest(code=code), timeout=10).token

        # Long enough that it is worth compressing.
        password = "correct horse battery staple " * 20
        service.UpdatePassword(UpdatePasswordRequest(token=token, password=password), timeout=10)

        # The gateway is told to stop while it waits for the API, which takes three seconds.
        call = service.ResetPassword.future(ResetPasswordRequest(user="fault:slow"), timeout=10)
        print("waiting", flush=True)
        call.result()


main(*sys.argv[1:])
