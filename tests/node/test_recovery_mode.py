"""Recovery mode's token. What it opens, and the way there, is in tests/processes/test_recovery_mode.py."""

from pathlib import Path

import pytest

from engines.common.crypto import equal, sha256
from engines.common.errors import PermissionDenied
from node import recovery_mode
from node.errors import Sealed
from node.recovery_mode import RecoveryNode
from node.telemetry.meters import NodeMeters
from node.view import OpenedStore
from tests.node.cores import raft_core


async def test_cve_2026_63132_the_recovery_token_is_compared_in_constant_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2026-63132: by its digest, with the one comparison that tells nothing of where two values differ."""
    compared = []

    def noting(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return equal(left, right)

    monkeypatch.setattr(recovery_mode, "equal", noting)
    async with raft_core(tmp_path / "n1", "n1") as core:
        node = RecoveryNode(core)
        with pytest.raises(Sealed):
            node.require_token("hvr.right")
        node.opened = OpenedStore(core.storage.store, core.barrier, NodeMeters())
        node._token_digest = sha256(b"hvr.right")
        for wrong in ("", "hvr.righ", "hvr.rightx", "hvr.wrong", "\ud800"):
            with pytest.raises(PermissionDenied):
                node.require_token(wrong)
        assert node.require_token("hvr.right") is node.opened
        assert len(compared) == 6 and all(len(left) == len(right) == 32 for left, right in compared)
        assert "hvr" not in repr(vars(node))
