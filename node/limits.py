"""The bound of everything that can grow, each with the reason for its number."""

from typing import Final

KEY_SHARES_MAX: Final = 255  # x-coordinates are the non-zero elements of GF(2^8)
SHARE_CHARS_MAX: Final = 256  # text of a key share: 66 characters as hexadecimal, the rest is room for blanks
BARRIER_ENCRYPTIONS_MAX: Final = 3_865_470_566  # 90 % of 2^32, after which random nonces could repeat (SP 800-38D, 8.3)
BARRIER_ENCRYPTIONS_MIN: Final = 1_000_000  # below this the keyring would do little else than rotate
BARRIER_ROTATION_S_MIN: Final = 24 * 3600  # each rotation adds a key for ever; the documented minimum
CONFIG_FILE_BYTES_MAX: Final = 4 * 1024 * 1024  # a configuration is a few kilobytes; guards against a wrong path
SEAL_KEY_FILE_BYTES_MAX: Final = 4096  # 32 bytes, as text at most 66; guards against a wrong path
SNAPSHOT_BYTES_MAX: Final = 8 * 1024**3  # an archive, and the state in it: on disk, never in memory; beyond any store
SEAL_BLOB_BYTES_MAX: Final = 64 * 1024  # a wrapped root key is under a hundred bytes here, a few hundred in a KMS
PGP_KEY_BYTES_MAX: Final = 32 * 1024  # a key of 4096 bits takes 5,000; one with many signatures is exported without
CEREMONY_BODY_BYTES_MAX: Final = 1024 * 1024  # of sys/init, rekeys and generate-root: a PGP key for each of 255 shares
TLS_FILE_BYTES_MAX: Final = 4 * 1024 * 1024  # a chain is a few kilobytes, a bundle of all public CAs 220 KB
