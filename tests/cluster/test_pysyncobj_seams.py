"""What we use of PySyncObj exists, in exactly the version we read (docs/decisions/0001)."""

import pickle
import re
from pathlib import Path

import pysyncobj.syncobj as upstream
import pytest
from pysyncobj.version import VERSION as INSTALLED

from cluster import pysyncobj_seams as seams
from cluster.peers import PeerChange, decode_change
from tests.cluster.simulation import Cluster, scenario

CLUSTER = Path(seams.__file__).parent


def test_the_version_is_the_one_that_was_read() -> None:
    """Another version must be read anew before it is used."""
    assert INSTALLED == seams.VERSION


@scenario
async def test_every_name_exists(cluster: Cluster) -> None:
    """Each private name we use is there, and each name we use is in the list."""
    node = await cluster.form(1)
    used = set(re.findall(r"\._raft\.(_\w+)|self\.(_SyncObj__\w+)", Path(seams.__file__).read_text()))
    assert {name for pair in used for name in pair if name} <= set(seams.USED_NAMES)
    for name in seams.USED_NAMES:
        assert hasattr(node.engine._raft, name), name
    for name in seams.REPLACED_MODULE_NAMES:
        assert hasattr(upstream, name), name


def test_private_names_stay_behind_the_door() -> None:
    """No other file of the cluster names anything private of PySyncObj."""
    for file in CLUSTER.glob("*.py"):
        if file.name != "pysyncobj_seams.py":
            assert "_SyncObj" not in file.read_text(), file.name


def test_nothing_is_unpickled() -> None:
    """What stands in for pickle admits membership changes in our format, and refuses a pickle."""
    with pytest.raises(ValueError, match="version"):
        upstream.pickle.loads(pickle.dumps(["add", "n9", "n9:1"]))
    with pytest.raises(ValueError, match="unknown kind"):
        seams.require_command(b"\x03" + pickle.dumps(1))
    change = PeerChange("add", "n9", "n9:1")
    loaded = upstream.pickle.loads(upstream.pickle.dumps(["add", "n9", upstream.Node("n9", address="n9:1")]))
    assert (loaded[0], loaded[1], loaded[2].address) == (change.kind, change.node_id, change.address)
    with pytest.raises(ValueError, match="version"):
        decode_change(b"")
