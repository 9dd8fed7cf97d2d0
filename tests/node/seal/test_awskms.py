"""node/seal/awskms.py against moto's KMS, in a process of its own."""

import json
import logging
import secrets
import socket
from collections.abc import Iterator

import pytest

from node.config.bind import Place
from node.config.seals import SealStanza
from node.errors import ConfigError, SealDenied, SealRefused, SealUnavailable
from node.seal import Seal
from node.seal.envelope import key_id_of
from node.seal.registry import seal_from_stanza
from tests.kms.aws import ACCESS_KEY, REGION, SECRET_KEY, AwsKms, aws_kms
from tests.processes.cluster import free_ports

ROOT_KEY = b"canary root key, 32 bytes long.."


@pytest.fixture(scope="module")
def kms() -> Iterator[AwsKms]:
    with aws_kms() as server:
        yield server


def build(kms_key_id: str, endpoint: str, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> Seal:
    settings = {
        "region": REGION,
        "access_key": access_key,
        "secret_key": secret_key,
        "kms_key_id": kms_key_id,
        "endpoint": endpoint,
    }
    stanza = SealStanza(type="awskms", settings=settings, place=Place("node.hcl", 3))
    return seal_from_stanza(stanza, {}, secrets.token_bytes)


async def test_wraps_and_unwraps_by_id_arn_and_alias(kms: AwsKms) -> None:
    """What any of the three names wraps, each of them opens; the blob names the key's ARN, with nothing in clear."""
    key_id = kms.new_key("alias/by-any-name")
    seals = [build(name, kms.address) for name in (key_id, kms.arn(key_id), "alias/by-any-name")]
    for seal in seals:
        assert (seal.type, seal.is_auto) == ("awskms", True)
        blob = await seal.wrap(ROOT_KEY)
        assert key_id_of(blob).decode() == kms.arn(key_id)
        assert ROOT_KEY not in blob
        for other in seals:
            assert await other.unwrap(blob) == ROOT_KEY


async def test_an_alias_that_moves_names_the_new_key_and_opens_the_old(kms: AwsKms) -> None:
    """Manual rotation (AWS KMS guide, "Rotate keys manually"): new blobs name the new key, old ones still open."""
    old = kms.new_key("alias/moving")
    seal = build("alias/moving", kms.address)
    blob = await seal.wrap(ROOT_KEY)
    new = kms.new_key("alias/moving")
    assert await seal.unwrap(blob) == ROOT_KEY
    assert [key_id_of(each).decode() for each in (blob, await seal.wrap(ROOT_KEY))] == [kms.arn(old), kms.arn(new)]


async def test_a_key_that_is_disabled_or_to_be_deleted(kms: AwsKms) -> None:
    """Says which it is and what to do, and works again once that was done."""
    key_id = kms.new_key()
    seal = build(key_id, kms.address)
    blob = await seal.wrap(ROOT_KEY)
    kms.client.disable_key(KeyId=key_id)
    for refused in (seal.unwrap(blob), seal.wrap(ROOT_KEY)):
        with pytest.raises(SealDenied, match=r"DisabledException.*the key is disabled"):
            await refused
    kms.client.enable_key(KeyId=key_id)
    assert await seal.unwrap(blob) == ROOT_KEY
    kms.client.schedule_key_deletion(KeyId=key_id)
    with pytest.raises(SealDenied, match=r"KMSInvalidStateException.*pending deletion"):
        await seal.unwrap(blob)
    with pytest.raises(SealDenied, match=r"NotFoundException.*no such key"):
        await build("00000000-0000-0000-0000-000000000000", kms.address).wrap(ROOT_KEY)


async def test_access_denied(kms: AwsKms) -> None:
    """Credentials that are unknown, or may encrypt and not decrypt, are told as that, without any of them."""
    key_id = kms.new_key()
    blob = await build(key_id, kms.address).wrap(ROOT_KEY)
    iam = kms.client_of("iam", ACCESS_KEY, SECRET_KEY)
    iam.create_user(UserName="half")
    allowed = {"Effect": "Allow", "Action": "kms:Encrypt", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="half", PolicyName="half", PolicyDocument=document)
    keys = iam.create_access_key(UserName="half")["AccessKey"]
    half = build(key_id, kms.address, keys["AccessKeyId"], keys["SecretAccessKey"])
    forged = build(key_id, kms.address, keys["AccessKeyId"], "not-its-secret")
    with kms.asking_iam():
        assert await half.wrap(ROOT_KEY)
        with pytest.raises(SealDenied, match=r"may not use the key; they need kms:Encrypt and kms:Decrypt"):
            await half.unwrap(blob)
        for wrong, code in ((build(key_id, kms.address), "UnrecognizedClient"), (forged, "InvalidSignature")):
            with pytest.raises(SealDenied, match=code) as said:
                await wrong.unwrap(blob)
            assert SECRET_KEY not in str(said.value) and ACCESS_KEY not in str(said.value)


async def test_the_service_is_away() -> None:
    """A refused connection is "cannot be used now": neither denied nor damaged."""
    (port,) = free_ports(1)
    with pytest.raises(SealUnavailable, match=r"cannot be used now \(EndpointConnectionError\)") as said:
        await build("alias/x", f"http://127.0.0.1:{port}").wrap(ROOT_KEY)
    assert not isinstance(said.value, SealDenied)


async def test_the_service_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that accepts and says nothing is given up, after one attempt."""
    monkeypatch.setattr("node.seal.awskms.READ_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SealUnavailable, match=r"cannot be used now \(ReadTimeoutError\)"):
            await build("alias/x", f"http://127.0.0.1:{port}").wrap(ROOT_KEY)


async def test_no_credentials(monkeypatch: pytest.MonkeyPatch, kms: AwsKms) -> None:
    """Where neither stanza, environment nor the client's own sources have any, that is what is said."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(SealDenied, match="no credentials were found"):
        await build("alias/x", kms.address, "", "").wrap(ROOT_KEY)


async def test_cve_2023_2197_tampering_gives_one_error(kms: AwsKms) -> None:
    """Any cut or changed byte is one refusal, but for the names of keys: those may name one that is not ours."""
    seal = build(kms.new_key(), kms.address)
    blob = await seal.wrap(ROOT_KEY)
    of_kms_at = 5 + len(key_id_of(blob))
    named = range(3, of_kms_at - 2), range(of_kms_at, of_kms_at + 36)  # moto begins a ciphertext with the key's id
    texts = set()
    for at in range(0, len(blob), 3):
        for damaged in (blob[:at] + bytes([blob[at] ^ 0x01]) + blob[at + 1 :], blob[:at]):
            with pytest.raises((SealRefused, SealDenied)) as error:
                await seal.unwrap(damaged)
            assert isinstance(error.value, SealRefused) or any(at in names for names in named)
            texts |= {str(error.value)} if isinstance(error.value, SealRefused) else set()
            assert "canary" not in str(error.value)
    assert len(texts) == 1


async def test_cve_2018_19786_nothing_secret_in_log_and_errors(kms: AwsKms, caplog: pytest.LogCaptureFixture) -> None:
    """At the level of debug, with the client's own loggers as a node sets them, no key and no credential is written."""
    from node import logs

    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    logs.set_up("trace", "standard")
    logging.getLogger().addHandler(caplog.handler)
    try:
        seal = build(kms.new_key(), kms.address)
        blob = await seal.wrap(ROOT_KEY)
        assert await seal.unwrap(blob) == ROOT_KEY
        with pytest.raises(SealRefused):
            await seal.unwrap(blob[:-1])
    finally:
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
    assert "canary" not in caplog.text.lower() and "Plaintext" not in caplog.text
    assert SECRET_KEY not in repr(seal)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({}, "kms_key_id"), ({"kms_key_id": "alias/x", "access_key": "canary"}, "access_key")],
)
def test_incomplete_stanzas(settings: dict[str, str], named: str) -> None:
    """A key is needed, and credentials are whole or left out."""
    with pytest.raises(ConfigError, match=rf"^node\.hcl:3: {named}: ") as error:
        seal_from_stanza(SealStanza(type="awskms", settings=settings, place=Place("node.hcl", 3)), {}, bytes)
    assert "canary" not in str(error.value)


def test_an_endpoint_without_a_scheme_is_https() -> None:
    """As in the documented example of a VPC endpoint, which may be written without one."""
    assert build("alias/x", "vpce-1.kms.eu-central-1.vpce.amazonaws.com").type == "awskms"
