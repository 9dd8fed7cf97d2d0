"""engines/database/credential.py: private keys as credentials. PostgreSQL can keep the public half as a comment."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from engines.common.errors import InvalidRequest
from tests.databases.postgresql import Postgres
from tests.engines.database.rig import DatabaseRig

CREATION = 'CREATE USER "{{name}}"; COMMENT ON ROLE "{{name}}" IS \'{{public_key}}\''
COMMENT = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = "


def _public_half(private: str) -> str:
    key = load_pem_private_key(private.encode(), None)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


async def test_a_key_is_made_and_the_database_gets_its_public_half(rig: DatabaseRig, pg: Postgres) -> None:
    """The answer has the private key under the name of its type, and no password."""
    await rig.write(
        "roles/keyed",
        db_name="pg",
        creation_statements=CREATION,
        credential_type="rsa_private_key",
        credential_config={"key_bits": "3072", "format": "pkcs8"},
    )
    shown = await rig.read("roles/keyed")
    assert shown["credential_type"] == "rsa_private_key" and shown["credential_config"]["key_bits"] == "3072"
    plan = await rig.creds_plan("keyed")
    data: Any = plan.answer.data
    assert set(data) == {"username", "rsa_private_key"}
    key = load_pem_private_key(data["rsa_private_key"].encode(), None)
    assert getattr(key, "key_size") == 3072  # noqa: B009 - of the kind of key that it is
    assert pg.ask(COMMENT + f"'{data['username']}'") == [(_public_half(data["rsa_private_key"]),)]


async def test_a_static_role_rotates_its_key(rig: DatabaseRig, pg: Postgres) -> None:
    """By its rotation statements, which must have a place for the public half."""
    pg.ask("CREATE USER worker")
    role = {"db_name": "pg", "username": "worker", "rotation_period": 60, "credential_type": "rsa_private_key"}
    with pytest.raises(InvalidRequest, match="rotation_statements must hold"):
        await rig.write("static-roles/w", **role)
    await rig.write("static-roles/w", **role, rotation_statements="COMMENT ON ROLE \"{{name}}\" IS '{{public_key}}'")
    first = (await rig.read("static-creds/w"))["rsa_private_key"]
    await rig.write("rotate-role/w")
    creds = await rig.read("static-creds/w")
    assert "password" not in creds and creds["rsa_private_key"] != first
    assert pg.ask(COMMENT + "'worker'") == [(_public_half(creds["rsa_private_key"]),)]
    with pytest.raises(InvalidRequest, match="cannot update credential_type"):
        await rig.write("static-roles/w", credential_type="password")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"credential_type": "rsa_private_key", "creation_statements": "CREATE USER x"}, "must hold {{public_key}}"),
        # Left as it is, the placeholder would be a password that everybody knows.
        (
            {"credential_type": "rsa_private_key", "creation_statements": CREATION + "; PASSWORD '{{password}}'"},
            "may not hold {{password}}",
        ),
        ({"creation_statements": CREATION}, "may not hold {{public_key}}"),
        ({"credential_type": "rsa_private_key", "credential_config": {"key_bits": "1024"}}, "key_bits"),
        ({"credential_type": "rsa_private_key", "credential_config": {"format": "pkcs1"}}, "format"),
        ({"credential_type": "rsa_private_key", "credential_config": {"password_policy": "p"}}, "password_policy"),
        ({"credential_config": {"key_bits": "2048"}}, "key_bits"),
        ({"credential_type": "client_certificate"}, "unsupported credential_type"),
    ],
)
async def test_what_cannot_be(rig: DatabaseRig, body: dict[str, object], says: str) -> None:
    """Refused when the role is written, not when somebody needs it."""
    with pytest.raises(InvalidRequest) as caught:
        await rig.write("roles/keyed", db_name="pg", **body)
    assert says in str(caught.value)
