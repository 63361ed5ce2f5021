"""Certificates of all kinds, made by openssl: good ones, and those with which a client must not get in."""

import datetime
import itertools
import subprocess
from dataclasses import dataclass
from pathlib import Path

# How openssl makes a key of each type. Servers and clients can have these.
KEY_TYPES = {
    "P-256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "P-384": ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "RSA-2048": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "RSA-4096": ["RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
    "Ed25519": ["ED25519"],
}
# And those that no gateway takes.
BAD_KEY_TYPES = {
    "RSA-1024": ["RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
    "P-521": ["EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
}
# The names in good certificates.
CLIENT_NAME = "spiffe://example.org/ns/trading/sa/web"
INTERMEDIATE_CLIENT = "client.example.com"
CLIENT = f"URI:{CLIENT_NAME}"
DAY = datetime.timedelta(days=1)

CONFIG = """
[ca]
default_ca = it
[it]
database = index
serial = serial
crlnumber = crlnumber
new_certs_dir = .
certificate = ca.pem
private_key = ca-key.pem
default_md = sha256
default_crl_days = 7
policy = any
unique_subject = no
[any]
commonName = optional
[req]
distinguished_name = name
[name]
"""
AUTHORITY = ["basicConstraints = critical, CA:TRUE", "keyUsage = critical, keyCertSign, cRLSign"]
LEAF = ["basicConstraints = critical, CA:FALSE", "keyUsage = critical, digitalSignature"]
EXPIRED = {"start": -30 * DAY, "end": -DAY}

numbers = itertools.count(1)


def openssl(*arguments, directory="."):
    done = subprocess.run(["openssl", *map(str, arguments)], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(map(str, arguments))}:\n{done.stderr}")
    return done.stdout


def date(after):
    """As openssl takes it: the time that long from now."""
    return (datetime.datetime.now(datetime.timezone.utc) + after).strftime("%Y%m%d%H%M%SZ")


@dataclass
class Certificate:
    """The paths of the certificate with its intermediates, of those alone, and of its key."""

    chain: Path
    intermediates: Path
    key: Path


class Authority:
    """A certificate authority: a root, or below another one."""

    def __init__(self, folder, name, parent=None, extensions=(), **dates):
        self.folder = folder / f"authority-{next(numbers)}"
        self.folder.mkdir()
        for file, text in {"index": "", "serial": "01", "crlnumber": "01", "config": CONFIG}.items():
            (self.folder / file).write_text(text)
        self.certificate = self.folder / "ca.pem"
        self.name = name
        key = new_key(self.folder / "ca-key.pem", KEY_TYPES["P-256"])
        request = new_request(key, name)
        signer = parent or self
        signer.sign(request, self.certificate, [*AUTHORITY, *extensions], self_signed=parent is None, **dates)
        # What a client sends beside its own certificate.
        self.intermediates = self.certificate.read_text() + parent.intermediates if parent else ""

    def sign(self, request, certificate, extensions, start=-DAY, end=7 * DAY, self_signed=False):
        file = request.with_suffix(".extensions")
        file.write_text("\n".join(extensions))
        options = ["-extfile", file] if extensions else []
        options += ["-selfsign"] if self_signed else []
        openssl("ca", "-config", "config", "-batch", "-notext", "-in", request, "-out", certificate,
                "-startdate", date(start), "-enddate", date(end), *options, directory=self.folder)

    def leaf(self, purpose, names, key_type=KEY_TYPES["P-256"], extensions=LEAF, **dates):
        key = new_key(self.folder / f"{next(numbers)}-key.pem", key_type)
        chain = key.with_name(key.name.replace("-key", ""))
        if purpose:
            extensions = [*extensions, f"extendedKeyUsage = {purpose}", f"subjectAltName = {names}"]
        self.sign(new_request(key, "leaf"), chain, extensions, **dates)
        chain.write_text(chain.read_text() + self.intermediates)
        intermediates = chain.with_suffix(".intermediates")
        intermediates.write_text(self.intermediates)
        return Certificate(chain, intermediates, key)

    def server(self, key_type):
        return self.leaf("serverAuth", "DNS:localhost, IP:127.0.0.1", key_type)

    def client(self, key_type=KEY_TYPES["P-256"], names=CLIENT, **options):
        return self.leaf("clientAuth", names, key_type, **options)

    def revoke(self, certificate):
        openssl("ca", "-config", "config", "-revoke", certificate.chain, directory=self.folder)

    def revocation_list(self, end=7 * DAY):
        file = self.folder / "crl.pem"
        openssl("ca", "-config", "config", "-gencrl", "-crl_lastupdate", date(-DAY), "-crl_nextupdate", date(end),
                "-out", file, directory=self.folder)
        return file.read_text()


def new_key(path, key_type):
    openssl("genpkey", "-algorithm", *key_type, "-out", path)
    return path


def new_request(key, name):
    request = key.with_suffix(".csr")
    openssl("req", "-new", "-config", "config", "-key", key, "-subj", f"/CN={name}", "-out", request, directory=key.parent)
    return request


def version(certificate):
    return openssl("x509", "-in", certificate.chain, "-noout", "-text").split("Version: ")[1].split(" ")[0]


class Clients:
    """The authorities of clients: what the gateway is given of them, and certificates by them."""

    def __init__(self, folder):
        self.folder = folder
        self.root = Authority(folder, "clients")
        self.without_intermediates = folder / "none.intermediates"
        self.without_intermediates.touch()
        only_example_com = ["nameConstraints = critical, permitted;DNS:example.com"]
        self.constrained = Authority(folder, "clients of example.com", self.root, only_example_com)
        self.without_list = Authority(folder, "clients without a revocation list")
        self.good = {name: self.root.client(key_type) for name, key_type in KEY_TYPES.items()}
        self.good["by an intermediate"] = self.constrained.client(names=f"DNS:{INTERMEDIATE_CLIENT}")
        # Each with the result that the gateway logs and counts.
        self.bad = {name: (make(self.root), result) for name, (make, result) in self.bad_kinds().items()}
        self.authorities = folder / "authorities.pem"
        self.authorities.write_text(self.root.certificate.read_text() + self.without_list.certificate.read_text())

    def bad_kinds(self):
        folder = self.folder
        return {
            "none": (lambda root: None, "no_certificate"),
            "other authority": (lambda root: Authority(folder, "others").client(), "unknown_ca"),
            "authority of the same name": (lambda root: Authority(folder, "clients").client(), "unknown_ca"),
            "self-signed": (self.self_signed, "unknown_ca"),
            "expired": (lambda root: root.client(**EXPIRED), "expired"),
            "not yet valid": (lambda root: root.client(start=DAY), "not_yet_valid"),
            "revoked": (self.revoked, "revoked"),
            "without revocation list": (lambda root: self.without_list.client(), "unknown_revocation_status"),
            "for servers": (lambda root: root.leaf("serverAuth", CLIENT), "wrong_purpose"),
            "an authority's": (lambda root: root.client(extensions=AUTHORITY), "bad_certificate"),
            "missing intermediate": (self.missing_intermediate, "unknown_ca"),
            "expired intermediate": (
                lambda root: Authority(folder, "expired", root, **EXPIRED).client(), "expired"),
            "outside name constraints": (
                lambda root: self.constrained.client(names="DNS:client.example.org"), "bad_certificate"),
            "two SPIFFE ids": (
                lambda root: root.client(names=f"{CLIENT}, URI:spiffe://example.org/other"), "bad_identity"),
            "malformed SPIFFE id": (lambda root: root.client(names="URI:spiffe://example.org/a//b"), "bad_identity"),
            "version 1": (self.version_1, "bad_certificate"),
            # rustls does not tell a handshake's signature that it cannot check from a certificate's.
            "RSA-1024": (lambda root: root.client(BAD_KEY_TYPES["RSA-1024"]), "unknown_ca"),
            # Most clients see that the gateway does not take such a key, and send no certificate.
            "P-521": (lambda root: root.client(BAD_KEY_TYPES["P-521"]), "no_certificate"),
        }

    def self_signed(self, _):
        key = new_key(self.root.folder / "self-signed-key.pem", KEY_TYPES["P-256"])
        chain = self.folder / "self-signed.pem"
        extensions = [*LEAF, "extendedKeyUsage = clientAuth", f"subjectAltName = {CLIENT}"]
        openssl("req", "-new", "-x509", "-config", "config", "-key", key, "-subj", "/CN=client", "-out", chain,
                *(option for extension in extensions for option in ("-addext", extension)), directory=self.root.folder)
        return Certificate(chain, self.without_intermediates, key)

    def revoked(self, root):
        certificate = root.client()
        root.revoke(certificate)
        return certificate

    def missing_intermediate(self, root):
        intermediate = Authority(self.folder, "missing", root)
        intermediate.intermediates = ""
        return intermediate.client()

    def version_1(self, root):
        certificate = root.leaf(None, None, extensions=[])
        assert version(certificate) == "1", "this openssl makes no certificates of version 1"
        return certificate

    def revocation_lists(self, **options):
        lists = self.folder / f"lists-{next(numbers)}.pem"
        lists.write_text(self.root.revocation_list(**options) + self.constrained.revocation_list(**options))
        return lists
