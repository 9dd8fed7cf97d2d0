"""Log lines on standard error: text for people, or JSON. Secrets never come here; see `log_unforeseen`."""

import logging
import sys
import traceback
from typing import Final

import structlog

_LEVELS: Final = {"trace": logging.DEBUG, "notice": logging.INFO, "warn": logging.WARNING}


def set_up(level: str, form: str) -> None:
    """Write all log lines of this process to standard error, at this level or above."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.getLogger().handlers[:] = [handler]
    set_level(level)


def set_level(level: str) -> None:
    """Write log lines of this level and above from now on."""
    root = logging.getLogger()
    root.setLevel(_LEVELS.get(level) or getattr(logging, level.upper()))
    # The clients of the seals would log what they send and get, at debug: keys among it.
    for noisy in ("aiohttp", "asyncio", "pysyncobj", "boto3", "botocore", "urllib3", "google", "azure", "msal"):
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))


def log_unforeseen(what: str, error: BaseException) -> None:
    """Log a bug. The message of an unforeseen error may quote a secret, so only its kind and place are written."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logging.getLogger(__name__).error("%s: %s\n%s", what, type(error).__name__, where)
