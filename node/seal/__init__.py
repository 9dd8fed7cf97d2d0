"""What protects the root key: one file or folder per seal, chosen by the `seal` stanza of the configuration."""

from typing import Protocol


class Seal(Protocol):
    """Wraps the root key, so that it can be stored.

    Invariant: `unwrap` gives back exactly what `wrap` was given, or raises. It never returns other bytes, and never
    puts any into an error or a log: whoever unwraps still checks that the root key opens the keyring (CVE-2018-19786).
    What is wrapped names the key that wrapped it (`envelope.key_id_of`).
    """

    @property
    def type(self) -> str:
        """As seal-status shows it: "shamir", "awskms", "static", ..."""

    @property
    def is_auto(self) -> bool:
        """Whether it unwraps by itself, without key shares."""

    async def wrap(self, plaintext: bytes) -> bytes:
        """The wrapped bytes, to be stored in clear. Raises SealUnavailable or SealDenied (try again), SealRefused."""

    async def unwrap(self, blob: bytes) -> bytes:
        """What was wrapped.

        Raises:
            SealUnavailable: The seal cannot be reached.
            SealDenied: It answers and says no, until somebody changes that there.
            SealRefused: It was wrapped elsewhere, or is damaged; the same text for every kind of damage.
        """
