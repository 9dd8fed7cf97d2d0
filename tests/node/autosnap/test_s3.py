"""Snapshots in a bucket: whole objects only, uploads that nobody completes are cleared away, and no key in a text."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest
from botocore.exceptions import ClientError

from node.autosnap.errors import AutoSnapshotFailed
from node.autosnap.model import AutoConfig
from node.autosnap.s3 import PART_BYTES, S3Bucket
from tests.object_store import KEY_ID, REGION, SECRET, ObjectStore, object_store
from tests.processes.cluster import free_ports

pytestmark = pytest.mark.processes

CONTENT = random.Random(1).randbytes(2 * PART_BYTES + 12_345)
_bucket_numbers = count()


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


@pytest.fixture
def config(store: ObjectStore) -> AutoConfig:
    """A configuration with a bucket of its own."""
    return AutoConfig(
        interval=1,
        retain=2,
        path_prefix="cluster/a/",
        storage_type="aws-s3",
        aws_s3_bucket=store.bucket(f"bucket-{next(_bucket_numbers)}"),
        aws_s3_region=REGION,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        aws_s3_endpoint=store.endpoint,
        aws_s3_disable_tls=True,
        aws_s3_force_path_style=True,
    )


def chunks(content: bytes = CONTENT) -> Iterator[bytes]:
    for at in range(0, len(content), 700_000):
        yield content[at : at + 700_000]


def test_kept_and_pruned(store: ObjectStore, config: AutoConfig) -> None:
    """The object is whole; the newest `retain` stay, and nobody else's objects go."""
    bucket = config.aws_s3_bucket
    others = ["cluster/a/notes", f"cluster/vault-snapshot-{1:019d}.snap", f"cluster/a/vault-snapshot-b-{1:019d}.snap"]
    for other in others:
        store.client.put_object(Bucket=bucket, Key=other, Body=b"")
    for number in range(1, 5):
        content = CONTENT if number == 4 else b"small"
        assert S3Bucket(config).keep(config.file_name(number), chunks(content)) == ""
    kept = [f"cluster/a/{config.file_name(number)}" for number in (3, 4)]
    assert store.keys(bucket) == sorted([*kept, *others])
    assert store.read(bucket, kept[1]) == CONTENT
    assert store.uploads(bucket) == []


def broken() -> Iterator[bytes]:
    yield CONTENT
    raise AutoSnapshotFailed("interrupted: the node stopped or leads no more")


def test_an_upload_that_is_given_up(store: ObjectStore, config: AutoConfig) -> None:
    """Neither an object nor parts of one are left behind."""
    with pytest.raises(AutoSnapshotFailed, match="interrupted"):
        S3Bucket(config).keep(config.file_name(1), broken())
    assert store.keys(config.aws_s3_bucket) == store.uploads(config.aws_s3_bucket) == []


def test_uploads_of_a_node_that_died_are_aborted(store: ObjectStore, config: AutoConfig) -> None:
    """Those of this configuration, with the next upload; no other ones."""
    bucket, name = config.aws_s3_bucket, config.file_name(1)
    for key in (f"cluster/a/{name}", f"cluster/a/other-{name}", "cluster/a/vault-snapshot-x"):
        store.client.create_multipart_upload(Bucket=bucket, Key=key)
    S3Bucket(config).keep(config.file_name(2), chunks(b"x"))
    assert sorted(store.uploads(bucket)) == [f"cluster/a/other-{name}", "cluster/a/vault-snapshot-x"]


def test_two_configurations_with_one_prefix(store: ObjectStore, config: AutoConfig) -> None:
    """Neither aborts what the other is uploading just now."""

    def another_in_the_middle() -> Iterator[bytes]:
        yield CONTENT
        S3Bucket(config).keep(config.file_name(2), chunks(b"small"))
        yield b"end"

    assert S3Bucket(config).keep(config.file_name(1), another_in_the_middle()) == ""
    assert store.read(config.aws_s3_bucket, f"cluster/a/{config.file_name(1)}") == CONTENT + b"end"
    assert len(store.keys(config.aws_s3_bucket)) == 2


def test_clearing_away_that_is_refused(store: ObjectStore, config: AutoConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that may only put: the snapshot is there, and what went wrong is said."""

    def refuses(*_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "quotes a key"}}, "ListMultipartUploads")

    monkeypatch.setattr(S3Bucket, "_abort_leftovers", refuses)
    said = S3Bucket(config).keep(config.file_name(1), chunks(b"x"))
    assert said.startswith("the snapshot is complete, but") and said.endswith("AccessDenied to ListMultipartUploads")
    assert len(store.keys(config.aws_s3_bucket)) == 1


def test_encryption(store: ObjectStore, config: AutoConfig) -> None:
    """What is asked for is what the bucket is asked for."""
    bucket = config.aws_s3_bucket
    cases = [
        ({"aws_s3_server_side_encryption": True}, "AES256", None),
        ({"aws_s3_enable_kms": True, "aws_s3_kms_key": "key-1"}, "aws:kms", "key-1"),
    ]
    for number, (change, method, key) in enumerate(cases, 1):
        changed = replace(config, retain=9, **change)  # type: ignore[arg-type]  # each by its own name
        S3Bucket(changed).keep(config.file_name(number), chunks(b"x"))
        head = store.client.head_object(Bucket=bucket, Key=f"cluster/a/{config.file_name(number)}")
        assert (head.get("ServerSideEncryption"), head.get("SSEKMSKeyId")) == (method, key)


def test_failures_are_told_without_secrets(
    store: ObjectStore, config: AutoConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A code or a reason; never a key, a host or a header."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    (nobody,) = free_ports(1)
    cases = [
        (replace(config, aws_s3_bucket="absent"), "S3 answered NoSuchBucket to"),
        (replace(config, aws_s3_endpoint=f"127.0.0.1:{nobody}"), "the S3 endpoint cannot be reached"),
        (replace(config, aws_access_key_id="", aws_secret_access_key=""), "no AWS credentials"),
    ]
    for changed, said in cases:
        with pytest.raises(AutoSnapshotFailed, match=said) as refused:
            S3Bucket(changed).keep(config.file_name(1), chunks())
        assert KEY_ID not in str(refused.value) and SECRET not in str(refused.value)


def test_debug_logs_hold_no_secret(config: AutoConfig, caplog: pytest.LogCaptureFixture) -> None:
    """Also at the most talkative level: what the client library would print stays out."""
    with caplog.at_level("DEBUG"):
        S3Bucket(replace(config, aws_session_token="token-of-this-test")).keep(config.file_name(1), chunks(b"x"))
    assert SECRET not in caplog.text and "token-of-this-test" not in caplog.text and KEY_ID not in caplog.text
