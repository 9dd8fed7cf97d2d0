"""docs/configuration.md and the code say the same, both ways."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import pytest

from engines.common.hcl import parse, plain
from node.config.bind import Nested, Stanza
from node.config.listeners import Listener, ListenerInFlight, ListenerProfiling, ListenerTelemetry
from node.config.model import Config
from node.config.read import duration
from node.config.seals import SEAL_KEYS
from node.config.services import ConsulRegistration, KubernetesRegistration, Telemetry, UserLockout
from node.config.storage import InmemStorage, RaftStorage, RetryJoin

TEXT = (Path(__file__).parents[3] / "docs/configuration.md").read_text()
STANZAS: dict[str, type[Stanza]] = {
    "Top level": Config,
    "storage raft": RaftStorage,
    "retry_join": RetryJoin,
    "storage inmem": InmemStorage,
    "listener": Listener,
    "listener telemetry": ListenerTelemetry,
    "listener profiling": ListenerProfiling,
    "listener inflight_requests_logging": ListenerInFlight,
    "user_lockout": UserLockout,
    "telemetry": Telemetry,
    "service_registration consul": ConsulRegistration,
    "service_registration kubernetes": KubernetesRegistration,
}


def sections() -> dict[str, list[list[str]]]:
    """The rows of the table under each heading, as lists of cells."""
    parts = re.split(r"^## (.+)$", TEXT, flags=re.MULTILINE)
    return {
        heading: [
            [cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if "| `" in line
        ]
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def settings_of(stanza: type[Stanza]) -> list[Any]:
    return [each for each in fields(cast(Any, stanza)) if "setting" in each.metadata]


def test_every_section_is_code_and_every_stanza_a_section() -> None:
    """The headings are exactly the stanzas and seals that the code knows."""
    assert set(sections()) == {*STANZAS, "Seals", *(f"seal {type_}" for type_ in SEAL_KEYS)}


@pytest.mark.parametrize("heading", STANZAS)
def test_settings(heading: str) -> None:
    """Keys, variables and defaults of a stanza are those in its table, in the same order."""
    documented = [(row[0].strip("` "), re.findall(r"`([^`]+)`", row[3]), row[2]) for row in sections()[heading]]
    found = settings_of(STANZAS[heading])
    hows = [each.metadata["setting"] for each in found]
    names = [how.key or each.name for how, each in zip(hows, found, strict=True)]
    assert [key for key, _, _ in documented] == names
    for (key, variables, default), how, each in zip(documented, hows, found, strict=True):
        if isinstance(how, Nested):
            assert (variables, default) == ([], "`[]`" if how.many else "`{}`")
            continue
        assert tuple(variables) == how.env, key
        if not default:
            assert each.default is None, key
        else:
            value = parse(f"x = {default.strip('`')}").items[0].value
            is_empty = plain(value) == ""  # not every reader takes "", which is then only the absence of a value
            assert each.default == "" if is_empty else how.read(value) == each.default, key


@pytest.mark.parametrize("type_", SEAL_KEYS)
def test_seals(type_: str) -> None:
    """Keys and variables of a seal are those in its table."""
    rows = sections()[f"seal {type_}"]
    documented = {row[0].strip("` "): tuple(re.findall(r"`([^`]+)`", row[1])) for row in rows}
    assert documented == dict(SEAL_KEYS[type_])


def test_ignored_keys_are_named() -> None:
    """What is passed over in silence is said to be, and nothing else is."""
    passage = TEXT[TEXT.index("passed over in silence") : TEXT.index("## Top level")]
    named = set(re.findall(r"`([a-z_]+)`", passage))
    assert named == set().union(*(stanza.IGNORED for stanza in STANZAS.values()))


def test_durations_are_typed_as_such() -> None:
    """A field in seconds is read as a duration, and says its unit in its name."""
    for stanza in STANZAS.values():
        for each in settings_of(stanza):
            how = each.metadata["setting"]
            if not isinstance(how, Nested) and how.read is duration:
                assert "_s" in each.name, each.name
