"""A server in dev mode for each of the files; the tests of one use paths of their own on it."""

from collections.abc import Iterator
from pathlib import Path

import hvac
import pytest

from tests.processes.cluster import Node, dev_server
from tests.walkthrough.kit import Cli, cli_for, client_for

ROOT_TOKEN = "root"


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with dev_server(tmp_path_factory.mktemp("dev"), ROOT_TOKEN) as node:
        yield node


@pytest.fixture
def sr(dev: Node, tmp_path: Path) -> Cli:
    return cli_for(tmp_path / "home", dev.address, ROOT_TOKEN)


@pytest.fixture
def client(dev: Node) -> hvac.Client:
    return client_for(dev, ROOT_TOKEN)
