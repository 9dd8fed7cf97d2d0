"""`make demo-database`: a cluster of three nodes and a PostgreSQL; credentials issued, used, expired and gone."""

import tempfile
import time
from pathlib import Path

from tests.databases.postgresql import ADMIN, CREATION, PASSWORD, Postgres, postgresql
from tests.processes.cluster import Cluster, cluster, wait_until

ROLE = "database/creds/myapp-role"
LIFETIME_S = 8


def say(text: str) -> None:
    print(f"\n==> {text}", flush=True)


def show(three: Cluster, method: str, path: str, body: object = None) -> dict[str, object]:
    """One request to the active node, printed."""
    node = three.wait_leader()
    reply = node.call(method, path, body, token=three.root_token)
    print(f"    {node.name}: {method} /v1/{path} -> {reply.status}")
    if reply.status >= 300:
        raise SystemExit(f"    {reply.body.decode()}")
    answer: dict[str, object] = reply.json or {}
    return answer


def users(pg: Postgres) -> str:
    """Who is in pg_roles."""
    return ", ".join(sorted(pg.users())) or "nobody"


def run(three: Cluster, pg: Postgres) -> None:
    """The steps."""
    say("Configure the connection and a role whose users live for 8 seconds")
    show(three, "POST", "sys/mounts/database", {"type": "database"})
    config = {"plugin_name": "postgresql-database-plugin", "allowed_roles": "myapp-role"}
    login = {"connection_url": pg.template, "username": ADMIN, "password": PASSWORD}
    show(three, "POST", "database/config/myapp-pg", {**config, **login})
    role = {"db_name": "myapp-pg", "creation_statements": CREATION, "default_ttl": LIFETIME_S, "max_ttl": "1h"}
    show(three, "POST", "database/roles/myapp-role", role)

    say("Ask for credentials, and use them")
    began = time.monotonic()
    reply = three.call("GET", ROLE).json
    name, password = reply["data"]["username"], reply["data"]["password"]
    print(f"    lease {reply['lease_id']}, {reply['lease_duration']} s")
    pg.ask("INSERT INTO orders VALUES (1, 'a book')", user=name, password=password)
    rows = pg.ask("SELECT current_user, item FROM orders", user=name, password=password)
    print(f"    PostgreSQL says: {rows[0][0]} reads {rows[0][1]!r}")
    print(f"    users in pg_roles: {users(pg)}")

    say("Kill the leader with SIGKILL, and wait: nobody asks for anything")
    leader = three.wait_leader()
    leader.kill()
    print(f"    {leader.name} is gone; {three.wait_leader().name} leads")
    wait_until(lambda: not pg.users(), "the user is gone")
    print(f"    {time.monotonic() - began:.1f} s after the credentials were issued, users in pg_roles: {users(pg)}")

    say("Rotate the administrator's password: from now on only the server knows it")
    pg.ask("CREATE USER keeper SUPERUSER PASSWORD 'known to many'")
    show(three, "POST", "database/config/myapp-pg", {"username": "keeper", "password": "known to many"})
    show(three, "POST", "database/rotate-root/myapp-pg")
    name = three.call("GET", ROLE).json["data"]["username"]
    print(f"    and it still makes users: {name}")


def main() -> None:
    """Everything is in a folder that goes away."""
    say("Start a PostgreSQL and three nodes")
    with tempfile.TemporaryDirectory() as folder, postgresql() as pg, cluster(Path(folder)) as three:
        print(f"    PostgreSQL on port {pg.port}, nodes on {', '.join(node.address for node in three.nodes)}")
        run(three, pg)
    say("Done; everything is stopped and removed")


if __name__ == "__main__":
    main()
