"""Servers that many tests share."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.databases.postgresql import Postgres, postgresql

# `make test` means the same thing twice: each property sees the same examples. `make test-slow` looks for new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("new", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session")
def pg() -> Iterator[Postgres]:
    """A PostgreSQL server; each test uses names of its own on it."""
    with postgresql() as server:
        yield server
