"""engines/database/noted.py: what a mount does to its databases is told for the metrics, with time and outcome."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.common.errors import InvalidRequest
from engines.database.errors import DatabaseRefused
from tests.databases.postgresql import CREATION, Postgres
from tests.engines.database.rig import DatabaseRig, with_postgresql


async def test_calls_are_counted_by_kind_and_outcome(rig: DatabaseRig, pg: Postgres) -> None:
    """The documented names; a refusal counts as failed, and nothing that a client chose is part of a name."""
    calls: list[tuple[str, str, bool]] = []

    def note(what: str, call: str, took_s: float, failed: bool) -> None:
        assert 0 <= took_s < 10
        calls.append((what, call, failed))

    rig.outside = replace(rig.ctx.out, note_call=note)
    await with_postgresql(rig, pg)
    await rig.revoke(await rig.creds("app"))
    await rig.write("roles/app", creation_statements=CREATION + "GRANT nothing TO nobody")
    with pytest.raises(DatabaseRefused):
        await rig.creds("app")
    with pytest.raises(InvalidRequest):
        await with_postgresql(rig, pg, password="wrong")
    await rig.write("reset/pg")
    kinds, names, failures = zip(*calls, strict=True)
    assert set(kinds) == {"postgresql"}
    assert list(zip(names, failures, strict=True)) == [
        ("Initialize", False),
        ("Close", False),
        ("CreateUser", False),
        ("RevokeUser", False),
        ("CreateUser", True),
        ("Initialize", True),
        ("Close", False),
        ("Close", False),
    ]
