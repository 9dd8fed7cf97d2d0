"""Everything printed on stdout: tables, json, yaml and single fields."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Final, TextIO

from node.cli.durations import short_duration
from node.cli.errors import UsageError
from node.cli.gotext import go_text, quoted_list, table_value
from node.cli.secret import Data, Secret

FORMATS: Final = ("table", "json", "yaml")
Row = Sequence[str]


def table(header: Row, rows: Sequence[Row]) -> str:
    """Columns four spaces apart, each headed by dashes as long as its name; an empty cell says n/a."""
    lines = [list(header), ["-" * len(name) for name in header], *([cell.strip() for cell in row] for row in rows)]
    cells = [[cell or "n/a" for cell in line] for line in lines]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    return "\n".join(
        "    ".join([*(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)), line[-1]])
        for line in cells
    )


def key_values(rows: Sequence[tuple[str, object]]) -> str:
    """The two-column table most answers are."""
    return table(("Key", "Value"), [(key, go_text(value)) for key, value in rows])


def heading(title: str, width: int) -> str:
    """A title framed by = signs to the width of what it heads, or by two on each side where it is wider."""
    missing = width - len(title) - 2
    side = "=" * ((missing + 1) // 2 if missing > 0 else 2)
    return f"{side} {title} {side}"


def heading_for(title: str, data: Mapping[str, object]) -> str:
    """A title as wide as the table of these keys: the longest key, the gutter and the word Value."""
    return heading(title, max((len(key) for key in data), default=0) + len("    Value"))


def secret_rows(secret: Secret) -> list[tuple[str, object]]:
    """Lease, auth and wrapping rows, then the data by key."""
    rows = _lease_rows(secret)
    if secret.auth is not None:
        rows += _auth_rows(secret.auth)
    if secret.wrap_info is not None:
        rows += _wrap_rows(secret.wrap_info)
    return rows + data_rows(secret.data or {})


def data_rows(data: Mapping[str, object]) -> list[tuple[str, object]]:
    """One row a key, sorted."""
    return [(key, table_value(key, data[key])) for key in sorted(data)]


def _lease_rows(secret: Secret) -> list[tuple[str, object]]:
    if secret.lease_duration_s <= 0:
        return []
    lifetime = short_duration(secret.lease_duration_s)
    if not secret.lease_id:
        return [("refresh_interval", lifetime)]
    return [("lease_id", secret.lease_id), ("lease_duration", lifetime), ("lease_renewable", secret.renewable)]


def _auth_rows(auth: Data) -> list[tuple[str, object]]:
    requirement = auth.get("mfa_requirement")
    if isinstance(requirement, dict) and not auth.get("client_token"):
        return [
            ("mfa_request_id", requirement.get("mfa_request_id")),
            ("mfa_constraints", requirement.get("mfa_constraints")),
        ]
    duration_s = auth.get("lease_duration")
    metadata = auth.get("metadata") or {}
    return [
        ("token", auth.get("client_token", "")),
        ("token_accessor", auth.get("accessor", "")),
        ("token_duration", short_duration(duration_s) if duration_s else "∞"),
        ("token_renewable", auth.get("renewable") is True),
        ("token_policies", quoted_list(auth.get("token_policies"))),
        ("identity_policies", quoted_list(auth.get("identity_policies"))),
        ("policies", quoted_list(auth.get("policies"))),
        *((f"token_meta_{key}", metadata[key]) for key in sorted(metadata)),
    ]


def _wrap_rows(wrap: Data) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [
        ("wrapping_token:", wrap.get("token", "")),
        ("wrapping_accessor:", wrap.get("accessor", "")),
        ("wrapping_token_ttl:", table_value("ttl", wrap.get("ttl", 0))),
        ("wrapping_token_creation_time:", wrap.get("creation_time", "")),
        ("wrapping_token_creation_path:", wrap.get("creation_path", "")),
    ]
    if wrap.get("wrapped_accessor"):
        rows.append(("wrapped_accessor:", wrap["wrapped_accessor"]))
    return rows


_AUTH_FIELDS: Final = {
    "token": "client_token",
    "token_accessor": "accessor",
    "token_duration": "lease_duration",
    "token_renewable": "renewable",
    "token_policies": "token_policies",
    "identity_policies": "identity_policies",
    "policies": "policies",
}
_WRAP_FIELDS: Final = {
    "wrapping_token": "token",
    "wrapping_accessor": "accessor",
    "wrapping_token_ttl": "ttl",
    "wrapping_token_creation_time": "creation_time",
    "wrapping_token_creation_path": "creation_path",
    "wrapped_accessor": "wrapped_accessor",
}


def secret_field(secret: Secret, name: str) -> object:
    """What -field names in an answer; None when it is not there."""
    if secret.auth is not None and name in _AUTH_FIELDS:
        return secret.auth.get(_AUTH_FIELDS[name])
    if secret.wrap_info is not None and name in _WRAP_FIELDS:
        return secret.wrap_info.get(_WRAP_FIELDS[name])
    data = secret.data or {}
    if secret.auth is None and secret.wrap_info is None:
        if name == "refresh_interval":
            return secret.lease_duration_s
        if name == "data":
            return data.get("data", data)
    return data.get(name)


class Printer:
    """Writes one command's results in the format that was asked for."""

    def __init__(self, out: TextIO, err: TextIO, output_format: str) -> None:
        self._out = out
        self._err = err
        self.format = output_format

    @property
    def is_table(self) -> bool:
        """Whether a person reads along: json and yaml hold nothing but the answer."""
        return self.format == "table"

    def line(self, text: str = "") -> None:
        """A line on stdout."""
        self._out.write(text + "\n")

    def note(self, text: str) -> None:
        """A line on stderr."""
        self._err.write(text + "\n")

    def value(self, text: str) -> None:
        """A bare value: no newline, unless a person looks at it in a terminal."""
        self._out.write(text + ("\n" if self._out.isatty() else ""))

    def encoded(self, value: object) -> None:
        """A value as json or yaml."""
        self._out.write(_encode(value, self.format))

    def mapping(self, data: Mapping[str, object]) -> None:
        """A mapping as two columns, or encoded."""
        if not self.is_table:
            self.encoded(data)
        elif data:
            self.line(key_values(data_rows(data)))

    def rows(self, header: Row, rows: Sequence[Row], value: object) -> None:
        """A table, or the value it was made from."""
        if self.is_table:
            self.line(table(header, rows))
        else:
            self.encoded(value)

    def keys(self, keys: Sequence[str]) -> None:
        """Names under the heading Keys, or a bare list."""
        self.rows(("Keys",), [(key,) for key in keys], list(keys))

    def secret(self, secret: Secret) -> None:
        """A whole answer; its warnings go to stderr when a table is printed."""
        if not self.is_table:
            self.encoded(secret.printable())
            return
        self.warnings(secret.warnings)
        rows = secret_rows(secret)
        if rows:
            self.line(key_values(rows))

    def warnings(self, warnings: Sequence[str]) -> None:
        """What the server wants a person to know."""
        if warnings:
            listed = "\n".join(f"  * {warning}" for warning in warnings)
            self.note(f"WARNING! The following warnings were returned from Vault:\n\n{listed}\n")

    def field(self, value: object, name: str) -> None:
        """One field alone. Raises UsageError when the answer has no such field."""
        if value is None:
            raise UsageError(f'Field "{name}" not present in secret')
        self.value(go_text(value) if self.is_table else _encode(value, self.format).rstrip("\n"))


def _encode(value: object, output_format: str) -> str:
    if output_format == "json":
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    import yaml  # 20 ms that only this format should cost

    return yaml.safe_dump(value, sort_keys=True, allow_unicode=True, default_flow_style=False)


def stdout_printer(output_format: str) -> Printer:
    """A printer on this process's own streams."""
    return Printer(sys.stdout, sys.stderr, output_format)
