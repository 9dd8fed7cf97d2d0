"""operator rotate and key-status: the key that seals new entries."""

from datetime import datetime
from typing import Final

from node.cli.command import Call, Command
from node.cli.errors import doing
from node.cli.secret import Data


def _rotate(call: Call) -> None:
    with doing("Error rotating key"):
        call.client.plain("PUT", "sys/rotate")
    if call.printer.is_table:
        call.printer.line("Success! Rotated key\n")
    _key_status(call)


def _key_status(call: Call) -> None:
    with doing("Error reading key status"):
        answer = call.client.plain("GET", "sys/key-status")
    status: Data = answer["data"] if isinstance(answer.get("data"), dict) else answer
    if not call.printer.is_table:
        call.printer.encoded({key: status.get(key) for key in ("term", "install_time", "encryptions")})
        return
    from node.cli.output import key_values

    rows: list[tuple[str, object]] = [
        ("Key Term", status.get("term")),
        ("Install Time", _short_time(str(status.get("install_time") or ""))),
    ]
    if "encryptions" in status:
        rows.append(("Encryption Count", status["encryptions"]))
    call.printer.line(key_values(rows))


def _short_time(text: str) -> str:
    """An RFC 3339 time as "02 Jan 06 15:04 UTC"; text that is none stays as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = moment.strftime("%Z").removesuffix("+00:00") or "UTC"
    return f"{moment:%d %b %y %H:%M} {zone}"


ROTATE: Final = Command(name="rotate", summary="Start a new key for what is written from now on.", run=_rotate)
KEY_STATUS: Final = Command(name="key-status", summary="Show the key that seals new entries.", run=_key_status)
