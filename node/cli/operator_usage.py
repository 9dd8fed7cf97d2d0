"""operator usage: how many clients there were."""

import re
from typing import Final

from node.cli import flags
from node.cli.command import Call, Command
from node.cli.errors import CliError, doing
from node.cli.secret import Data

_COUNTS: Final = (
    ("Distinct entities", ("entity_clients", "distinct_entities")),
    ("Non-Entity tokens", ("non_entity_clients", "non_entity_tokens")),
    ("Secret syncs", ("secret_syncs",)),
    ("ACME clients", ("acme_clients",)),
    ("Active clients", ("clients",)),
)


def _usage(call: Call) -> None:
    query = {
        name.replace("-", "_"): _moment(call.flags.text(name))
        for name in ("start-time", "end-time")
        if call.flags.given(name)
    }
    with doing("Error retrieving client counts"):
        secret = call.client.read("sys/internal/counters/activity", query)
    if secret is None or not secret.data:
        raise CliError("No data is available for the given time range.", 2)
    if not call.printer.is_table:
        call.printer.secret(secret)
        return
    call.printer.warnings(secret.warnings)
    call.printer.line(f"Period start: {secret.data.get('start_time', '')}")
    call.printer.line(f"Period end: {secret.data.get('end_time', '')}\n")
    rows = [
        [str(one.get("namespace_path") or "[root]"), *_counts(one.get("counts") or {})]
        for one in secret.data.get("by_namespace") or []
    ]
    rows.append(["Total", *_counts(secret.data.get("total") or {})])
    call.printer.rows(("Namespace path", *(name for name, _ in _COUNTS)), rows, None)


def _counts(counts: Data) -> list[str]:
    return [str(next((counts[member] for member in members if member in counts), 0)) for _, members in _COUNTS]


def _moment(text: str) -> str:
    """A month or a day as the time the API takes; any other form goes as it is."""
    if re.fullmatch(r"\d{4}-\d{2}", text):
        return f"{text}-01T00:00:00Z"
    return f"{text}T00:00:00Z" if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else text


USAGE: Final = Command(
    name="usage",
    summary="Print how many clients there were.",
    run=_usage,
    flags=(
        flags.text("start-time", "First moment: YYYY-MM, YYYY-MM-DD, RFC 3339 or a Unix time."),
        flags.text("end-time", "Last moment, in the same forms."),
    ),
)
