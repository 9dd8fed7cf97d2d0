"""A configuration and what became of its snapshots, as they are stored and as the API shows them.

Both are records of the store, so every leader knows when the next snapshot is due. Secrets of a configuration are
sealed like everything else and are never shown again.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from engines.common.errors import InvalidRequest
from engines.common.timestamp import rfc3339

CONFIG_PREFIX: Final = "core/raft/snapshot-auto/config/"
STATUS_PREFIX: Final = "core/raft/snapshot-auto/status/"
LOCAL: Final = "local"
S3: Final = "aws-s3"
RETAIN_MAX: Final = 10_000  # each retention lists them all

_FORMAT: Final = b"\x01"
_COMMON: Final = ("file_prefix", "interval", "path_prefix", "retain", "storage_type")
_SECRET: Final = frozenset({"aws_secret_access_key", "aws_session_token"})
_FILE_PREFIX: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_REGION: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_RETRY_S_FIRST: Final = 30
_RETRY_S_MAX: Final = 3600
# A start that lies further ahead than this was written by a clock that was wrong.
_CLOCK_MS_MAX: Final = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoConfig:
    """One configuration, by the names of the API; `interval` in seconds, `local_max_space` in bytes."""

    interval: int = 0
    retain: int = 1
    path_prefix: str = ""
    file_prefix: str = "vault-snapshot"
    storage_type: str = ""
    local_max_space: int = 0
    aws_s3_bucket: str = ""
    aws_s3_region: str = ""
    aws_access_key_id: str = ""
    aws_secret_access_key: str = field(default="", repr=False)
    aws_session_token: str = field(default="", repr=False)
    aws_s3_endpoint: str = ""
    aws_s3_disable_tls: bool = False
    aws_s3_force_path_style: bool = False
    aws_s3_enable_kms: bool = False
    aws_s3_server_side_encryption: bool = False
    aws_s3_kms_key: str = ""

    def to_bytes(self) -> bytes:
        """The record."""
        return _FORMAT + json.dumps(asdict(self)).encode()

    @staticmethod
    def from_bytes(record: bytes) -> "AutoConfig":
        """Raises ValueError."""
        return AutoConfig(**_loaded(record))

    def shown(self) -> dict[str, object]:
        """The answer of a read: what belongs to the storage type, and no secret."""
        prefix = "local_" if self.storage_type == LOCAL else "aws_"
        names = (*_COMMON, *(f.name for f in fields(self) if f.name.startswith(prefix) and f.name not in _SECRET))
        return {name: getattr(self, name) for name in sorted(names)}

    def require_sound(self, own_folders: Sequence[Path]) -> None:
        """Refuse what could never work, or what would write where the server keeps its own. Raises InvalidRequest."""
        if self.storage_type in ("google-gcs", "azure-blob"):
            raise InvalidRequest(f"storage_type {self.storage_type} is not available here: use {LOCAL} or {S3}")
        if self.storage_type not in (LOCAL, S3):
            raise InvalidRequest(f"storage_type must be {LOCAL} or {S3}")
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if isinstance(value, str) and (_CONTROL.search(value) or len(value) > 4096):
                raise InvalidRequest(f"{name} holds a control character or is too long")
        if self.interval < 1:
            raise InvalidRequest("interval is required, and must be at least 1s")
        if not 1 <= self.retain <= RETAIN_MAX:
            raise InvalidRequest(f"retain must be from 1 to {RETAIN_MAX}")
        if not self.path_prefix:
            raise InvalidRequest("path_prefix is required")
        if not _FILE_PREFIX.fullmatch(self.file_prefix):
            raise InvalidRequest("file_prefix must be up to 100 letters, digits, hyphens, underscores and periods")
        if self.storage_type == LOCAL:
            self._require_sound_local(own_folders)
        else:
            self._require_sound_s3()

    def _require_sound_local(self, own_folders: Sequence[Path]) -> None:
        if self.local_max_space < 1:
            raise InvalidRequest("local_max_space is required: the bytes that all snapshots together may take")
        folder = Path(self.path_prefix)
        if not folder.is_absolute() or ".." in folder.parts:
            raise InvalidRequest("path_prefix must be an absolute path without ..")
        # Links are followed: what counts is where the file would come to lie (CVE-2025-6000).
        folder = folder.resolve()
        if any(own.resolve() in (folder, *folder.parents) for own in own_folders):
            raise InvalidRequest("path_prefix lies in a folder of the server itself; use one of its own")

    def _require_sound_s3(self) -> None:
        if not _BUCKET.fullmatch(self.aws_s3_bucket):
            raise InvalidRequest("aws_s3_bucket is required, and must be the name of a bucket")
        if not _REGION.fullmatch(self.aws_s3_region):
            raise InvalidRequest("aws_s3_region is required, and must be the name of a region")
        if bool(self.aws_access_key_id) != bool(self.aws_secret_access_key):
            raise InvalidRequest("aws_access_key_id and aws_secret_access_key go together")
        if self.aws_session_token and not self.aws_access_key_id:
            raise InvalidRequest("aws_session_token goes with aws_access_key_id and aws_secret_access_key")
        if self.aws_s3_enable_kms and self.aws_s3_server_side_encryption:
            raise InvalidRequest("aws_s3_server_side_encryption cannot be used with aws_s3_enable_kms")
        if self.aws_s3_kms_key and not self.aws_s3_enable_kms:
            raise InvalidRequest("aws_s3_kms_key needs aws_s3_enable_kms")
        if self.aws_s3_endpoint and not _is_endpoint(self.endpoint_url):
            raise InvalidRequest("aws_s3_endpoint must be host:port or a URL of http or https without credentials")

    @property
    def endpoint_url(self) -> str:
        """The endpoint with its scheme, "" for that of AWS."""
        if not self.aws_s3_endpoint or "://" in self.aws_s3_endpoint:
            return self.aws_s3_endpoint
        return f"{'http' if self.aws_s3_disable_tls else 'https'}://{self.aws_s3_endpoint}"

    @property
    def key_prefix(self) -> str:
        """What an object's key begins with, ahead of its file name: "" or something that ends in "/"."""
        trimmed = self.path_prefix.strip("/")
        return f"{trimmed}/" if trimmed else ""

    def url_of(self, name: str) -> str:
        """Where the snapshot of this file name is, or will be."""
        if self.storage_type == LOCAL:
            return f"file://{Path(self.path_prefix) / name}"
        return f"s3://{self.aws_s3_bucket}/{self.key_prefix}{name}"

    def file_name(self, number: int) -> str:
        """The name of a complete snapshot."""
        return f"{self.file_prefix}-{number:019d}.snap"

    def numbered(self, names: Sequence[str]) -> list[str]:
        """Those of these file names that are complete snapshots of this configuration, the oldest first."""
        pattern = re.compile(re.escape(self.file_prefix) + r"-\d{19}\.snap")
        return sorted(name for name in names if pattern.fullmatch(name))


