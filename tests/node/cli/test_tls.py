"""TLS: what is trusted, what is shown, which name is expected."""

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.node.cli.conftest import FakeNode, Terminal


@dataclass(frozen=True)
class Files:
    """A CA, a server certificate for vault.internal, and a client certificate, as PEM files."""

    ca: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("tls")
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
    now = datetime.datetime.now(datetime.UTC)

    def builder(subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )

    ca = builder(name, ca_key.public_key()).add_extension(x509.BasicConstraints(True, None), True)
    leaf = builder(x509.Name([]), key.public_key()).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("vault.internal")]), True
    )
    result = Files(folder / "ca" / "ca.pem", folder / "cert.pem", folder / "key.pem")
    result.ca.parent.mkdir()
    pem = serialization.Encoding.PEM
    result.ca.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    result.certificate.write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    result.key.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    return result


@pytest.fixture
def tls_address(node: FakeNode, files: Files) -> str:
    """The fake node behind TLS that asks for a client certificate; ended with the fake's own server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(files.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    node.data("GET sys/x", {"a": "b"})
    return node.listen_tls(context)


READ = ("read", "-field=a", "sys/x")


def test_all_of_it(sr: Terminal, files: Files, tls_address: str) -> None:
    """CA file or folder or text, client certificate, expected name: by flag or by variable."""
    client = (f"-client-cert={files.certificate}", f"-client-key={files.key}", "-tls-server-name=vault.internal")
    assert sr(*READ, f"-address={tls_address}", f"-ca-cert={files.ca}", *client).out == "b"
    assert sr(*READ, f"-address={tls_address}", f"-ca-path={files.ca.parent}", *client).out == "b"
    assert sr(*READ, f"-address={tls_address}", "-tls-skip-verify", *client).out == "b"
    sr.environ |= {
        "VAULT_ADDR": tls_address,
        "VAULT_CACERT_BYTES": files.ca.read_text(),
        "VAULT_CLIENT_CERT": str(files.certificate),
        "VAULT_CLIENT_KEY": str(files.key),
        "VAULT_TLS_SERVER_NAME": "vault.internal",
    }
    assert sr(*READ).out == "b"


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("-tls-server-name=vault.internal",), 2),
        (("-ca-cert={ca}",), 2),
        (("-ca-cert={ca}", "-tls-server-name=other.internal"), 2),
        (("-ca-cert=/does/not/exist",), 1),
        (("-client-cert={ca}",), 1),
    ],
)
def test_what_is_refused(
    sr: Terminal, node: FakeNode, files: Files, tls_address: str, flags: tuple[str, ...], code: int
) -> None:
    """An unknown CA, another name or files that do not fit: one line, and the token was never sent."""
    result = sr(*READ, f"-address={tls_address}", *(flag.format(ca=files.ca) for flag in flags))
    assert result.code == code
    assert result.err.count("\n") == 1
    assert node.received == []
