"""Certificates for 127.0.0.1 that clients trust when they are told to."""

import base64
import dataclasses
import datetime
import hashlib
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_VALID = datetime.timedelta(days=1)


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A PEM file with a key and a self-signed certificate."""

    path: Path

    @classmethod
    def make(cls, directory: Path, valid: datetime.timedelta = _VALID) -> "Certificate":
        """Write one that is valid for a day, or as long as is said."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path = directory / "certificate.pem"
        path.write_bytes(pem + _signed(key, valid).public_bytes(serialization.Encoding.PEM))
        return cls(path)

    def server(self) -> ssl.SSLContext:
        """For the side that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        return context

    def pin(self) -> str:
        """What a browser may be told to trust: the digest of the public key, as it has it."""
        key = x509.load_pem_x509_certificate(self.path.read_bytes()).public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = key.public_bytes(serialization.Encoding.DER, form)
        return base64.b64encode(hashlib.sha256(public).digest()).decode()

    def client(self) -> ssl.SSLContext:
        """For the side that trusts it."""
        return ssl.create_default_context(cafile=str(self.path))


def _signed(key: ec.EllipticCurvePrivateKey, valid: datetime.timedelta) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID)
        .not_valid_after(now + valid)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
