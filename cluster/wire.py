"""What one node may say to another: the shapes of all messages, and their encoding.

A frame is a length of 4 bytes (big-endian), then that many bytes of msgpack: one map with a "type". A receiver admits
exactly the shapes of the table here and nothing else. This module must never build an object that the table does not
name (no extension types, no pickles), and its errors never quote what was received.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from cluster.link_limits import (
    CALL_FRAME_BYTES_MAX,
    ENTRIES_MAX,
    FIELDS_MAX,
    HELLO_BYTES_MAX,
    RAFT_FRAME_BYTES_MAX,
    TEXT_BYTES_MAX,
)

PROTOCOL_VERSION: Final = 1
HEADER_BYTES: Final = 4
INT_MAX: Final = 2**63 - 1


class WireError(Exception):
    """What was received is no message of this protocol. The text names the fault, never the content."""


class FrameTooLarge(ValueError):
    """A message of our own is over the frame bound of its connection; it was not sent."""


_REQUIRED: Final = object()


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message; without a default it must be there."""

    name: str
    holds: Callable[[object], bool]
    default: object = _REQUIRED


@dataclass(frozen=True, slots=True)
class Protocol:
    """What one kind of connection admits: its message types and its largest frame, in bytes without the header."""

    shapes: Mapping[str, Sequence[Field]]
    frame_bytes_max: int


def _count(value: object) -> bool:
    """A whole number from 0 to 2**63-1. A bool is none, although Python calls it an int."""
    return type(value) is int and 0 <= value <= INT_MAX


def _flag(value: object) -> bool:
    return type(value) is bool


def _data(value: object) -> bool:
    return type(value) is bytes


def _text(value: object) -> bool:
    return type(value) is str


def _entries(value: object) -> bool:
    """Raft entries. What is inside was checked while it was decoded, by `_entry_or_entries`."""
    return type(value) is list and (not value or type(value[0]) is list)


_TERM: Final = Field("term", _count)
_LAST_LOG: Final = (Field("last_log_index", _count), Field("last_log_term", _count))

GREETING: Final = Protocol(
    {
        "hello": (
            Field("version", _count),
            Field("cluster_id", _text),
            Field("node_id", _text),
            Field("kind", _text),
        )
    },
    HELLO_BYTES_MAX,
)

RAFT: Final = Protocol(
    {
        "append_entries": (
            _TERM,
            Field("commit_index", _count),
            Field("entries", _entries),
            Field("prev_index", _count),
            Field("prev_term", _count),
            Field("sent_at", _count),
        ),
        "append_ack": (
            _TERM,
            Field("next_index", _count),
            Field("success", _flag),
            Field("reset", _flag, default=False),
            Field("sent_at", _count),
        ),
        "request_vote": (_TERM, *_LAST_LOG, Field("transfer", _flag, default=False)),
        "response_vote": (_TERM,),
        "pre_vote": (_TERM, *_LAST_LOG),
        "pre_vote_granted": (_TERM,),
        "timeout_now": (_TERM,),
        "snapshot_chunk": (
            _TERM,
            Field("snapshot_id", _text),
            Field("offset", _count),
            Field("data", _data),
            Field("last", _flag),
            Field("index", _count),
            Field("snapshot_term", _count),
        ),
        "snapshot_ack": (_TERM, Field("snapshot_id", _text), Field("offset", _count), Field("ok", _flag)),
        "not_a_member": (_TERM,),
        "log_lost": (_TERM, Field("acked_index", _count)),
    },
    RAFT_FRAME_BYTES_MAX,
)

CALLS: Final = Protocol(
    {
        "call": (Field("call_id", _count), Field("payload", _data)),
        "reply": (Field("call_id", _count), Field("payload", _data)),
        "refused": (Field("call_id", _count),),  # the handler never saw it: asking again is safe
        "failed": (Field("call_id", _count),),  # the handler raised: whether it acted is not known
    },
    CALL_FRAME_BYTES_MAX,
)

# By the kind that a hello names.
KINDS: Final[Mapping[str, Protocol]] = {"raft": RAFT, "call": CALLS}


def pack(message: Mapping[str, Any], frame_bytes_max: int) -> bytes:
    """The frame of a message, header included.

    Raises:
        FrameTooLarge: It would be refused at the other end.
    """
    body: bytes = msgpack.packb(message)
    if len(body) > frame_bytes_max:
        raise FrameTooLarge(f"a {message.get('type')} message of {len(body)} bytes is over {frame_bytes_max}")
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def unpack(body: bytes | memoryview, protocol: Protocol) -> dict[str, Any]:
    """The message in a frame's body, in exactly a shape of the protocol, optional fields filled in.

    Raises:
        WireError: Not msgpack, an extension type, nested too deep, or of no admitted shape.
    """
    try:
        message = msgpack.unpackb(
            body,
            raw=False,
            strict_map_key=True,
            # Checked as they are completed, innermost first: a small frame cannot unfold into many objects.
            object_hook=lambda found: _in_shape(found, protocol),
            list_hook=_entry_or_entries,
            max_ext_len=0,
            max_str_len=TEXT_BYTES_MAX,
            max_map_len=FIELDS_MAX,
            max_array_len=ENTRIES_MAX if protocol is RAFT else 0,
            max_bin_len=protocol.frame_bytes_max,
        )
    except (ValueError, TypeError, msgpack.UnpackException):
        # The library's text may quote what was received, so it is not passed on. Nesting is bounded by its stack.
        raise WireError("not one well-formed msgpack value within the bounds") from None
    if type(message) is not dict:
        raise WireError("not a map")
    return message


def _entry_or_entries(items: list[Any]) -> list[Any]:
    """The only two lists there are: an entry [command, index, term], and a list of entries."""
    if len(items) == 3 and type(items[0]) is bytes:
        if not (_count(items[1]) and _count(items[2])):
            raise WireError("an entry with a wrong index or term")
        return items
    for entry in items:
        if type(entry) is not list or not entry or type(entry[0]) is not bytes:
            raise WireError("a list that is neither an entry nor a list of entries")
    return items


def _in_shape(message: dict[str, Any], protocol: Protocol) -> dict[str, Any]:
    name = message.get("type")
    shape = protocol.shapes.get(name) if type(name) is str else None
    if shape is None:
        raise WireError("not a message type of this connection")
    unnamed = len(message) - 1
    for field in shape:
        value = message.get(field.name, _REQUIRED)
        if value is not _REQUIRED:
            if not field.holds(value):
                raise WireError(f"{name}: {field.name} has a wrong type or range")
            unnamed -= 1
        elif field.default is not _REQUIRED:
            message[field.name] = field.default
        else:
            raise WireError(f"{name}: {field.name} is missing")
    if unnamed:
        raise WireError(f"{name}: a field that it does not have")
    return message
