"""Log lines: on standard error, in a file if one is asked for, and to whoever watches (sys/monitor).

Text for people, or JSON.

Secrets never come here; see `log_unforeseen`. Levels can be changed while the server runs (sys/loggers): for all, or by
the documented names of its parts. Each watcher has a level of its own, which changes nothing for the others.
"""

import asyncio
import logging
import sys
import traceback
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

TRACE: Final = 5
LEVELS: Final[Mapping[str, int]] = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}

# The documented names of loggers, and the modules that write as them. The longest beginning wins.
PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "core": ("node",),
    "storage.raft": ("cluster",),
    "audit": ("node.audit",),
    "autopilot": ("node.autopilot",),
    "expiration": ("node.leases",),
    "token": ("node.tokens",),
    "identity": ("node.identity",),
    "policy": ("node.policy", "node.policies"),
    "quotas": ("node.quotas",),
    "seal": ("node.seal",),
    "metrics": ("node.telemetry",),
    "http": ("node.edge", "aiohttp"),
    "secrets": ("engines",),
}
# The clients of seals and databases would log what they send and get, at debug: keys and the names of users among it.
_NOISY: Final = (
    *("aiohttp", "asyncio", "pysyncobj"),
    *("boto3", "botocore", "urllib3", "google", "azure", "msal"),
    *("pymongo", "redis"),
)

# What lines carry beside their text, of those that standard logging writes: node/request_log.py.
_REQUEST_FIELDS: Final = ("client_address", "duration", "request_method", "request_path", "start_time", "status_code")

WATCHERS_MAX: Final = 16  # streams of log lines at a time; one more ends the oldest
WATCHED_LINES_MAX: Final = 512  # lines that wait for a watcher that reads slowly; what is beyond is dropped and counted


def part_of(logger_name: str) -> str:
    """The documented name of the part that writes to this logger."""
    found, length = "core", -1
    for part, modules in PARTS.items():
        for module in modules:
            if len(module) > length and (logger_name == module or logger_name.startswith(module + ".")):
                found, length = part, len(module)
    return found


@dataclass(slots=True)
class Levels:
    """Which level holds for which part: the configured one, unless it was changed."""

    configured: str = "info"
    changed: dict[str, str] = field(default_factory=dict)
    _of_logger: dict[str, int] = field(default_factory=dict)  # what `admits` has found out

    def of(self, part: str) -> str:
        """The level of a part."""
        return self.changed.get(part, self.configured)

    def change(self, parts: Mapping[str, str]) -> None:
        """Give these parts these levels."""
        self.changed |= parts
        self._of_logger.clear()

    def revert(self, part: str | None = None) -> None:
        """Back to the configured level: one part, or all."""
        if part is None:
            self.changed.clear()
        else:
            self.changed.pop(part, None)
        self._of_logger.clear()

    def lowest(self) -> int:
        """The least important level that any part writes."""
        return min(LEVELS[level] for level in (self.configured, *self.changed.values()))

    def admits(self, record: logging.LogRecord) -> bool:
        """Whether a line is to be written."""
        level = self._of_logger.get(record.name)
        if level is None:
            level = self._of_logger[record.name] = LEVELS[self.of(part_of(record.name))]
        return record.levelno >= level


class Watcher(logging.Handler):
    """One stream of log lines. Bounded: whoever reads too slowly is told how many lines it has missed."""

    def __init__(self, level: str, form: str) -> None:
        super().__init__(LEVELS[level])
        self.setFormatter(_formatter(form, colors=False))
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue(WATCHED_LINES_MAX)
        self._missed = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = (self.format(record) + "\n").encode(errors="replace")
        except Exception:
            self.handleError(record)
            return
        try:
            self._loop.call_soon_threadsafe(self._take, line)
        except RuntimeError:
            return  # the loop has ended, and with it whoever watched

    def _take(self, line: bytes) -> None:
        if self._lines.full():
            self._missed += 1
            return
        if self._missed:
            line = b"Monitor dropped %d logs during monitor request\n" % self._missed + line
            self._missed = 0
        self._lines.put_nowait(line)

    def end(self) -> None:
        """The stream ends after what is waiting; at once, if that is too much."""
        if self._lines.full():
            self._lines.get_nowait()
        self._lines.put_nowait(None)

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines as they are written, until `end`."""
        while (line := await self._lines.get()) is not None:
            yield line


class Logging:
    """What this process does with its log lines. There is one: the interpreter's loggers are one tree."""

    def __init__(self) -> None:
        self.levels = Levels()
        self._watchers: list[Watcher] = []

    def set_up(self, level: str, form: str, file: logging.Handler | None = None) -> None:
        """Write all log lines of this process to standard error, and to the file, at this level or above."""
        self.levels = Levels(level)
        handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
        handlers[0].setFormatter(_formatter(form, colors=sys.stderr.isatty()))
        if file is not None:
            file.setFormatter(_formatter(form, colors=False))
            handlers.append(file)
        for handler in handlers:
            handler.addFilter(lambda record: self.levels.admits(record))
        logging.addLevelName(TRACE, "TRACE")
        logging.getLogger().handlers[:] = handlers
        structlog.configure(
            processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )
        self.apply()

    def apply(self) -> None:
        """Have lines made that somebody wants, and no others."""
        wanted = (self.levels.lowest(), *(watcher.level for watcher in self._watchers))
        logging.getLogger().setLevel(min(wanted))
        for noisy in _NOISY:
            logging.getLogger(noisy).setLevel(max(LEVELS[self.levels.of(part_of(noisy))], logging.WARNING))

    async def watch(self, level: str, form: str) -> AsyncIterator[bytes]:
        """The lines at this level or above from now on, as bytes that end in a line end."""
        watcher = Watcher(level, form)
        while len(self._watchers) >= WATCHERS_MAX:
            self._forget(self._watchers[0])
        self._watchers.append(watcher)
        logging.getLogger().addHandler(watcher)
        self.apply()
        try:
            async for line in watcher.lines():
                yield line
        finally:
            self._forget(watcher)

    def _forget(self, watcher: Watcher) -> None:
        if watcher in self._watchers:
            self._watchers.remove(watcher)
            logging.getLogger().removeHandler(watcher)
            watcher.end()
            self.apply()


LOGGING: Final = Logging()


def set_up(level: str, form: str, file: logging.Handler | None = None) -> None:
    """Write all log lines of this process to standard error, and to the file, at this level or above."""
    LOGGING.set_up(level, form, file)


def _formatter(form: str, *, colors: bool) -> logging.Formatter:
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=_REQUEST_FIELDS),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0)
    )
    return structlog.stdlib.ProcessorFormatter(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
    )


def set_level(level: str) -> None:
    """Write log lines of this level and above from now on, those of parts excepted that were given their own."""
    LOGGING.levels = Levels(level, dict(LOGGING.levels.changed))
    LOGGING.apply()


def log_unforeseen(what: str, error: BaseException) -> None:
    """Log a bug. The message of an unforeseen error may quote a secret, so only its kind and place are written."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logging.getLogger(__name__).error("%s: %s\n%s", what, type(error).__name__, where)
