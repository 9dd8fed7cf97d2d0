"""Published weaknesses of systems of this kind; none may exist here (by their ids)."""

import asyncio
import contextlib
import ssl
import subprocess
from pathlib import Path

import pytest

from engines.common.errors import InvalidRequest
from engines.database.plugins.mysql.address import address_of
from tests.databases.postgresql import ADMIN, CREATION, PASSWORD, Postgres
from tests.engines.database.rig import DatabaseRig, database_mount, with_postgresql

HOSTILE = 'x"; DROP TABLE orders; --'
HOSTILE_LITERAL = "x'; DROP TABLE orders; --%s"


async def test_cve_2026_39946_a_hostile_schema_name_does_no_harm(rig: DatabaseRig, pg: Postgres) -> None:
    """CVE-2026-39946: the default revocation never puts names of schemas or tables into its statements unquoted."""
    quoted = HOSTILE.replace('"', '""')
    pg.ask(f'CREATE SCHEMA "{quoted}"; CREATE TABLE "{quoted}"."{quoted}" (id int)')
    await rig.write("roles/app", creation_statements=CREATION)
    user = await rig.creds("app")
    pg.ask(f'GRANT ALL ON SCHEMA "{quoted}" TO "{user.username}"')
    pg.ask(f'GRANT ALL ON ALL TABLES IN SCHEMA "{quoted}" TO "{user.username}"')
    await rig.revoke(user)
    assert pg.users() == set()
    assert pg.ask("SELECT count(*) FROM orders") is not None
    pg.ask(f'DROP SCHEMA "{quoted}" CASCADE')


@pytest.mark.parametrize("name", [HOSTILE, HOSTILE_LITERAL, "%", "a\\", "{{password}}", "$$;$$", "Ω"])
async def test_cve_2023_0620_hostile_names_are_only_names(pg: Postgres, name: str) -> None:
    """CVE-2023-0620: whatever a display name or a template brings in, the user is called that, and goes again."""
    async with database_mount() as rig:
        template = f"{{{{ .DisplayName }}}}{name.replace('{{', '').replace('}}', '')}"
        await with_postgresql(rig, pg, username_template=template)
        user = await rig.creds("app")
        assert pg.users() == {user.username}
        assert pg.ask("SELECT 1", user=user.username, password=user.password) == [(1,)]
        await rig.revoke(user)
        assert pg.users() == set()


async def test_cve_2023_0620_the_configured_user_name_is_quoted(rig: DatabaseRig, pg: Postgres) -> None:
    """CVE-2023-0620: what a configuration holds gets into statements as a value: rotate-root of a hostile name."""
    quoted = HOSTILE.replace('"', '""')
    pg.ask(f"CREATE ROLE \"{quoted}\" SUPERUSER LOGIN PASSWORD 'p%2F''@:/'")
    await rig.write("config/pg", username=HOSTILE, password="p%2F'@:/")
    await rig.write("rotate-root/pg")
    user = await rig.creds("app")
    assert pg.ask("SELECT count(*) FROM orders") is not None
    await rig.revoke(user)


