"""Peer lists and changes as they are stored and replicated."""

import pytest

from cluster.peers import Peer, PeerChange, decode_change, decode_peers, encode_change, encode_peers

PEERS = [Peer("n1", "a:1"), Peer("n2", "b:2", voter=False)]


def test_what_was_encoded_comes_back() -> None:
    """Lists and changes survive their bytes; no bytes are no peers."""
    assert decode_peers(encode_peers(PEERS)) == PEERS
    assert decode_peers(b"") == []
    change = PeerChange("rem", "n2", "b:2")
    assert decode_change(encode_change(change)) == change


@pytest.mark.parametrize(
    "data", [b"\x02\x90", b"\x01\xc1", b"\x01\x91\x01", b"\x01\x91\x93\xa1a\xa1b\xa1c", b"\x01\xa1a"]
)
def test_anything_else_is_refused(data: bytes) -> None:
    """Another version, broken msgpack, and other shapes are errors, not guesses."""
    with pytest.raises(ValueError, match=r"version|msgpack|shape|list"):
        decode_peers(data)
    with pytest.raises(ValueError, match=r"version|msgpack|shape|list"):
        decode_change(data)


def test_changes_are_idempotent() -> None:
    """Adding twice leaves one, with the newer address; removing who is not there changes nothing."""
    added = PeerChange("add", "n2", "c:3").applied_to(PEERS)
    assert added == [PEERS[0], Peer("n2", "c:3")]
    assert PeerChange("rem", "n9", "").applied_to(PEERS) == PEERS
