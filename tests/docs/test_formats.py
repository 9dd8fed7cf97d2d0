"""docs/formats.md says what the code writes, where a byte can be looked at."""

from pathlib import Path
from random import Random

from cluster.entry import encode
from cluster.journal_format import MAGIC
from cluster.keys import SHORT_BYTES
from cluster.snapshot import _MAGIC as SNAPSHOT_MAGIC
from cluster.store import Check, Delete, Put
from cluster.vote import _MAGIC as VOTE_MAGIC
from engines.common.crypto import Aead
from node.barrier import Barrier, seal_keyring
from node.keyring import Keyring
from node.root_key import RECOVERY_BACKUP_KEY, TOLD_KEY, UNSEAL_BACKUP_KEY
from node.seal import envelope
from node.seal_state import (
    AUTHORITY_KEY,
    CLUSTER_KEY,
    JOIN_PURPOSE,
    KEYRING_KEY,
    RECOVERY_KEY_KEY,
    ROOT_KEY_KEY,
    SEAL_CONFIG_KEY,
)
from node.shamir import split

TEXT = (Path(__file__).parents[2] / "docs/formats.md").read_text()
RANDOM = Random(1).randbytes


def test_its_names_are_those_of_the_code() -> None:
    """Magic numbers, paths, purposes and the bound of a short key are on the page as they are in the code."""
    for magic in (MAGIC, SNAPSHOT_MAGIC, VOTE_MAGIC):
        assert f'magic "{magic.decode()}"' in TEXT
    own = (TOLD_KEY, UNSEAL_BACKUP_KEY, RECOVERY_BACKUP_KEY, RECOVERY_KEY_KEY)
    for path in (SEAL_CONFIG_KEY, ROOT_KEY_KEY, KEYRING_KEY, AUTHORITY_KEY, CLUSTER_KEY, *own):
        assert f"`{path}`" in TEXT
    assert f"`{JOIN_PURPOSE.decode()}`" in TEXT
    assert f"up to {SHORT_BYTES} bytes" in TEXT


def test_a_barrier_entry_opens_by_the_page_alone() -> None:
    """Section 4: header, nonce, ciphertext; associated data are header and path."""
    key = RANDOM(32)
    barrier = Barrier(RANDOM)
    barrier.unsealed(Keyring.created(key, 0))
    entry = barrier.seal("a/b", b"secret")
    assert entry[:5] == b"\x00\x00\x00\x01\x01"
    assert Aead(key).open(entry[5:17], entry[17:], entry[:5] + b"a/b") == b"secret"


def test_keyring_wrapped_key_and_share_have_their_lengths() -> None:
    """Sections 5 to 7: version, nonce and tag are where the page says."""
    keyring = Keyring.created(RANDOM(32), 0)
    sealed = seal_keyring(RANDOM(32), keyring, RANDOM)
    assert sealed[:1] == b"\x01" and len(sealed) == 1 + 12 + len(keyring.to_bytes()) + 16
    wrapped = envelope.wrap(Aead(RANDOM(32)), b"shamir", RANDOM(32), RANDOM)
    assert wrapped[:8] == b"\x01\x06shamir" and len(wrapped) == 8 + 12 + 32 + 16
    assert [(len(share), share[32]) for share in split(RANDOM(32), 3, 2, RANDOM)] == [(33, 1), (33, 2), (33, 3)]


def test_a_command_is_a_list_of_sets() -> None:
    """Section 1: version, then msgpack of [0, key, value, seen], [1, key, seen], [2, key, seen]."""
    command = encode([[Put("a", b"v", 7), Delete("b"), Check("c", 0)]])
    assert command == b"\x01\x91\x93" + b"\x94\x00\xa1a\xc4\x01v\x07" + b"\x93\x01\xa1b\xc0" + b"\x93\x02\xa1c\x00"


def test_a_wrapped_root_key_opens_by_the_page_alone() -> None:
    """Section 6: in both forms everything before the nonce is associated data, behind the purpose."""
    key, root_key = RANDOM(32), b"root key"
    own = envelope.wrap(Aead(key), b"2026", root_key, RANDOM)
    assert own[:6] == b"\x01\x042026"
    assert Aead(key).open(own[6:18], own[18:], b"strongroom/seal" + own[:6]) == root_key
    named = envelope.DataKey(key_id="arn", wrapped=b"wrapped")
    under = envelope.wrap_under_data_key(key, named, root_key, RANDOM)
    assert under[:15] == b"\x02\x00\x03arn\x00\x07wrapped"
    assert Aead(key).open(under[15:27], under[27:], b"strongroom/seal" + under[:15]) == root_key
