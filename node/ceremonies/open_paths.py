"""The paths of ceremonies that ask for no token, as documented."""

from typing import Final

# What anybody may send to, token or not: key holders often have none, and who generates a root token has lost it.
OPEN: Final = frozenset(
    {
        "sys/rekey/init",
        "sys/rekey/update",
        "sys/rekey/verify",
        "sys/rekey-recovery-key/init",
        "sys/rekey-recovery-key/update",
        "sys/rekey-recovery-key/verify",
        "sys/generate-root/attempt",
        "sys/generate-root/update",
    }
)


def is_open(path: str) -> bool:
    """Whether a canonical path belongs to a ceremony that asks for no token."""
    return path in OPEN
