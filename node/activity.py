"""Who used the server, month by month: the activity log behind sys/internal/counters/activity.

A client is an entity, or a token without one, counted once a month. The active node keeps the clients of this month in
memory and stores what is new every minute, so a crash forgets at most the clients of one minute who do not come
back. Root tokens are nobody's, and not counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgpack

from cluster.errors import ClusterError
from engines.common.crypto import sha256
from engines.common.plan import Delete, Put
from node.sources import Sources
from node.view import OpenedStore

if TYPE_CHECKING:
    from node.tokens.model import TokenEntry

logger = logging.getLogger(__name__)

PREFIX: Final = "sys/activity/log/"  # <YYYY-MM>/<number>: some clients that were new in that month
CONFIG_KEY: Final = "sys/activity/config"
PERIOD_S: Final = 60.0
SEGMENT_CLIENTS_MAX: Final = 1000  # in one record, of about 100 bytes each
CLIENTS_MAX: Final = 250_000  # in a month; more are not counted, so that memory has a bound
RETENTION_MONTHS: Final = (48, 60)  # as documented
ENABLED: Final = ("default", "enable", "disable")
_FORMAT: Final = b"\x01"


@dataclass(frozen=True, slots=True)
class Client:
    """Someone who was here. `mount` is the auth mount whose token was seen first, `since_s` a Unix time."""

    id: str
    is_entity: bool
    mount: str
    since_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityConfig:
    """Whether to count, and for how long to keep it."""

    enabled: str = "default"
    retention_months: int = RETENTION_MONTHS[0]
    default_report_months: int = 12

    @property
    def counts(self) -> bool:
        """Whether clients are counted. Unless told otherwise they are."""
        return self.enabled != "disable"

    def to_bytes(self) -> bytes:
        """The record."""
        return _FORMAT + bytes(msgpack.packb(asdict(self)))

    @staticmethod
    def from_bytes(record: bytes) -> ActivityConfig:
        """Raises ValueError."""
        _require_format(record)
        return ActivityConfig(**msgpack.unpackb(record[1:]))


def month_of(at_ms: int) -> str:
    """The month of a moment, as "2026-11"."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m")


class Activity:
    """The activity log of one unsealed node; only the active one adds to it."""

    def __init__(self, opened: OpenedStore, sources: Sources, on_new_month: Callable[[], None]) -> None:
        """`on_new_month`: from now on everybody counts as not seen lately."""
        self._opened = opened
        self._on_new_month = on_new_month
        self._sources = sources
        self._month = ""
        self._seen: set[str] = set()
        self._new: list[Client] = []

    def saw(self, entry: TokenEntry, mount: str) -> None:
        """A token was used. Called when it has not been seen lately, not with every request."""
        if self._month != month_of(self._sources.now_ms()):
            self._begin_month()
        is_entity = bool(entry.entity_id)
        client_id = entry.entity_id or sha256("\0".join(sorted(entry.policies)).encode()).hex()
        if client_id in self._seen or len(self._seen) >= CLIENTS_MAX or not self.config().counts:
            return
        self._seen.add(client_id)
        self._new.append(Client(client_id, is_entity, mount, self._sources.now_ms() // 1000))
        self._opened.meters.activity.of("entity" if is_entity else "nonentity").value += 1

    def _begin_month(self) -> None:
        self._month = month_of(self._sources.now_ms())
        self._new = []
        self._seen = {client.id for client in self.stored(self._month)}
        self._on_new_month()

    async def run(self) -> None:
        """Store what is new, every minute, until cancelled: on the active node."""
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                await self.store()
                if self._month != month_of(self._sources.now_ms()):
                    self._begin_month()
            except ClusterError as error:
                logger.info("the activity log is stored later: %s", error)

    async def store(self) -> None:
        """Store what is new, and drop months that are past the retention. Raises ClusterError."""
        config = self.config()
        while self._new and config.counts:
            part = self._new[:SEGMENT_CLIENTS_MAX]
            number = len(self._opened.list(f"{PREFIX}{self._month}/"))
            rows = [(one.id, one.is_entity, one.mount, one.since_s) for one in part]
            put = Put(f"{PREFIX}{self._month}/{number:06d}", _FORMAT + bytes(msgpack.packb(rows)), 0)
            with self._opened.meters.activity_write.timing():
                await self._opened.commit("", [put])
            del self._new[: len(part)]
        for month in self.months()[: -config.retention_months]:
            gone = [Delete(f"{PREFIX}{month}/{name}") for name in self._opened.list(f"{PREFIX}{month}/")]
            await self._opened.commit("", gone)

    def config(self) -> ActivityConfig:
        """The configuration."""
        seen = self._opened.get(CONFIG_KEY)
        return ActivityConfig() if seen is None else ActivityConfig.from_bytes(seen.value)

    def months(self) -> list[str]:
        """The months of which something is stored, in their order."""
        return [name.rstrip("/") for name in self._opened.list(PREFIX)]

    def clients(self, month: str) -> list[Client]:
        """The clients of a month, those that are not stored yet among them."""
        return [*self.stored(month), *(self._new if month == self._month else ())]

    def stored(self, month: str) -> Iterator[Client]:
        """The clients of a month as stored."""
        for name in self._opened.list(f"{PREFIX}{month}/"):
            seen = self._opened.get(f"{PREFIX}{month}/{name}")
            if seen is not None:
                _require_format(seen.value)
                yield from (Client(*row) for row in msgpack.unpackb(seen.value[1:]))

    def forget_month(self) -> None:
        """Counting ends within this month: what is not stored yet is dropped."""
        self._new = []


def distinct(clients: Iterable[Client]) -> list[Client]:
    """Each client once, as it was seen first."""
    found: dict[str, Client] = {}
    for client in clients:
        found.setdefault(client.id, client)
    return list(found.values())


def _require_format(record: bytes) -> None:
    if record[:1] != _FORMAT:
        raise ValueError("unknown format of an activity record; was it written by a newer version?")
