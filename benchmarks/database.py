"""What the server adds to a database's own time: for 100 credentials at once, and for revoking a prefix of leases.

Both sides run the same statements over the same number of connections against one PostgreSQL of this machine: the
server through a cluster of three nodes, the yardstick straight through the driver, a transaction for each user.
PostgreSQL has a processor to itself.
`python -m benchmarks.database` measures this alone; BENCH_DATABASE_LEASES says how many leases are revoked.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import aiohttp
import psycopg

from benchmarks.rows import Row, print_rows
from tests.databases.postgresql import ADMIN, PASSWORD, Postgres, postgresql
from tests.processes.cluster import Cluster, cluster

REQUESTS: Final = 100
CONNECTIONS: Final = 4  # the default of max_open_connections
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "7"))
BARE: Final = 'CREATE USER "{{name}}"; GRANT app TO "{{name}}"'
LEASES: Final = int(os.environ.get("BENCH_DATABASE_LEASES", "10000"))
GOAL: Final = 1.2
CREATION: Final = (
    "CREATE USER \"{{name}}\" WITH PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT app TO \"{{name}}\";"
)


async def _connections(pg: Postgres) -> list[psycopg.AsyncConnection[tuple[object, ...]]]:
    return [
        await psycopg.AsyncConnection.connect(
            host="127.0.0.1", port=pg.port, user=ADMIN, password=PASSWORD, dbname="myapp", autocommit=True
        )
        for _ in range(CONNECTIONS)
    ]


async def _straight(pg: Postgres) -> float:
    """Seconds for the statements alone, over connections that are open already."""
    connections = await _connections(pg)
    names = iter([f"d-{time.time_ns()}-{i}" for i in range(REQUESTS)])

    async def work(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        for name in names:
            text = CREATION.replace("{{name}}", name).replace("{{password}}", "abcDEF-1234567890123")
            await connection.execute(text.replace("{{expiration}}", "2099-01-01 00:00:00+0000").encode())

    began = time.perf_counter()
    await asyncio.gather(*map(work, connections))
    took_s = time.perf_counter() - began
    for connection in connections:
        await connection.close()
    return took_s


async def _through(address: str, token: str) -> float:
    """Seconds for as many requests at once."""
    connector = aiohttp.TCPConnector(limit=REQUESTS)
    async with aiohttp.ClientSession(headers={"X-Vault-Token": token}, connector=connector) as session:

        async def one() -> None:
            async with session.get(f"{address}/v1/database/creds/app") as answer:
                await answer.read()
                assert answer.status == 200

        await asyncio.gather(*(one() for _ in range(CONNECTIONS * 2)))
        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(REQUESTS)))
        return time.perf_counter() - began


def _configure(pg: Postgres, three: Cluster) -> None:
    pg.ask("CREATE ROLE app; GRANT SELECT ON ALL TABLES IN SCHEMA public TO app")
    login = {"connection_url": pg.template, "username": ADMIN, "password": PASSWORD}
    for path, body in (
        ("sys/mounts/database", {"type": "database"}),
        ("database/config/pg", {"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", **login}),
        ("database/roles/app", {"db_name": "pg", "creation_statements": CREATION}),
        # Without a password a user costs the database a tenth, and is dropped like any other.
        (
            "database/roles/bare",
            {"db_name": "pg", "creation_statements": 'CREATE USER "{{name}}"; GRANT app TO "{{name}}"'},
        ),
    ):
        reply = three.call("POST", path, body)
        assert reply.status == 204, reply.body


def _credentials(pg: Postgres, three: Cluster) -> Row:
    address = three.wait_leader().address
    pairs = [(asyncio.run(_straight(pg)), asyncio.run(_through(address, three.root_token))) for _ in range(ROUNDS)]
    straight_s, through_s = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    return Row(
        f"{REQUESTS} credentials at once / straight to PostgreSQL",
        statistics.median(through / straight for straight, through in pairs),
        GOAL,
        at_most=True,
        note=f"{through_s * 1000:.0f} ms and {straight_s * 1000:.0f} ms",
    )


def _revocation(pg: Postgres, three: Cluster) -> Row:
    leader = three.wait_leader()
    pg.ask(
        f"DO $$ BEGIN FOR i IN 1..{LEASES} LOOP EXECUTE format('CREATE USER %I', 's-' || i);"
        " EXECUTE format('GRANT app TO %I', 's-' || i); END LOOP; END $$"
    )
    straight_s = asyncio.run(_drop_straight(pg))
    asyncio.run(_issue(leader.address, three.root_token))
    assert len(pg.users()) >= LEASES
    began = time.perf_counter()
    reply = leader.call(
        "PUT", "sys/leases/revoke-prefix/database/creds/bare", {"sync": True}, token=three.root_token, timeout_s=900
    )
    took_s = time.perf_counter() - began
    assert reply.status == 204, reply.body
    return Row(
        f"revoking {LEASES:,} leases by prefix / straight to PostgreSQL",
        took_s / straight_s,
        GOAL,
        at_most=True,
        note=f"{took_s:.1f} s and {straight_s:.1f} s",
    )


async def _drop_straight(pg: Postgres) -> float:
    connections = await _connections(pg)
    names = iter([f"s-{i + 1}" for i in range(LEASES)])

    async def work(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        for name in names:
            text = (
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'"
                f';REASSIGN OWNED BY "{name}" TO CURRENT_USER;DROP OWNED BY "{name}";DROP ROLE "{name}"'
            )
            await connection.execute(text.encode())

    began = time.perf_counter()
    await asyncio.gather(*map(work, connections))
    took_s = time.perf_counter() - began
    for connection in connections:
        await connection.close()
    return took_s


async def _issue(address: str, token: str) -> None:
    numbers = iter(range(LEASES))
    async with aiohttp.ClientSession(headers={"X-Vault-Token": token}) as session:

        async def client() -> None:
            for _ in numbers:
                async with session.get(f"{address}/v1/database/creds/bare") as answer:
                    await answer.read()
                    assert answer.status == 200

        await asyncio.gather(*(client() for _ in range(64)))


def _set_apart(pg: Postgres, three: Cluster) -> None:
    """Give PostgreSQL a processor to itself, on both sides of the comparison, as a database has a machine to itself.

    It computes 4096 rounds of a hash for each password, and whoever shares its processors takes that time away from it.
    """
    own, *others = sorted(os.sched_getaffinity(0))
    if not others:
        return
    assert pg.process is not None
    for process, processors in ((pg.process, {own}), *((node.process, set(others)) for node in three.nodes)):
        assert process is not None
        tasks = Path(f"/proc/{process.pid}/task")
        children = (tasks / str(process.pid) / "children").read_text().split()
        for thread in (*(task.name for task in tasks.iterdir()), *children):
            os.sched_setaffinity(int(thread), processors)
    os.sched_setaffinity(0, set(others))


def database_rows(folder: Path) -> list[Row]:
    """Measure three nodes and a PostgreSQL, all of this machine."""
    all_processors = os.sched_getaffinity(0)
    try:
        return _rows(folder)
    finally:
        os.sched_setaffinity(0, all_processors)


def _rows(folder: Path) -> list[Row]:
    with postgresql() as pg, cluster(folder) as three:
        _set_apart(pg, three)
        _configure(pg, three)
        return [_credentials(pg, three), _revocation(pg, three)]


def main() -> int:
    """Print the rows; exit code 0 if every goal is met."""
    with tempfile.TemporaryDirectory() as folder:
        rows = database_rows(Path(folder))
    print_rows(rows)
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
