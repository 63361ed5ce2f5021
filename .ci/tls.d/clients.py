"""Clients of four kinds that call the gateway over TLS. Each says whether it was answered."""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

# Failed handshakes are what is expected here.
os.environ["GRPC_VERBOSITY"] = "NONE"

import grpc

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "proto"))
protos, services = grpc.protos_and_services("autoshares/passwordreset/v1/password_reset.proto")

RPC = "autoshares.passwordreset.v1.PasswordResetService/GetSecretQuestion"
TIMEOUT = 10
# HTTP/2's preface and an empty SETTINGS frame.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS = 4


def s_client(target, *options, **streams):
    # OpenSSL's own level of security would keep small keys and old versions from being sent.
    command = ["openssl", "s_client", "-connect", target, "-cipher", "DEFAULT@SECLEVEL=0", *map(str, options)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, **streams)


def with_certificate(certificate):
    if certificate is None:
        return []
    chain = ["-cert_chain", certificate.intermediates] if certificate.intermediates.stat().st_size else []
    return ["-cert", certificate.chain, "-key", certificate.key, *chain]


class OpenSsl:
    """Makes the handshake, and is answered if the server greets it by HTTP/2."""

    def __init__(self, *options):
        self.options = options

    def call(self, gateway, authority, certificate):
        options = ["-CAfile", authority, "-verify_return_error", "-quiet", *with_certificate(certificate), *self.options]
        with s_client(gateway.target, *options, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(GREETING)
            readable, _, _ = select.select([process.stdout], [], [], TIMEOUT)
            answer = process.stdout.read(1024) if readable else b""
            process.kill()
        return answer[3:4] == bytes([SETTINGS])


class Grpcurl:
    def __init__(self, program):
        self.program = program

    def call(self, gateway, authority, certificate):
        files = ["-cert", certificate.chain, "-key", certificate.key] if certificate else []
        command = [self.program, "-cacert", authority, *files, "-d", '{"username": "robert.zak"}', gateway.target, RPC]
        before = len(gateway.failures())
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            # It would try again until its time-out.
            while process.poll() is None and len(gateway.failures()) == before:
                time.sleep(0.02)
            process.kill()
        return process.returncode == 0


class Grpcio:
    """gRPC's C core."""

    def call(self, gateway, authority, certificate):
        files = [certificate.key.read_bytes(), certificate.chain.read_bytes()] if certificate else []
        credentials = grpc.ssl_channel_credentials(authority.read_bytes(), *files)
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.secure_channel(gateway.target, credentials, options) as channel:
            stub = services.PasswordResetServiceStub(channel)
            request = protos.GetSecretQuestionRequest(username="robert.zak")
            return stub.GetSecretQuestion.future(request, timeout=TIMEOUT).exception() is None


class GrpcJs:
    """A process that makes one call after the other; `packages` is the folder of node_modules."""

    def __init__(self, packages):
        program = packages / "tls.js"
        program.write_text((Path(__file__).parent / "grpc_js.js").read_text())
        environment = {**os.environ, "PROTO_PATH": str(ROOT / "proto"), "NODE_NO_WARNINGS": "1"}
        self.process = subprocess.Popen(
            ["node", program], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(self, gateway, authority, certificate):
        case = {"target": gateway.target, "ca": str(authority)}
        if certificate:
            case |= {"cert": str(certificate.chain), "key": str(certificate.key)}
        print(json.dumps(case), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline()) is None

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def handshakes(target, *options, session):
    """Whether each of two handshakes was "New" or "Reused": the second one offers the session of the first, if that had one."""
    kinds = [handshake(target, "-sess_out", session, *options)]
    if session.exists():
        kinds.append(handshake(target, "-sess_in", session, *options))
    return kinds


def handshake(target, *options):
    with s_client(target, *options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        time.sleep(0.5)  # for tickets to come
        output = process.communicate()[0].decode()
    return next((line.split(",")[0] for line in output.splitlines() if line.startswith(("New,", "Reused,"))), output)
