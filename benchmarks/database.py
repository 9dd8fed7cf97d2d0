"""`python -m benchmarks.database`: what the server adds to a database's own time for 100 credentials at once.

Both sides run the same statements over the same number of connections, in turns, against one PostgreSQL of this
machine: the server through a cluster of three nodes, the yardstick straight through the driver.
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

from tests.databases.postgresql import ADMIN, PASSWORD, Postgres, postgresql
from tests.processes.cluster import cluster

REQUESTS: Final = 100
CONNECTIONS: Final = 4  # the default of max_open_connections
ROUNDS: Final = int(os.environ.get("BENCH_ROUNDS", "7"))
GOAL: Final = 1.2
CREATION: Final = (
    "CREATE USER \"{{name}}\" WITH PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; GRANT app TO \"{{name}}\";"
)


async def _straight(pg: Postgres) -> float:
    """Seconds for the statements alone, over connections that are open already."""
    connections = [
        await psycopg.AsyncConnection.connect(
            host="127.0.0.1", port=pg.port, user=ADMIN, password=PASSWORD, dbname="myapp", autocommit=True
        )
        for _ in range(CONNECTIONS)
    ]
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


def main() -> int:
    """Print both times and their ratio. Exit code 0 if the goal is met, else 1."""
    with tempfile.TemporaryDirectory() as folder, postgresql() as pg, cluster(Path(folder)) as three:
        pg.ask("CREATE ROLE app; GRANT SELECT ON ALL TABLES IN SCHEMA public TO app")
        for path, body in (
            ("sys/mounts/database", {"type": "database"}),
            (
                "database/config/pg",
                {
                    "plugin_name": "postgresql-database-plugin",
                    "allowed_roles": "*",
                    "connection_url": pg.template,
                    "username": ADMIN,
                    "password": PASSWORD,
                },
            ),
            ("database/roles/app", {"db_name": "pg", "creation_statements": CREATION}),
        ):
            reply = three.call("POST", path, body)
            assert reply.status == 204, reply.body
        address = three.wait_leader().address
        pairs = [(asyncio.run(_straight(pg)), asyncio.run(_through(address, three.root_token))) for _ in range(ROUNDS)]
    straight_s, through_s = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    ratio = statistics.median(through / straight for straight, through in pairs)
    print(f"{REQUESTS} credentials over {CONNECTIONS} connections, median of {ROUNDS} rounds:")
    print(f"  straight to PostgreSQL {straight_s * 1000:6.0f} ms")
    print(f"  through the server     {through_s * 1000:6.0f} ms, {ratio:.2f} times as long (goal: at most {GOAL})")
    return 0 if ratio <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