def _is_endpoint(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        )
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoStatus:
    """What became of a configuration's snapshots. Times in Unix milliseconds, 0 for never.

    `start_ms`, `number` and `url` are of the newest attempt, which is still at work while `is_open`; `last_*` are of
    the newest that has ended, but `last_url` is of the newest that was completed. `failures`: in a row, up to now.
    `config_index`: the configuration that the newest attempt followed.
    """

    start_ms: int = 0
    number: int = 0
    url: str = ""
    is_open: bool = False
    last_start_ms: int = 0
    last_end_ms: int = 0
    last_error: str = ""
    last_url: str = ""
    failures: int = 0
    config_index: int = 0

    def to_bytes(self) -> bytes:
        """The record."""
        return _FORMAT + json.dumps(asdict(self)).encode()

    @staticmethod
    def from_bytes(record: bytes) -> "AutoStatus":
        """Raises ValueError."""
        return AutoStatus(**_loaded(record))

    def begun(self, config: AutoConfig, config_index: int, now_ms: int) -> "AutoStatus":
        """An attempt begins. Names rise also where a clock was set back: the oldest is always the first to go."""
        number = max(now_ms * 1_000_000, self.number + 1)
        url = config.url_of(config.file_name(number))
        return replace(self, start_ms=now_ms, number=number, url=url, is_open=True, config_index=config_index)

    def ended(self, error: str, *, completed: bool, now_ms: int) -> "AutoStatus":
        """It has ended. `completed` with an error: the snapshot is there, but something after it went wrong."""
        return replace(
            self,
            is_open=False,
            last_start_ms=self.start_ms,
            last_end_ms=now_ms,
            last_error=error,
            last_url=self.url if completed else self.last_url,
            failures=0 if completed else self.failures + 1,
        )

    def due_ms(self, config: AutoConfig, config_index: int, now_ms: int) -> int:
        """When the next attempt is due: at once for a new configuration, one that was mended, or a clock set back."""
        is_mended = self.failures > 0 and config_index != self.config_index
        if self.start_ms == 0 or is_mended or self.start_ms > now_ms + _CLOCK_MS_MAX:
            return now_ms
        wait_s = config.interval
        if self.failures:
            wait_s = min(wait_s, _RETRY_S_MAX, _RETRY_S_FIRST << min(self.failures - 1, 16))
        return self.start_ms + wait_s * 1000

    def shown(self, config: AutoConfig, config_index: int, now_ms: int) -> dict[str, object]:
        """The answer of `status`."""
        return {
            "consecutive_errors": self.failures,
            "last_snapshot_end": _time(self.last_end_ms),
            "last_snapshot_error": self.last_error,
            "last_snapshot_start": _time(self.last_start_ms),
            "last_snapshot_url": self.last_url,
            "next_snapshot_start": _time(self.due_ms(config, config_index, now_ms)),
            "snapshot_start": _time(self.start_ms),
            "snapshot_url": self.url,
        }


def _time(unix_ms: int) -> str:
    return rfc3339(unix_ms) if unix_ms else ""


def _loaded(record: bytes) -> dict[str, Any]:
    if record[:1] != _FORMAT:
        raise ValueError("the record of an automatic snapshot is of an unknown format; is a newer version at work?")
    loaded: dict[str, Any] = json.loads(record[1:])
    return loaded
