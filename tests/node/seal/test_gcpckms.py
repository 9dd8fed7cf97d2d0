"""node/seal/gcpckms.py with Google's client, against a stand-in for the service (tests/kms/google.py)."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.config.bind import Place
from node.config.seals import SealStanza
from node.errors import ConfigError, SealDenied, SealRefused, SealUnavailable
from node.seal.envelope import key_id_of
from node.seal.gcpckms import GcpKms, client_at
from node.seal.kms import KmsSeal
from node.seal.registry import seal_from_stanza
from tests.kms.google import KEY, GoogleKms
from tests.kms.stand_in import serving
from tests.processes.cluster import free_ports

auth = pytest.importorskip("google.auth.credentials", reason="the extra gcpckms is not installed")
pytest.importorskip("google.cloud.kms_v1", reason="the extra gcpckms is not installed")
ROOT_KEY = b"canary root key, 32 bytes long.."
SETTINGS = {"project": "p", "region": "europe-west3", "key_ring": "ring", "crypto_key": "key"}


class Token(auth.Credentials):  # type: ignore[misc, name-defined]
    """A token that stays what it is."""

    def refresh(self, request: object) -> None:
        self.token = "canary-token"


def seal_at(port: int, name: str = KEY) -> KmsSeal:
    def connect() -> GcpKms:
        return GcpKms(client_at(f"127.0.0.1:{port}", "http", Token()), name)

    return KmsSeal("gcpckms", connect, secrets.token_bytes)


@pytest.fixture
def kms() -> Iterator[GoogleKms]:
    yield GoogleKms()


async def test_wraps_and_unwraps_and_names_the_version(kms: GoogleKms) -> None:
    """The blob names the version of the key; the service never sees the root key."""
    with serving(kms) as port:
        seal = seal_at(port)
        blob = await seal.wrap(ROOT_KEY)
        assert key_id_of(blob).decode() == f"{KEY}/cryptoKeyVersions/1"
        kms.rotate()
        assert await seal.unwrap(blob) == ROOT_KEY
        assert key_id_of(await seal.wrap(ROOT_KEY)).decode() == f"{KEY}/cryptoKeyVersions/2"
    assert ROOT_KEY.hex() not in json.dumps(kms.bodies) and "Y2FuYXJ5" not in json.dumps(kms.bodies)


async def test_a_version_that_is_disabled(kms: GoogleKms) -> None:
    """Disabled or destroyed is told as that, and is tried again; damage is not."""
    with serving(kms) as port:
        seal = seal_at(port)
        blob = await seal.wrap(ROOT_KEY)
        kms.disabled = {1}
        for refused in (seal.unwrap(blob), seal.wrap(ROOT_KEY)):
            with pytest.raises(SealDenied, match=r"FAILED_PRECONDITION.*disabled or destroyed"):
                await refused
        kms.disabled = set()
        for at in range(3 + len(key_id_of(blob)), len(blob), 5):
            with pytest.raises(SealRefused, match="damaged"):
                await seal.unwrap(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        (403, "PERMISSION_DENIED", SealDenied),
        (401, "UNAUTHENTICATED", SealDenied),
        (503, "UNAVAILABLE", SealUnavailable),
        (429, "RESOURCE_EXHAUSTED", SealUnavailable),
        (500, "INTERNAL", SealUnavailable),
    ],
)
async def test_the_service_says_no(kms: GoogleKms, code: int, status: str, error: type[Exception]) -> None:
    """What can be cured there is denied, the rest unavailable; the service's own words are not passed on."""
    with serving(kms) as port:
        seal = seal_at(port)
        blob = await seal.wrap(ROOT_KEY)
        kms.fault = code, status
        with pytest.raises(error, match=status) as said:
            await seal.unwrap(blob)
        assert type(said.value) is error and "canary" not in str(said.value)
        kms.fault = None
        with pytest.raises(SealDenied, match="no such project, key ring or key"):
            await seal_at(port, KEY + "x").wrap(ROOT_KEY)


async def test_the_service_is_away() -> None:
    """A refused connection is "cannot be used now"."""
    (port,) = free_ports(1)
    with pytest.raises(SealUnavailable, match=r"cannot be used now \(ConnectionError\)") as said:
        await seal_at(port).wrap(ROOT_KEY)
    assert not isinstance(said.value, SealDenied)


async def test_credentials_that_are_missing_or_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found with the first use, told without the content of the file."""
    (tmp_path / "wrong.json").write_text('{"type": "service_account", "private_key": "canary"}')
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    for file in ("wrong.json", "missing.json"):
        settings = {**SETTINGS, "credentials": str(tmp_path / file)}
        seal = seal_from_stanza(SealStanza(type="gcpckms", settings=settings), {}, secrets.token_bytes)
        with pytest.raises(SealDenied, match="no credentials were found, or their file is wrong") as said:
            await seal.wrap(ROOT_KEY)
        assert "canary" not in str(said.value)


@pytest.mark.parametrize("missing", SETTINGS)
def test_incomplete_stanzas(missing: str) -> None:
    """Each of the four names is needed."""
    stanza = SealStanza(type="gcpckms", settings={**SETTINGS, missing: ""}, place=Place("node.hcl", 3))
    with pytest.raises(ConfigError, match=rf"^node\.hcl:3: {missing}: required"):
        seal_from_stanza(stanza, {}, secrets.token_bytes)
