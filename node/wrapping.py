"""Response wrapping: an answer is kept in the cubbyhole of a token that can be used once ("Response wrapping").

Invariant: whoever unwraps commits the token's only use first, naming the record it saw. Of any number of concurrent
unwraps one commits, and only that one is answered.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from engines.common.context import Sources
from engines.common.errors import InvalidRequest
from engines.common.flat_secret import FlatSecret
from engines.common.json_values import encode_json
from engines.common.plan import Put, Write
from engines.common.timestamp import rfc3339
from node.policy.names import RESPONSE_WRAPPING_NAME
from node.request import Request
from node.tokens.model import SeenToken, TokenSpec
from node.tokens.token_store import TokenStore, is_alive
from node.view import OpenedStore

RESPONSE: Final = "response"
_OWN: Final = frozenset(("sys/wrapping/unwrap", "sys/wrapping/rewrap"))
NOT_VALID: Final = "wrapping token is not valid or does not exist"


def unwraps_own_token(request: Request) -> bool:
    """Whether the token that sends the request is the one to be unwrapped."""
    return request.path in _OWN and request.body.get("token") in (None, "", request.token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapped:
    """The `wrap_info` to answer with instead, and the writes that make it true."""

    info: Mapping[str, object] = field(repr=False)
    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class Wrapping:
    """Wraps and unwraps. `cubbyhole_prefix` is where the cubbyhole mount stores, ending in "/"."""

    tokens: TokenStore
    opened: OpenedStore
    sources: Sources
    cubbyhole_prefix: str

    def wrap(self, body: Mapping[str, object], ttl_s: int, creation_path: str) -> Wrapped:
        """Wrap the body of an answer for so many seconds."""
        now_ms = self.sources.now_ms()
        auth = body.get("auth")
        accessor = str(auth["accessor"]) if isinstance(auth, Mapping) else ""
        spec = TokenSpec(
            policies=(RESPONSE_WRAPPING_NAME,),
            path=creation_path,
            display_name="",
            ttl_s=ttl_s,
            num_uses=1,
            explicit_max_ttl_s=ttl_s,
            renewable=False,
        )
        made = self.tokens.create_writes(spec)
        kept = FlatSecret.of({RESPONSE: encode_json(body).decode()}, now_ms)
        info: dict[str, object] = {
            "token": made.token,
            "accessor": made.entry.accessor,
            "ttl": ttl_s,
            "creation_time": rfc3339(now_ms),
            "creation_path": creation_path,
            "wrapped_accessor": accessor,
        }
        return Wrapped(info=info, writes=(*made.writes, Put(self._key(made.key), kept.encode())))

    async def wrapping_token(self, token: str) -> SeenToken:
        """The wrapping token, not yet used. Raises InvalidRequest for anything else, with one text."""
        seen = await self.tokens.lookup(token) if token else None
        if (
            seen is None
            or seen.entry.policies != (RESPONSE_WRAPPING_NAME,)
            or not is_alive(seen.entry, self.sources.now_ms())
        ):
            raise InvalidRequest(NOT_VALID)
        return seen

    def body(self, token_key: str) -> bytes:
        """What a wrapping token holds, as the JSON it was. Raises InvalidRequest."""
        seen = self.opened.get(self._key(token_key))
        if seen is None:
            raise InvalidRequest(NOT_VALID)
        text = orjson.loads(FlatSecret.decode(seen.value).members[RESPONSE])
        return str(text).encode()

    def ended(self, seen: SeenToken) -> tuple[Write, ...]:
        """The writes that use the token up, by making it nothing: of several, one commits."""
        return self.tokens.remove_writes(seen, self.sources.now_ms())

    def _key(self, token_key: str) -> str:
        return f"{self.cubbyhole_prefix}{token_key}/{RESPONSE}"
