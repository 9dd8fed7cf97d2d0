"""The canonical layout of HCL: two spaces a level, one around =, and the = of neighbouring lines below each other.

Only space is changed: the caller holds the meaning before and after against each other (`policy.py`).
"""

import re
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"""(?P<heredoc><<-?(?P<tag>\w+)[ \t]*\n.*?\n[ \t]*(?P=tag)(?=\s|$))"""
    r"""|(?P<string>"(?:[^"\\\n]|\\.)*")"""
    r"""|(?P<comment>(?:\#|//)[^\n]*|/\*.*?\*/)"""
    r"""|(?P<mark>[{}\[\]=,])"""
    r"""|(?P<newline>\n)"""
    r"""|(?P<space>[ \t\r]+)"""
    r"""|(?P<word>[^\s{}\[\]=,"\#]+|.)""",
    re.DOTALL | re.VERBOSE,
)
_INDENT: Final = "  "


@dataclass(frozen=True, slots=True)
class _Line:
    """One line: how deep it stands, its text, and where its own `=` is (-1 when it has none to align)."""

    depth: int
    text: str
    equals_at: int


def format_hcl(text: str) -> str:
    """The text in canonical layout, ending in one newline."""
    lines: list[_Line] = []
    depth = 0
    for tokens in _token_lines(text):
        closers = _leading_closers(tokens)
        lines.append(_line(max(0, depth - closers), tokens))
        depth = max(0, depth + sum(_step(kind, token) for kind, token in tokens))
    return "\n".join(_rendered(_without_spare_blanks(lines))).strip("\n") + "\n"


def _token_lines(text: str) -> list[list[tuple[str, str]]]:
    lines: list[list[tuple[str, str]]] = [[]]
    for match in _TOKEN.finditer(text.replace("\r\n", "\n")):
        kind = "heredoc" if match["heredoc"] else match.lastgroup or "word"
        if kind == "newline":
            lines.append([])
        elif kind != "space":
            lines[-1].append((kind, match[0].rstrip() if kind == "comment" else match[0]))
    return lines


def _step(kind: str, token: str) -> int:
    if kind != "mark":
        return 0
    return {"{": 1, "[": 1, "}": -1, "]": -1}.get(token, 0)


def _leading_closers(tokens: list[tuple[str, str]]) -> int:
    count = 0
    for kind, token in tokens:
        if _step(kind, token) >= 0:
            break
        count += 1
    return count


def _line(depth: int, tokens: list[tuple[str, str]]) -> _Line:
    text = ""
    equals_at = -1
    opened = 0
    for position, (kind, token) in enumerate(tokens):
        if position and _spaced(tokens[position - 1], (kind, token)):
            text += " "
        if (kind, token) == ("mark", "=") and opened == 0 and equals_at < 0:
            equals_at = len(text)
        opened += _step(kind, token)
        text += token
    return _Line(depth, text, equals_at)


def _spaced(before: tuple[str, str], after: tuple[str, str]) -> bool:
    if after == ("mark", ",") or before == ("mark", "[") or after == ("mark", "]"):
        return False
    return (before, after) != (("mark", "{"), ("mark", "}"))


def _without_spare_blanks(lines: list[_Line]) -> list[_Line]:
    """Blank lines are kept one by one, and none before what closes a block."""
    kept: list[_Line] = []
    for line in lines:
        if kept and not kept[-1].text and (not line.text or line.text[0] in "}]"):
            kept.pop()
        kept.append(line)
    return kept


def _rendered(lines: list[_Line]) -> list[str]:
    rendered: list[str] = []
    start = 0
    while start < len(lines):
        end = start + 1
        if _aligns(lines[start]):
            while end < len(lines) and _aligns(lines[end]) and lines[end].depth == lines[start].depth:
                end += 1
        rendered += _aligned(lines[start:end])
        start = end
    return rendered


def _aligns(line: _Line) -> bool:
    """Whether its = lines up with its neighbours': only values that end on the line do."""
    return line.equals_at >= 0 and "\n" not in line.text and not line.text.endswith(("{", "["))


def _aligned(lines: list[_Line]) -> list[str]:
    column = max(line.equals_at for line in lines)
    result = []
    for line in lines:
        padding = " " * (column - line.equals_at) if line.equals_at >= 0 else ""
        text = line.text[: max(line.equals_at, 0)] + padding + line.text[max(line.equals_at, 0) :]
        result.append((_INDENT * line.depth + text).rstrip())
    return result
