"""TLS of a listener over real sockets: versions, suites, client certificates, and certificates that change."""

import asyncio
import ssl
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from node.config.listeners import Listener
from node.errors import ConfigError
from node.listener_tls import ListenerTls
from tests.certificates import Ca, Issued
from tests.node.edges import GET, Listens, listening


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    return Ca(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(ca: Ca) -> Issued:
    return ca.issue("server")


def encrypted(of: Issued, **settings: object) -> Listener:
    files = {"tls_cert_file": str(of.cert_file), "tls_key_file": str(of.key_file)}
    return Listener(type="tcp", declared_at="a.hcl:3", address="127.0.0.1:0", **(files | settings))  # type: ignore[arg-type]


async def spoken(rig: Listens, client: ssl.SSLContext) -> tuple[str, str]:
    """The version and the suite that a client and the listener agree on."""
    connection = await rig.connect(client)
    tls = connection.writer.get_extra_info("ssl_object")
    connection.send()
    assert await connection.status() == 200
    connection.close()
    return str(tls.version()), str(tls.cipher()[0])


def limited(ca: Ca, low: ssl.TLSVersion, high: ssl.TLSVersion) -> ssl.SSLContext:
    context = ca.client_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = low, high
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


async def refused(rig: Listens, client: ssl.SSLContext) -> None:
    """The handshake fails, or what is sent over it meets the end of the connection."""
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        connection = await rig.connect(client)
        connection.send()
        await connection.status()


V11, V12, V13 = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


async def test_versions(ca: Ca, server: Issued) -> None:
    """Without settings TLS 1.2 and 1.3 are spoken; each setting moves its end, even to what is unsafe."""
    old, twelve, thirteen = limited(ca, V11, V11), limited(ca, V12, V12), limited(ca, V13, V13)
    async with listening(encrypted(server)) as rig:
        assert (await spoken(rig, twelve))[0] == "TLSv1.2"
        assert (await spoken(rig, ca.client_context()))[0] == "TLSv1.3"
        await refused(rig, old)
    async with listening(encrypted(server, tls_min_version="tls13")) as rig:
        await refused(rig, twelve)
        assert (await spoken(rig, thirteen))[0] == "TLSv1.3"
    async with listening(encrypted(server, tls_max_version="tls12")) as rig:
        await refused(rig, thirteen)
        assert (await spoken(rig, ca.client_context()))[0] == "TLSv1.2"
    async with listening(encrypted(server, tls_min_version="tls10")) as rig:
        assert (await spoken(rig, old))[0] == "TLSv1.1"


async def test_cipher_suites(ca: Ca, server: Issued) -> None:
    """The suites of TLS 1.2 are those that are named, by either spelling; TLS 1.3 has its own."""
    suites = ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_AES_128_GCM_SHA256")
    async with listening(encrypted(server, tls_cipher_suites=suites)) as rig:
        client = limited(ca, V12, V12)
        client.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        await refused(rig, client)
        for suite in ("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"):
            client.set_ciphers(suite)
            assert await spoken(rig, client) == ("TLSv1.2", suite)
        assert (await spoken(rig, ca.client_context()))[0] == "TLSv1.3"


async def test_client_certificates(ca: Ca, server: Issued, tmp_path: Path) -> None:
    """Required, they are verified; with issuers named they are asked for; switched off nobody looks at them."""
    own, stranger = ca.issue("client"), Ca(tmp_path, "another CA").issue("client")
    known, nobody, other = ca.client_context(own), ca.client_context(), ca.client_context(stranger)
    required = encrypted(server, tls_require_and_verify_client_cert=True, tls_client_ca_file=str(ca.file))
    async with listening(required) as rig:
        assert (await rig.get(known)).client_certificate
        await refused(rig, nobody)
        await refused(rig, other)
    async with listening(replace(required, tls_require_and_verify_client_cert=False)) as rig:
        shown = (await rig.get(known)).client_certificate
        assert ssl.DER_cert_to_PEM_cert(shown) == own.cert_file.read_text()
        assert not (await rig.get(nobody)).client_certificate
        await refused(rig, other)
    without = replace(required, tls_require_and_verify_client_cert=False, tls_disable_client_certs=True)
    async with listening(without) as rig:
        assert not (await rig.get(known)).client_certificate
        assert not (await rig.get(other)).client_certificate
    async with listening(replace(required, tls_client_ca_file="")) as rig:
        await refused(rig, known)  # no authority of this machine has issued it


async def test_a_new_certificate(ca: Ca, tmp_path: Path) -> None:
    """New connections see the new certificate, open ones go on; what does not fit together changes nothing."""
    ca = Ca(tmp_path)
    first = ca.issue("served")
    async with listening(encrypted(first)) as rig:
        assert rig.tls is not None

        async def serial() -> int:
            connection = await rig.connect(ca.client_context())
            shown = connection.writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
            connection.close()
            return int(shown, 16)

        kept = await rig.connect(ca.client_context())
        kept.send()
        assert await kept.status() == 200
        assert await serial() == first.serial
        second = ca.issue("served")
        rig.tls.reload()
        assert await serial() == second.serial
        for file, content in (
            (second.key_file, ca.issue("unrelated").key_file.read_bytes()),
            (second.cert_file, b"broken"),
            (second.cert_file, None),
        ):
            before = file.read_bytes()
            file.unlink() if content is None else file.write_bytes(content)
            with pytest.raises(ConfigError, match=r"^a\.hcl:3: .*served.*; the certificate in use stays$"):
                rig.tls.reload()
            assert await serial() == second.serial
            file.write_bytes(before)
        rig.tls.reload()
        kept.send(GET)
        assert await kept.status() == 200
        kept.close()


def test_an_encrypted_key(ca: Ca) -> None:
    """Its passphrase is asked for once, at the start; a wrong one ends the start, and no word of it is repeated."""
    locked = encrypted(ca.issue("locked", passphrase="opened"))
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "opened"

    tls = ListenerTls(locked, answer)
    tls.reload()
    assert asked == [f"Passphrase of {locked.tls_key_file}: "]
    with pytest.raises(ConfigError) as refusal:
        ListenerTls(locked, lambda prompt: "not-this-one")
    assert "not-this-one" not in str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"tls_cert_file": "/nowhere/a.pem"}, "/nowhere/a.pem cannot be read: No such file or directory"),
        ({"tls_key_file": "CA"}, "are not a certificate and its key"),
        ({"tls_client_ca_file": "/dev/null"}, "/dev/null holds no certificates"),
    ],
)
def test_files_that_cannot_be_used(ca: Ca, server: Issued, settings: dict[str, str], reason: str) -> None:
    """The error names file and line of the listener and the file at fault, and quotes none."""
    own = {key: str(ca.file) if value == "CA" else value for key, value in settings.items()}
    with pytest.raises(ConfigError) as refusal:
        ListenerTls(encrypted(server, **own), lambda prompt: "")
    assert str(refusal.value).startswith("a.hcl:3: ") and reason in str(refusal.value)
    assert "BEGIN" not in str(refusal.value)
