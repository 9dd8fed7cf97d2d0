"""Secret values as JSON text: what is stored is what is answered, without a decode and encode on the way."""

import json
from typing import Any, Final

import orjson

from engines.common.errors import InvalidRequest

_DIGITS: Final = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))
_LONG: Final = b"0" * 19


def has_long_number(text: bytes) -> bool:
    """Whether a JSON text may hold an integer of more than 64 bits, which orjson would turn into a float."""
    return _LONG in text.translate(_DIGITS)  # a tenth of what a regular expression costs


def encode_json(value: object) -> bytes:
    """The JSON text of a decoded value. Raises InvalidRequest when JSON cannot hold it; never names the value."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # orjson ends at 64-bit integers and at lone surrogates; the standard encoder writes both.
        pass
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError):
        raise InvalidRequest("the data cannot be written as JSON") from None


def decode_json(text: bytes) -> Any:
    """The value of a JSON text. Integers of any size stay integers, which orjson would turn into floats."""
    return json.loads(text)
