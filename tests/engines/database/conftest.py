"""A mount for each test, with the connection "pg" and the role "app"."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.databases.postgresql import Postgres
from tests.engines.database.rig import DatabaseRig, database_mount, with_postgresql


@pytest.fixture
async def rig(pg: Postgres) -> AsyncIterator[DatabaseRig]:
    async with database_mount() as made:
        await with_postgresql(made, pg)
        yield made


@pytest.fixture(autouse=True)
def no_user_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test starts without users in PostgreSQL."""
    yield
    if "pg" in request.fixturenames:
        server: Postgres = request.getfixturevalue("pg")
        for user in server.users():
            name = user.replace('"', '""')
            server.ask(f'REASSIGN OWNED BY "{name}" TO admin; DROP OWNED BY "{name}"; DROP ROLE "{name}"')
