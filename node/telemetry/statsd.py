"""Pushing the meters once a second: to statsd and DogStatsD over UDP, to statsite over TCP.

What cannot be sent is dropped: a monitoring server that is away must cost a node nothing. Of a busy summary some
samples are sent, with the rate that says how many they stand for.
"""

import contextlib
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from cluster.meters import Family, Labels, Spread
from node.config.addresses import split_host_port
from node.config.services import Telemetry as Settings
from node.telemetry.exposition import Look, numbers_of
from node.telemetry.names import part_of_name

_DATAGRAM_BYTES_MAX: Final = 1400  # within an Ethernet frame
_SAMPLES_MAX: Final = 100  # of one summary in a second
_NOT_IN_A_NAME: Final = str.maketrans({":": "_", "|": "_", "@": "_", "#": "_", ",": "_", "\n": "_", " ": "_"})


Row = tuple[str, Mapping[str, str], str]  # name in dots, labels, and what follows the colon


class Sink:
    """One address. `tags`: labels become DogStatsD tags; else they become parts of the name."""

    def __init__(self, address: str, default_port: int, *, is_stream: bool, tags: tuple[str, ...] | None) -> None:
        self._address = split_host_port(address, default_port)
        self._is_stream = is_stream
        self._tags = tags
        self._socket: socket.socket | None = None

    def send(self, rows: Iterable[Row]) -> None:
        """Send name, labels and value of each; drop what the network does not take."""
        packet = b""
        for name, labels, value in rows:
            line = self._line(name, labels, value)
            if len(packet) + len(line) > _DATAGRAM_BYTES_MAX:
                self._send(packet)
                packet = b""
            packet += line
        if packet:
            self._send(packet)

    def close(self) -> None:
        """Close the socket; the next `send` opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _line(self, name: str, labels: Mapping[str, str], value: str) -> bytes:
        if self._tags is None:
            name = ".".join((name, *(part_of_name(label).replace(".", "_") for label in labels.values())))
            return f"{name.translate(_NOT_IN_A_NAME)}:{value}\n".encode()
        tags = [*self._tags, *(f"{key}:{label.translate(_NOT_IN_A_NAME)}" for key, label in labels.items())]
        tail = f"|#{','.join(tags)}" if tags else ""
        return f"{name.translate(_NOT_IN_A_NAME)}:{value}{tail}\n".encode()

    def _send(self, packet: bytes) -> None:
        try:
            if self._socket is None:
                self._socket = self._connected()
            self._socket.send(packet)
        except OSError:
            self.close()

    def _connected(self) -> socket.socket:
        found = socket.getaddrinfo(
            self._address.host, self._address.port, type=socket.SOCK_STREAM if self._is_stream else socket.SOCK_DGRAM
        )
        family, kind, protocol, _, address = found[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(0.2)  # to connect; once a second, and only until the server answers
            made.connect(address)
            made.setblocking(False)
        except OSError:
            made.close()
            raise
        return made


class Pusher:
    """All sinks of the `telemetry` stanza. `hostname` is put before the name of a gauge, as documented."""

    def __init__(self, settings: Settings, look: Look, hostname: str) -> None:
        self._look = look
        self._hostname = "" if settings.disable_hostname or settings.enable_hostname_label else hostname
        self._sent: dict[tuple[str, Labels], float] = {}  # counters, as they were told last
        self.sinks: list[Sink] = []
        if settings.statsd_address:
            self.sinks.append(Sink(settings.statsd_address, 8125, is_stream=False, tags=None))
        if settings.statsite_address:
            self.sinks.append(Sink(settings.statsite_address, 8125, is_stream=True, tags=None))
        if settings.dogstatsd_addr:
            self.sinks.append(Sink(settings.dogstatsd_addr, 8125, is_stream=False, tags=settings.dogstatsd_tags))

    def rows(self, families: Iterable[Family], samples: Mapping[Spread, list[float]]) -> list[Row]:
        """What one second has brought."""
        return list(self._rows(families, samples))

    def send(self, rows: list[Row]) -> None:
        """Send it. May block for a moment: to look a name up, or to connect."""
        for sink in self.sinks:
            with contextlib.suppress(OSError):
                sink.send(rows)

    def close(self) -> None:
        """Close every socket."""
        for sink in self.sinks:
            sink.close()

    def _rows(self, families: Iterable[Family], samples: Mapping[Spread, list[float]]) -> Iterator[Row]:
        look = self._look
        for family in look.chosen(families):
            for values, number in numbers_of(family).items():
                labels = look.labels_of(family, values)
                if family.kind == "gauge":
                    yield self._gauge_name(family), labels, f"{number:f}|g"
                elif grown := number - self._sent.get((family.name, values), 0):
                    self._sent[family.name, values] = number
                    yield look.name_of(family), labels, f"{grown:.0f}|c"
            for values, meter in list(family.children.items()):
                if not isinstance(meter, Spread):
                    continue
                taken = samples.get(meter, [])
                chosen = taken[:: -(-len(taken) // _SAMPLES_MAX)] if taken else []
                rate = f"|@{len(chosen) / len(taken):f}" if len(chosen) < len(taken) else ""
                for sample in chosen:
                    yield look.name_of(family), look.labels_of(family, values), f"{sample:f}|ms{rate}"

    def _gauge_name(self, family: Family) -> str:
        if not self._hostname:
            return self._look.name_of(family)
        return ".".join(part for part in (self._look.prefix, self._hostname, family.name) if part)
