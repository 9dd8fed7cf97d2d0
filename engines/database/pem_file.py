"""PEM texts as files, for drivers that read certificates and keys from files only: in memory, never on a disk."""

from __future__ import annotations

import os


class PemFile:
    """A file without a name that holds a text for as long as this object is open. Linux only."""

    def __init__(self, text: str) -> None:
        self._fd = os.memfd_create("pem", os.MFD_CLOEXEC)
        os.fchmod(self._fd, 0o600)  # drivers refuse a private key that others could read
        os.write(self._fd, text.encode())

    @property
    def path(self) -> str:
        """Where the driver finds it."""
        return f"/proc/self/fd/{self._fd}"

    def close(self) -> None:
        """Let the text go."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
