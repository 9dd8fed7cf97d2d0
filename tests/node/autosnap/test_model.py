"""A configuration is refused where it could not work or would do harm; and when its next snapshot is due."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.common.errors import InvalidRequest
from node.autosnap.model import AutoConfig, AutoStatus

LOCAL = AutoConfig(interval=3600, path_prefix="/backup", storage_type="local", local_max_space=1000)
S3 = AutoConfig(
    interval=3600, path_prefix="a/", storage_type="aws-s3", aws_s3_bucket="bucket", aws_s3_region="eu-central-1"
)
NOW_MS = 1_795_291_200_000


@pytest.mark.parametrize("config", [LOCAL, S3, replace(S3, aws_access_key_id="a", aws_secret_access_key="b")])
def test_sound(config: AutoConfig) -> None:
    """It is taken, and comes back from its record."""
    config.require_sound([Path("/var/lib/strongroom")])
    assert AutoConfig.from_bytes(config.to_bytes()) == config


@pytest.mark.parametrize(
    ("base", "change", "said"),
    [
        (LOCAL, {"storage_type": ""}, "storage_type must be"),
        (LOCAL, {"storage_type": "tape"}, "storage_type must be"),
        (LOCAL, {"storage_type": "google-gcs"}, "google-gcs is not available here"),
        (LOCAL, {"storage_type": "azure-blob"}, "azure-blob is not available here"),
        (LOCAL, {"interval": 0}, "interval"),
        (LOCAL, {"interval": -5}, "interval"),
        (LOCAL, {"retain": 0}, "retain"),
        (LOCAL, {"retain": 1 << 40}, "retain"),
        (LOCAL, {"path_prefix": ""}, "path_prefix is required"),
        (LOCAL, {"path_prefix": "backup"}, "absolute"),
        (LOCAL, {"path_prefix": "/backup/../etc"}, "absolute"),
        (LOCAL, {"path_prefix": "/backup\n"}, "control character"),
        (LOCAL, {"path_prefix": "/own"}, "folder of the server itself"),
        (LOCAL, {"path_prefix": "/own/raft/snapshots"}, "folder of the server itself"),
        (LOCAL, {"file_prefix": "../x"}, "file_prefix"),
        (LOCAL, {"file_prefix": ".hidden"}, "file_prefix"),
        (LOCAL, {"file_prefix": ""}, "file_prefix"),
        (LOCAL, {"local_max_space": 0}, "local_max_space is required"),
        (S3, {"aws_s3_bucket": ""}, "aws_s3_bucket is required"),
        (S3, {"aws_s3_bucket": "a/b"}, "aws_s3_bucket"),
        (S3, {"aws_s3_region": ""}, "aws_s3_region is required"),
        (S3, {"aws_s3_region": "x.evil.example/"}, "aws_s3_region"),
        (S3, {"aws_access_key_id": "a"}, "go together"),
        (S3, {"aws_secret_access_key": "a"}, "go together"),
        (S3, {"aws_session_token": "a"}, "aws_session_token"),
        (S3, {"aws_s3_enable_kms": True, "aws_s3_server_side_encryption": True}, "cannot be used with"),
        (S3, {"aws_s3_kms_key": "k"}, "aws_s3_enable_kms"),
        (S3, {"aws_s3_endpoint": "http://user:pass@host"}, "aws_s3_endpoint"),
        (S3, {"aws_s3_endpoint": "file:///etc/passwd"}, "aws_s3_endpoint"),
        (S3, {"aws_s3_endpoint": "host:port"}, "aws_s3_endpoint"),
    ],
)
def test_refused(base: AutoConfig, change: dict[str, Any], said: str) -> None:
    """Each names the parameter and repeats nothing."""
    with pytest.raises(InvalidRequest, match=said):
        replace(base, **change).require_sound([Path("/own")])


def test_a_link_into_the_servers_folder_is_refused(tmp_path: Path) -> None:
    """What counts is where the file would come to lie."""
    (tmp_path / "own").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "own")
    with pytest.raises(InvalidRequest, match="server itself"):
        replace(LOCAL, path_prefix=str(tmp_path / "link" / "x")).require_sound([tmp_path / "own"])


def test_secrets_are_not_shown() -> None:
    """Neither by a read nor by a repr; what belongs to the other storage type is left out."""
    config = replace(S3, aws_access_key_id="id", aws_secret_access_key="hidden-1", aws_session_token="hidden-2")
    assert "hidden" not in repr(config)
    shown = config.shown()
    assert "hidden" not in str(shown) and shown["aws_access_key_id"] == "id"
    assert not {"aws_secret_access_key", "aws_session_token", "local_max_space"} & shown.keys()
    assert LOCAL.shown() == {
        "file_prefix": "vault-snapshot",
        "interval": 3600,
        "local_max_space": 1000,
        "path_prefix": "/backup",
        "retain": 1,
        "storage_type": "local",
    }


def test_places() -> None:
    """Files and objects are named as documented; a trailing slash changes nothing."""
    assert LOCAL.url_of(LOCAL.file_name(7)) == "file:///backup/vault-snapshot-0000000000000000007.snap"
    assert replace(LOCAL, path_prefix="/backup/").url_of("x") == "file:///backup/x"
    assert S3.url_of("x") == replace(S3, path_prefix="a").url_of("x") == "s3://bucket/a/x"
    assert replace(S3, path_prefix="/").url_of("x") == "s3://bucket/x"
    assert replace(S3, aws_s3_endpoint="h:1").endpoint_url == "https://h:1"
    assert replace(S3, aws_s3_endpoint="h:1", aws_s3_disable_tls=True).endpoint_url == "http://h:1"
    assert replace(S3, aws_s3_endpoint="http://h:1").endpoint_url == "http://h:1"
    mine = [LOCAL.file_name(NOW_MS * 1_000_000 + n) for n in (3, 1, 2)]
    others = ["vault-snapshot-x.snap", mine[0] + ".partial", "." + mine[0], "vault-snapshot-daily-" + mine[0][15:], "x"]
    assert LOCAL.numbered([*mine, *others]) == sorted(mine)


def test_when_it_is_due() -> None:
    """At once when new; an interval after each start; sooner, and ever later, after failures; at once when mended."""
    new = AutoStatus()
    assert new.due_ms(LOCAL, 5, NOW_MS) == NOW_MS
    begun = new.begun(LOCAL, 5, NOW_MS)
    good = begun.ended("", completed=True, now_ms=NOW_MS + 9)
    assert good.due_ms(LOCAL, 5, NOW_MS + 10) == NOW_MS + 3_600_000
    assert good.due_ms(LOCAL, 6, NOW_MS + 10) == NOW_MS + 3_600_000
    bad, waits = good, []
    for _ in range(10):
        bad = bad.begun(LOCAL, 5, NOW_MS).ended("no room", completed=False, now_ms=NOW_MS)
        waits.append((bad.due_ms(LOCAL, 5, NOW_MS) - NOW_MS) // 1000)
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert bad.due_ms(replace(LOCAL, interval=20), 5, NOW_MS) == NOW_MS + 20_000
    assert bad.due_ms(replace(LOCAL, interval=86_400), 5, NOW_MS) == NOW_MS + 3_600_000
    assert bad.due_ms(LOCAL, 6, NOW_MS) == NOW_MS
    assert bad.last_url == good.url and bad.last_error == "no room" and bad.failures == 10
    mended = bad.begun(LOCAL, 6, NOW_MS).ended("", completed=True, now_ms=NOW_MS)
    assert (mended.failures, mended.last_error, mended.last_url) == (0, "", mended.url)


def test_a_clock_that_was_set_back() -> None:
    """The next is due at once instead of in years, and its name still sorts behind the older ones."""
    ahead = AutoStatus().begun(LOCAL, 5, NOW_MS + 10**12).ended("", completed=True, now_ms=NOW_MS + 10**12)
    assert ahead.due_ms(LOCAL, 5, NOW_MS) == NOW_MS
    again = ahead.begun(LOCAL, 5, NOW_MS)
    assert again.number > ahead.number
    assert again.due_ms(LOCAL, 5, NOW_MS) == NOW_MS + 3_600_000


def test_the_status_as_shown() -> None:
    """The documented members, empty before anything was done."""
    shown = AutoStatus().shown(LOCAL, 5, NOW_MS)
    assert shown == {
        "consecutive_errors": 0,
        "last_snapshot_end": "",
        "last_snapshot_error": "",
        "last_snapshot_start": "",
        "last_snapshot_url": "",
        "next_snapshot_start": "2026-11-21T20:00:00.000000000Z",
        "snapshot_start": "",
        "snapshot_url": "",
    }


def test_a_record_of_another_format() -> None:
    """It is refused, not misread."""
    for read in (AutoConfig.from_bytes, AutoStatus.from_bytes):
        with pytest.raises(ValueError, match="unknown format"):
            read(b"\x02{}")