async def test_cve_2021_27400_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    """CVE-2021-27400: with verification asked for, by URL or by naming an authority, a self-signed server is refused;
    with its own certificate as the authority the client goes on to log in."""
    own, other = (_self_signed(tmp_path / name) for name in ("own", "other"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own / "crt", own / "key")
    logins = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # PostgreSQL's SSLRequest, then TLS. The tests' own server is built without TLS.
        assert await reader.readexactly(8) == b"\0\0\0\x08\x04\xd2\x16/"
        writer.write(b"S")
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await writer.start_tls(context)
            logins.append(await reader.readexactly(8))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"postgresql://{{{{username}}}}:{{{{password}}}}@localhost:{server.sockets[0].getsockname()[1]}/myapp"
    config = {"plugin_name": "postgresql-database-plugin", "username": ADMIN, "password": PASSWORD}
    async with server, database_mount() as rig:
        for refused in (
            {"connection_url": f"{url}?sslmode=verify-full&sslrootcert=system"},
            {"connection_url": url, "tls_ca": (other / "crt").read_text()},
        ):
            with pytest.raises(InvalidRequest, match="certificate"):
                await rig.write("config/pg", **config, **refused)
        assert not logins
        with pytest.raises(InvalidRequest, match="SSL connection has been closed"):
            await rig.write("config/pg", **config, connection_url=url, tls_ca=(own / "crt").read_text())
        assert logins


@pytest.mark.parametrize("kind", ["redis", "mongodb"])
async def test_cve_2021_27400_redis_and_mongodb_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """CVE-2021-27400: nothing is sent to a server whose certificate the named authority has not signed."""
    monkeypatch.setattr(f"engines.database.plugins.{kind}.database.OPERATION_S_MAX", 1.0)
    own, other = (_self_signed(tmp_path / name) for name in ("own", "other"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own / "crt", own / "key")
    said = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            said.append(await reader.read(8))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    url = f"mongodb://{{{{username}}}}:{{{{password}}}}@localhost:{port}/admin?directConnection=true"
    ways = {
        "redis": ("ca_cert", {"host": "localhost", "port": port, "tls": True}),
        "mongodb": ("tls_ca", {"connection_url": url}),
    }
    authority, where = ways[kind]
    config = {"plugin_name": f"{kind}-database-plugin", "username": ADMIN, "password": PASSWORD, **where}
    async with server, database_mount() as rig:
        with pytest.raises(InvalidRequest):
            await rig.write("config/db", **config, **{authority: (other / "crt").read_text()})
        assert not any(said)
        with pytest.raises(InvalidRequest):
            await rig.write("config/db", **config, **{authority: (own / "crt").read_text()})
        assert any(said)


def _self_signed(folder: Path) -> Path:
    folder.mkdir()
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(folder / "key"), "-out", str(folder / "crt")),
        ],
        check=True,
        capture_output=True,
    )
    return folder


def test_cve_2021_27400_mysql_checks_certificates_unless_told_not_to() -> None:
    """CVE-2021-27400: tls=true verifies; only skip-verify, by name, does not."""
    base = {"username": "u", "password": "p"}
    url = "{{username}}:{{password}}@tcp(h:3306)/db"
    assert "ssl" not in address_of({**base, "connection_url": url}).arguments
    checked = address_of({**base, "connection_url": f"{url}?tls=true"}).arguments["ssl"]
    assert checked.check_hostname and checked.verify_mode.name == "CERT_REQUIRED"
    loose = address_of({**base, "connection_url": f"{url}?tls=skip-verify"}).arguments["ssl"]
    assert not loose.check_hostname and loose.verify_mode.name == "CERT_NONE"


@pytest.mark.parametrize("statements", ["", [""], " ; ", "[]"])
async def test_note_1_0_1_an_empty_revocation_statement_means_the_default(
    rig: DatabaseRig, pg: Postgres, statements: object
) -> None:
    """The 1.0.1 note: an empty custom statement was counted as a success, and the user stayed."""
    await rig.write("roles/app", revocation_statements=statements)
    user = await rig.creds("app")
    await rig.revoke(user)
    assert pg.users() == set()


async def test_cve_2023_5077_a_change_keeps_what_it_does_not_name(rig: DatabaseRig, pg: Postgres) -> None:
    """CVE-2022-25244, CVE-2023-5077, CVE-2020-12757: no secret in a read, no setting lost, the role's lifetime kept."""
    await rig.write("config/pg", allowed_roles="app")
    shown = await rig.read("config/pg")
    assert PASSWORD not in str(shown) and shown["connection_details"]["username"] == ADMIN
    plan = await rig.creds_plan("app")
    assert plan.answer.lease is not None and plan.answer.lease.ttl_s == 3600
