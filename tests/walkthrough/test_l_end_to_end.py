"""Walkthrough L: an application logs in by AppRole, gets database credentials and nothing else, and loses both."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.databases.postgresql import ADMIN, CREATION, PASSWORD, Postgres
from tests.processes.cluster import Cluster, cluster, wait_until

pytestmark = pytest.mark.processes

CREDS = "database/creds/myapp-role"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("l")) as running:
        yield running


def test_end_to_end(three: Cluster, pg: Postgres, tmp_path: Path) -> None:
    """Login, credentials, 403 elsewhere, the leader dies, the token is revoked, the user is gone."""

    def put(path: str, **body: object) -> None:
        reply = three.call("POST", path, body)
        assert reply.status in (200, 204), reply.body

    put("sys/mounts/database", type="database")
    put(
        "database/config/myapp-pg",
        plugin_name="postgresql-database-plugin",
        allowed_roles="myapp-role",
        connection_url=pg.template,
        username=ADMIN,
        password=PASSWORD,
    )
    put("database/roles/myapp-role", db_name="myapp-pg", creation_statements=CREATION, default_ttl="1h")
    put("sys/policies/acl/app", policy=f'path "{CREDS}" {{ capabilities = ["read"] }}')
    put("sys/auth/approle", type="approle")
    put("auth/approle/role/my-app", token_policies="app", token_ttl="1h")
    role_id = three.call("GET", "auth/approle/role/my-app/role-id").json["data"]["role_id"]
    secret_id = three.call("POST", "auth/approle/role/my-app/secret-id").json["data"]["secret_id"]

    node = three.wait_leader()
    login = node.call("POST", "auth/approle/login", {"role_id": role_id, "secret_id": secret_id}).json
    token = login["auth"]["client_token"]
    creds = node.call("GET", CREDS, token=token).json
    user, password = creds["data"]["username"], creds["data"]["password"]
    assert user.startswith("v-approle-myapp-ro-") and creds["lease_id"].startswith(f"{CREDS}/")
    assert pg.ask("SELECT current_user", user=user, password=password) == [(user,)]
    for method, path in (
        ("GET", "database/config/myapp-pg"),
        ("GET", "database/roles/myapp-role"),
        ("GET", "database/creds/other"),
        ("POST", "database/rotate-root/myapp-pg"),
        ("GET", "secret/data/x"),
        ("LIST", "sys/leases/lookup/database/creds/myapp-role"),
    ):
        assert node.call(method, path, token=token).status == 403, path

    node.kill()
    three.wait_leader()
    assert pg.ask("SELECT 1", user=user, password=password) == [(1,)]
    assert three.call("POST", "auth/token/revoke", {"token": token}).status == 204
    wait_until(lambda: user not in pg.users(), "revoking the token has revoked its credentials")
    with pytest.raises(psycopg.OperationalError):
        pg.ask("SELECT 1", user=user, password=password)
    assert three.call("GET", CREDS, token=token).status == 403
