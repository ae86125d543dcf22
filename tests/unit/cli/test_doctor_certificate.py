"""What the doctor says of the certificate of https: real ones, looked at at various times."""

import datetime
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tesp.cli.doctor.certificate import certificate_finding
from tesp.cli.doctor.findings import Finding, Verdict
from tesp.settings import ServerSettings
from tests.peers.certificates import Certificate

_DAY = 86400.0
_MONTH = datetime.timedelta(days=30)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return Certificate.make(tmp_path, _MONTH).path


def found(certificate: Path, key: Path | None = None, days: float = 0) -> Finding:
    """What is said of it in so many days."""
    server = ServerSettings(certificate=certificate, certificate_key=key)
    return certificate_finding(server, time.time() + days * _DAY)


@pytest.mark.parametrize(
    ("days", "verdict", "said"),
    [
        (-2, Verdict.FAIL, "not valid before"),
        (0, Verdict.OK, "until"),
        (15, Verdict.OK, "until"),
        (17, Verdict.WARN, "expires soon"),
        (31, Verdict.FAIL, "has expired"),
    ],
)
def test_it_is_well_until_two_weeks_before_its_end(
    certificate: Path, days: float, verdict: Verdict, said: str
) -> None:
    finding = found(certificate, days=days)
    assert (finding.verdict, said in finding.found) == (verdict, True), finding
    assert (verdict is Verdict.OK) == (finding.mend == "")
    ends = datetime.datetime.now(datetime.UTC) + _MONTH
    assert (ends.strftime("%Y-%m-%d") in finding.found) == (days >= 0)


@pytest.mark.parametrize("field", ["certificate", "certificate_key"])
def test_a_file_that_cannot_be_read_is_named_by_its_field(certificate: Path, field: str) -> None:
    given = {"certificate": certificate, "certificate_key": certificate}
    for path, said in ((certificate.parent, "directory"), (Path("/nowhere"), "No such file")):
        server = ServerSettings(**{**given, field: path})
        finding = certificate_finding(server, time.time())
        assert finding.verdict is Verdict.FAIL
        assert said in finding.found
        assert finding.mend.endswith(f"server.{field}.")


def test_a_key_in_a_file_of_its_own_has_to_be_that_of_the_certificate(
    certificate: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Certificate.make(tmp_path / "other").path
    assert found(certificate, certificate).verdict is Verdict.OK
    finding = found(certificate, other)
    assert finding.verdict is Verdict.FAIL
    assert f"the key in {other} is not that of {certificate}" in finding.found
    assert "server.certificate_key" in finding.mend


def test_what_is_no_certificate_with_a_key_is_told(certificate: Path, tmp_path: Path) -> None:
    key, alone, none = (tmp_path / name for name in ("key", "alone", "none"))
    text = certificate.read_text()
    begin = text.index("-----BEGIN CERTIFICATE")
    key.write_text(text[:begin])
    alone.write_text(text[begin:])
    none.write_text("no PEM")
    assert found(alone, key).verdict is Verdict.OK
    for pair in ((alone, None), (none, key), (key, key), (alone, none), (alone, encrypted(key))):
        finding = found(*pair)
        assert finding.verdict is Verdict.FAIL, pair
        assert "cannot be used" in finding.found
        assert "server.certificate" in finding.mend


def encrypted(key: Path) -> Path:
    path = key.with_name("encrypted")
    path.write_bytes(
        serialization.load_pem_private_key(key.read_bytes(), None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
    )
    return path


def test_the_first_of_a_chain_counts_whoever_signed_it(tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_bytes(chained(ExtendedKeyUsageOID.SERVER_AUTH))
    assert found(chain).verdict is Verdict.OK
    # Those who signed it may be known to clients by certificates that last longer.
    assert found(chain, days=3).verdict is Verdict.OK


def test_one_that_is_not_for_servers_is_refused_as_clients_refuse_it(tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_bytes(chained(ExtendedKeyUsageOID.CLIENT_AUTH))
    finding = found(chain)
    assert finding.verdict is Verdict.FAIL
    assert "purpose" in finding.found


def chained(usage: x509.ObjectIdentifier) -> bytes:
    """A key, its certificate for a month, and that of its signer, for a day, which the one who
    signed that does not come with."""
    root, signer, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    leaf = issued("own", own, "signer", 30)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    above = issued("signer", signer, "root", 1)
    above = above.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    return b"".join(
        (
            own.private_bytes(pem, form, serialization.NoEncryption()),
            leaf.sign(signer, hashes.SHA256()).public_bytes(pem),
            above.sign(root, hashes.SHA256()).public_bytes(pem),
        )
    )


def issued(
    name: str, key: ec.EllipticCurvePrivateKey, by: str, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, by)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )
