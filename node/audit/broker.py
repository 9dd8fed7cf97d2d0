"""The audit devices of this node: opened from the stored table when first needed, and never patched by hand.

Invariant: `devices` mirrors the table in the store. A device that cannot be opened is still one of them and counts as
failing, so that a fault never turns auditing off.
"""

import errno
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.store import Store
from engines.common.errors import InvalidRequest
from engines.common.frame import Operation
from node.audit import options
from node.audit.channel import Channel, Record
from node.audit.lines import Exchange, Formatter
from node.audit.model import AUDIT_KEY, HEADERS_KEY, AuditEntry, decode_headers, decode_table
from node.audit.redact import Redactor
from node.audit.sinks import Discard, File, Sink, Socket, StandardOutput, Syslog
from node.identify import ANONYMOUS
from node.request import Request
from node.sources import Sources, new_uuid
from node.view import OpenedStore

_EMPTY: Final[Mapping[str, bool]] = {}


@dataclass(frozen=True, slots=True)
class Device:
    """An enabled device and what it works with."""

    entry: AuditEntry
    redactor: Redactor
    formatter: Formatter
    channel: Channel


class Broker:
    """All devices of this node. `forbidden` are folders in which no audit file may lie."""

    def __init__(self, opened: OpenedStore, store: Store, sources: Sources, forbidden: Sequence[Path]) -> None:
        self.sources = sources
        self.meters = opened.meters
        self._opened = opened
        self._forbidden = [folder.resolve() for folder in forbidden]
        self._devices: tuple[Device, ...] = ()
        self._headers: Mapping[str, bool] = _EMPTY
        self._is_current = False
        self._unwatch = store.watch(self._changed, (AUDIT_KEY, HEADERS_KEY))

    @property
    def enabled(self) -> bool:
        """Whether there is any device. Only the active node may ask: the first question opens them."""
        if not self._is_current:
            self._derive()
        return bool(self._devices)

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices as of now."""
        if not self._is_current:
            self._derive()
        return self._devices

    @property
    def headers(self) -> Mapping[str, bool]:
        """The request headers that records show: lower-case name, and whether its value is hashed."""
        if not self._is_current:
            self._derive()
        return self._headers

    def table(self) -> tuple[AuditEntry, ...]:
        """The devices as stored."""
        seen = self._opened.get(AUDIT_KEY)
        return () if seen is None else decode_table(seen.value)

    def find(self, path: str) -> Device | None:
        """The device at a path that ends in "/"."""
        return next((device for device in self.devices if device.entry.path == path), None)

    def require_usable(self, entry: AuditEntry) -> None:
        """Refuse options that cannot be used. Raises InvalidRequest."""
        options.require_known(entry.type, entry.options)
        options.line_options(entry.options)
        self._sink(entry)

    async def probe(self, entry: AuditEntry) -> None:
        """Write a test record to a device that is to be enabled. Raises InvalidRequest when that fails."""
        device = self._device(entry)
        try:
            record = Record(1)
            device.channel.send(_test_line(device, self.sources), record)
            if not await record.wait():
                raise InvalidRequest(f"sanity check failed; unable to write to the device: {device.channel.problem}")
        finally:
            device.channel.close()

    def reopen(self) -> None:
        """Let file devices begin a new file: rotation has moved the old one away (SIGHUP)."""
        for device in self._devices:
            device.channel.reopen()

    def end(self) -> None:
        """Close every device for good: this node seals."""
        self._unwatch()
        self.close()

    def close(self) -> None:
        """Close every device: this node no longer leads. What was sent is still written."""
        devices, self._devices = self._devices, ()
        self._headers, self._is_current = _EMPTY, False
        for device in devices:
            device.channel.close()

    def _derive(self) -> None:
        """Open what the table has gained and close what it has lost. The devices that stay keep their queues."""
        before = {device.entry.uuid: device for device in self._devices}
        entries = self.table()
        self._devices = tuple(before.pop(e.uuid) if e.uuid in before else self._device(e) for e in entries)
        seen = self._opened.get(HEADERS_KEY)
        self._headers = _EMPTY if seen is None else decode_headers(seen.value)
        self._is_current = True
        for gone in before.values():
            gone.channel.close()

    def _device(self, entry: AuditEntry) -> Device:
        redactor = Redactor(entry.salt)
        try:
            lines = options.line_options(entry.options)
            sink = self._sink(entry)
        except InvalidRequest as error:
            # Enabled under other settings than today's: it fails until it is disabled, and says why.
            lines, sink = options.LineOptions(), _Unusable(str(error))
        return Device(
            entry,
            redactor,
            Formatter(lines, redactor),
            Channel(entry.path, sink, self.sources, self.meters.of_device(entry.path)),
        )

    def _sink(self, entry: AuditEntry) -> Sink:
        match entry.type:
            case "file":
                chosen = options.file_options(entry.options)
                if chosen.path == "discard":
                    return Discard()
                return StandardOutput() if chosen.path == "stdout" else File(chosen, self._forbidden)
            case "syslog":
                return Syslog(options.syslog_options(entry.options), self.sources)
            case "socket":
                return Socket(options.socket_options(entry.options), self.sources)
        raise InvalidRequest("unknown audit device type")

    def _changed(self, keys: Collection[str]) -> None:
        if not keys or AUDIT_KEY in keys or HEADERS_KEY in keys:
            self._is_current = False


class _Unusable:
    """The sink of a device whose options are not usable."""

    may_block = False

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def open(self) -> None:
        raise OSError(errno.EINVAL, self._reason)

    def write(self, lines: Sequence[bytes]) -> None:
        raise OSError(errno.EINVAL, self._reason)

    def reopen(self) -> None: ...

    def close(self) -> None: ...


def _test_line(device: Device, sources: Sources) -> bytes:
    """What a device is tried with when it is enabled."""
    request = Request(
        id=new_uuid(sources),
        operation=Operation.UPDATE,
        path="sys/audit/test",
        body={},
        token="",
        wrap_ttl_s=0,
        help=False,
        client_address="",
        headers={},
        upload=None,
    )
    exchange = Exchange(request=request, operation="update", who=ANONYMOUS, mount=None, is_allowed=True)
    return device.formatter.request_line(device.formatter.head(exchange, _EMPTY), sources.now_ms())
