"""node/seal/azurekeyvault.py with Microsoft's client, against a stand-in for the service (tests/kms/azure.py)."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.config.bind import Place
from node.config.seals import SealStanza
from node.errors import ConfigError, SealDenied, SealRefused, SealUnavailable
from node.seal.azurekeyvault import AzureKms
from node.seal.envelope import key_id_of
from node.seal.kms import KmsSeal
from node.seal.registry import seal_from_stanza
from tests.kms.azure import KEY, TOKEN, AzureVault, Credential, tls_of_localhost
from tests.kms.stand_in import serving
from tests.processes.cluster import free_ports

pytest.importorskip("azure.keyvault.keys", reason="the extra azurekeyvault is not installed")
ROOT_KEY = b"canary root key, 32 bytes long.."
SETTINGS = {"tenant_id": "t", "client_id": "c", "client_secret": "canary", "vault_name": "v", "key_name": "k"}


@dataclass
class Rig:
    vault: AzureVault
    certificate: Path

    def seal(self, key: str = KEY, token: str = TOKEN, url: str = "") -> KmsSeal:
        def connect() -> AzureKms:
            return AzureKms(
                url or self.vault.url,
                key,
                Credential(token),
                verify_challenge_resource=False,  # it would expect the name of a vault, not an address
                connection_verify=str(self.certificate),
            )

        return KmsSeal("azurekeyvault", connect, secrets.token_bytes)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    tls, certificate = tls_of_localhost(tmp_path_factory.mktemp("tls"))
    vault = AzureVault()
    with serving(vault, tls) as port:
        vault.url = f"https://127.0.0.1:{port}"
        yield Rig(vault, certificate)


@pytest.fixture
def rig(served: Rig) -> Iterator[Rig]:
    yield served
    served.vault.fault = None


async def test_wraps_and_unwraps_and_names_the_version(rig: Rig) -> None:
    """The newest version wraps and is named; what an older one wrapped still opens."""
    seal = rig.seal()
    blob = await seal.wrap(ROOT_KEY)
    assert key_id_of(blob).decode() == rig.vault.kid(list(rig.vault.versions)[-1])
    rig.vault.rotate()
    assert await seal.unwrap(blob) == ROOT_KEY
    newer = await seal.wrap(ROOT_KEY)
    assert key_id_of(newer).decode() == rig.vault.kid(list(rig.vault.versions)[-1]) != key_id_of(blob).decode()
    assert await rig.seal().unwrap(newer) == ROOT_KEY
    assert ROOT_KEY not in newer


async def test_damage_is_refused(rig: Rig) -> None:
    """A changed byte of the wrapped data key or behind it is one refusal."""
    seal = rig.seal()
    blob = await seal.wrap(ROOT_KEY)
    texts = set()
    for at in range(5 + len(key_id_of(blob)), len(blob), 37):
        with pytest.raises(SealRefused) as said:
            await seal.unwrap(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :])
        texts.add(str(said.value))
    assert len(texts) == 1


async def test_a_name_that_points_elsewhere_gets_no_token(rig: Rig) -> None:
    """The key's name in a blob is not verified before it is used: one of another host is refused without a request."""
    blob = await rig.seal().wrap(ROOT_KEY)
    name = key_id_of(blob)
    elsewhere = name.replace(b"127.0.0.1", b"127.0.0.2")
    with pytest.raises(SealRefused):
        await rig.seal().unwrap(blob.replace(name, elsewhere))


@pytest.mark.parametrize(
    ("code", "error"), [(403, SealDenied), (404, SealDenied), (500, SealUnavailable), (429, SealUnavailable)]
)
async def test_the_service_says_no(rig: Rig, code: int, error: type[Exception]) -> None:
    """What can be cured there is denied, the rest unavailable; the service's own words are not passed on."""
    seal = rig.seal()
    blob = await seal.wrap(ROOT_KEY)
    rig.vault.fault = code
    for refused in (seal.unwrap(blob), seal.wrap(ROOT_KEY)):
        with pytest.raises(error, match=str(code)) as said:
            await refused
        assert type(said.value) is error and "canary" not in str(said.value)


async def test_a_token_that_is_refused(rig: Rig) -> None:
    """The identity is named as the reason, the token is not."""
    with pytest.raises(SealDenied, match="the identity is not accepted") as said:
        await rig.seal(token="canary-wrong-token").wrap(ROOT_KEY)
    assert "canary" not in str(said.value)


async def test_the_service_is_away(rig: Rig) -> None:
    """A refused connection is "cannot be used now"."""
    (port,) = free_ports(1)
    with pytest.raises(SealUnavailable, match="cannot be used now") as said:
        await rig.seal(url=f"https://127.0.0.1:{port}").wrap(ROOT_KEY)
    assert not isinstance(said.value, SealDenied)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"vault_name": ""}, "vault_name"),
        ({"key_name": ""}, "key_name"),
        ({"environment": "MOON"}, "environment"),
        ({"tenant_id": ""}, "client_secret"),
    ],
)
def test_incomplete_stanzas(changed: dict[str, str], named: str) -> None:
    """Vault and key are needed, the environment is one of Azure's, and a secret belongs to a tenant and a client."""
    stanza = SealStanza(type="azurekeyvault", settings={**SETTINGS, **changed}, place=Place("node.hcl", 3))
    with pytest.raises(ConfigError, match=rf"^node\.hcl:3: {named}: ") as said:
        seal_from_stanza(stanza, {}, secrets.token_bytes)
    assert "canary" not in str(said.value)
