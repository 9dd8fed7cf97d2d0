"""Key shares on their way to their holders, as `sys/init` and a rekey answer them."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field

from node.pgp import PgpKey


@dataclass(frozen=True, slots=True)
class Handout:
    """The shares as their holders get them: in clear, or each as an OpenPGP message whose text is the hex share."""

    items: tuple[bytes, ...] = field(repr=False)

    def answer(self) -> dict[str, object]:
        """Their members of an answer."""
        return {"keys": [i.hex() for i in self.items], "keys_base64": [b64encode(i).decode() for i in self.items]}


def handed_out(shares: Sequence[bytes], keys: Sequence[PgpKey]) -> Handout:
    """The shares, each encrypted to its key if there are keys."""
    if not keys:
        return Handout(tuple(shares))
    return Handout(tuple(key.encrypt(share.hex().encode()) for share, key in zip(shares, keys, strict=True)))
