"""Servers that many tests share."""

from collections.abc import Iterator

import pytest

from tests.databases.postgresql import Postgres, postgresql


@pytest.fixture(scope="session")
def pg() -> Iterator[Postgres]:
    """A PostgreSQL server; each test uses names of its own on it."""
    with postgresql() as server:
        yield server
