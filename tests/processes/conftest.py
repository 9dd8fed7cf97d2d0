"""What several modules of process tests share."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes.cluster import Cluster, Node, cluster
from tests.processes.dying_server import mortal
from tests.processes.small_disk import mounted


@dataclass(frozen=True)
class SnapshotNodes:
    """Three nodes with some megabytes of secrets, which die where they are told to.

    `disk` is that of n1 alone: 260 MB, of which snapshots leave 128 MiB free; None where it could not be mounted.
    """

    cluster: Cluster
    disk: Path | None


@pytest.fixture(scope="package")
def snapshot_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnapshotNodes]:
    """They run from the first test about snapshots to the last; each test leaves them whole."""
    folder = tmp_path_factory.mktemp("snapshots")
    with mounted(folder / "disk", 260) as disk:

        def prepare(node: Node) -> None:
            mortal(node)
            if node.name == "n1" and disk is not None:
                node.config = node.config.replace(f'path = "{node.data}"', f'path = "{disk / "n1"}"')
                node.data_folder = disk / "n1"

        with cluster(folder, prepare=prepare) as three:
            leader = three.wait_leader()
            for number in range(40):
                body = {"data": {"x": "x" * 100_000}}
                assert leader.call("POST", f"secret/data/fill/{number}", body, token=three.root_token).status == 200
            yield SnapshotNodes(three, disk)
            for node in three.nodes:
                assert "Traceback" not in node.log, node.log[-4000:]
