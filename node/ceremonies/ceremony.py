"""What all ceremonies share: the nonce, the shares given so far, and who may end one."""

from dataclasses import dataclass, field
from typing import Final

from engines.common.crypto import equal
from engines.common.errors import InvalidRequest, PermissionDenied
from node.errors import InvalidShares
from node.seal.shamir import share_from_text
from node.shamir import combine

# For so long nobody ends a ceremony without its nonce, as documented for rekeys.
NONCE_NEEDED_S: Final = 600.0


class Quorum:
    """Collects key shares until there are enough.

    Invariant: fewer than `required` shares are held, all different.
    """

    def __init__(self, required: int) -> None:
        self.required: Final = required
        self._held: list[bytes] = []

    @property
    def progress(self) -> int:
        """How many shares are held."""
        return len(self._held)

    def add(self, share: bytes) -> bytes | None:
        """Take one share. What all make together when this was the last one needed, after which none is held.

        It is noise if one of them was wrong: whoever gets it must try it on what it should open.

        Raises:
            InvalidRequest: This share was given already, which changes nothing.
            InvalidShares: The shares together are impossible, and all are dropped.
        """
        if any(equal(share, held) for held in self._held):
            raise InvalidRequest("given key has already been provided during this operation")
        self._held.append(share)
        if len(self._held) < self.required:
            return None
        complete, self._held = self._held, []
        return combine(complete)


@dataclass(slots=True, kw_only=True)
class Ceremony:
    """One that is under way. `is_protected`: whoever began it had a right to, and only such a one ends it."""

    nonce: str
    raft_term: int
    began_s: float
    is_protected: bool
    quorum: Quorum = field(repr=False)


def given_share(key: str, nonce: str, expected: str) -> bytes:
    """The share in a request, which must name the nonce of the ceremony that it is meant for.

    The answer to a wrong nonce does not tell the right one: a share must go where its holder meant it to go.

    Raises:
        InvalidRequest: Share or nonce are missing, or the nonce is another one.
        InvalidShares: The share is malformed.
    """
    if not key:
        raise InvalidRequest("'key' must be specified in request body as JSON")
    require_nonce(nonce, expected)
    share = share_from_text(key)
    if share[-1] == 0:
        raise InvalidShares("the key share is not valid")
    return share


def require_nonce(nonce: str, expected: str) -> None:
    """Raises InvalidRequest for any other nonce."""
    if not nonce:
        raise InvalidRequest("'nonce' must be specified in request body as JSON")
    if not equal(nonce, expected):
        raise InvalidRequest("incorrect nonce supplied")


def require_may_end(ceremony: Ceremony, nonce: str, expected: str, now_s: float, *, may: bool) -> None:
    """Whether the sender may end a ceremony (CVE-2025-4656, CVE-2026-5807).

    Args:
        nonce: As sent; "" for none.
        expected: The nonce of what is to be ended.
        now_s: Of the steady clock.
        may: Whether policy lets the sender's token do this. Then no nonce is asked for.

    Raises:
        PermissionDenied: It was begun by somebody with a right to, and the sender has none.
        InvalidRequest: The nonce is missing or another one.
    """
    if may:
        return
    if ceremony.is_protected:
        raise PermissionDenied
    if nonce or now_s - ceremony.began_s < NONCE_NEEDED_S:
        require_nonce(nonce, expected)
