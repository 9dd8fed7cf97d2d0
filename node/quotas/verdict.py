"""What a rate limit says to one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from node.errors import RateLimited


@dataclass(frozen=True, slots=True)
class Verdict:
    """May the request go on? `refusal` says no; `headers` are for the answer either way."""

    refusal: RateLimited | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


ADMITTED: Final = Verdict()
