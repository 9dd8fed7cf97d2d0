"""HCL version 1, and the JSON it is equivalent to, into a tree in which everything knows its line and column.

It is the language of configuration files, policies and password policies. There are no variables and no functions:
`${...}` stays the text it is. No error text repeats a value, because a value may be a secret.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NoReturn

DEPTH_MAX: Final = (
    64  # nesting of blocks and lists; far above real files, and well below the interpreter's recursion limit
)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the text; line and column count from 1, columns in characters."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


class HclError(ValueError):
    """The text is not HCL or JSON. `reason` says what is wrong at `position`; neither holds a value of the text."""

    def __init__(self, reason: str, position: Position) -> None:
        super().__init__(f"{position}: {reason}")
        self.reason = reason
        self.position = position


@dataclass(frozen=True, slots=True)
class Key:
    """The name of a setting or block, or the label of a block."""

    text: str
    position: Position


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, boolean, or null of JSON."""

    value: str | int | float | bool | None = field(repr=False)
    position: Position


@dataclass(frozen=True, slots=True)
class ListValue:
    """`[a, b]`."""

    items: "tuple[Value, ...]"
    position: Position


@dataclass(frozen=True, slots=True)
class Item:
    """`key = value`, or a block `key "label" { ... }`, whose value is a Body and whose keys are name and labels."""

    keys: tuple[Key, ...]
    value: "Value"

    @property
    def name(self) -> str:
        """The first key."""
        return self.keys[0].text

    @property
    def position(self) -> Position:
        """Where the first key stands."""
        return self.keys[0].position


@dataclass(frozen=True, slots=True)
class Body:
    """What stands between braces, or the whole file: items in the order of the text, repeated names included."""

    items: tuple[Item, ...]
    position: Position


Value = Literal | ListValue | Body


@dataclass(frozen=True, slots=True)
class Block:
    """One block with its labels, however it was spelled: see `blocks_of`."""

    labels: tuple[Key, ...]
    body: Body
    position: Position


def parse(text: str) -> Body:
    """The tree of an HCL 1 text, or of a JSON text if its first character is an opening brace. Raises HclError."""
    text = text.removeprefix("\ufeff")
    parser = _Parser(text)
    return parser.json_file() if text.lstrip()[:1] == "{" else parser.hcl_file()


def blocks_of(item: Item, labels: int) -> Iterator[Block]:
    """The blocks that one item stands for, each with exactly this many labels.

    HCL writes `listener "tcp" { ... }`; JSON writes `"listener": {"tcp": {...}}` or, to repeat a block, a list at any
    of the levels. Both give the same blocks.

    Raises:
        HclError: The item is no block, or has too few or too many labels.
    """
    yield from _unfold(item.keys[1:], item.value, labels, item.position)


def _unfold(found: tuple[Key, ...], value: Value, labels: int, position: Position) -> Iterator[Block]:
    if isinstance(value, ListValue):
        for element in value.items:
            yield from _unfold(found, element, labels, element.position)
    elif not isinstance(value, Body):
        raise HclError("expected a block in braces", value.position)
    elif len(found) > labels:
        raise HclError("the block has a label too many", found[labels].position)
    elif len(found) == labels:
        yield Block(found, value, position)
    elif not value.items:
        raise HclError("the block needs a label", position)
    else:
        for item in value.items:
            yield from _unfold(found + item.keys, item.value, labels, item.position)


def plain(value: Value) -> object:
    """The value as `json.loads` would give it; of a repeated key the last counts, and labels nest."""
    if isinstance(value, Literal):
        return value.value
    if isinstance(value, ListValue):
        return [plain(element) for element in value.items]
    result: dict[str, object] = {}
    for item in value.items:
        inner = plain(item.value)
        for key in reversed(item.keys[1:]):
            inner = {key.text: inner}
        result[item.name] = inner
    return result


_BLANK: Final = re.compile(r"(?:[ \t\r\n\f\v]+|#[^\n]*|//[^\n]*|/\*(?s:.)*?\*/)*")
_JSON_BLANK: Final = re.compile(r"[ \t\r\n]*")
_IDENTIFIER: Final = re.compile(r"[^\W\d][\w.-]*")
_NUMBER: Final = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![\w.])")
_WORD: Final = re.compile(r"(true|false|null)(?![\w.-])")
_HEREDOC: Final = re.compile(r"<<(-?)([^\W\d]\w*)[ \t]*\r?\n")
_CHUNK: Final = re.compile(r'[^"\\\n$]+|\$(?!\{)')
_ESCAPE: Final = re.compile(r"\\(?:([abfnrtv\\\"/])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")
_BRACE: Final = re.compile(r"[{}]")
_SIMPLE: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_NUMBER_CHARS_MAX: Final = 64  # bounds the conversion of a number


class _Parser:
    """Recursive descent over the text; `at` is the offset of the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.blank = _BLANK
        self.lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def hcl_file(self) -> Body:
        start = self.here()
        return Body(tuple(self.hcl_items(closing="")), start)

    def json_file(self) -> Body:
        self.blank = _JSON_BLANK
        self.skip()
        body = self.json_value()
        self.skip()
        if self.at < len(self.text):
            self.fail("unexpected text after the closing brace")
        assert isinstance(body, Body)  # the caller saw the opening brace
        return body

    # places

    def position(self, offset: int) -> Position:
        line = bisect_right(self.lines, offset)
        return Position(line, offset - self.lines[line - 1] + 1)

    def here(self) -> Position:
        return self.position(self.at)

    def fail(self, reason: str, offset: int | None = None) -> NoReturn:
        raise HclError(reason, self.position(self.at if offset is None else offset))

    def skip(self) -> str:
        """Step over blanks and comments; the next character, or "" at the end."""
        match = self.blank.match(self.text, self.at)
        if match:
            self.at = match.end()
        if self.blank is _BLANK and self.text.startswith("/*", self.at):
            self.fail("the comment is never closed")
        return self.text[self.at : self.at + 1]

    def expect(self, character: str, reason: str) -> None:
        if self.skip() != character:
            self.fail(reason)
        self.at += 1

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            self.fail(f"nested more than {DEPTH_MAX} deep")

    # HCL

    def hcl_items(self, closing: str) -> Iterator[Item]:
        while (character := self.skip()) != closing:
            if not character:
                self.fail("the block is never closed: expected }")
            yield self.hcl_item()
            if self.skip() == ",":
                self.at += 1

    def hcl_item(self) -> Item:
        keys = [self.hcl_key("expected the name of a setting or block")]
        while (character := self.skip()) not in ("=", "{"):
            keys.append(self.hcl_key("expected = or { after the name"))
        if character == "=":
            if len(keys) > 1:
                self.fail("a name with labels opens a block: expected {")
            self.at += 1
        return Item(tuple(keys), self.hcl_value())

    def hcl_key(self, reason: str) -> Key:
        position = self.here()
        if self.text.startswith('"', self.at):
            return Key(self.string(), position)
        match = _IDENTIFIER.match(self.text, self.at)
        if not match:
            self.fail(reason)
        self.at = match.end()
        return Key(match[0], position)

    def hcl_value(self) -> Value:
        character = self.skip()
        if character == "{":
            return self.hcl_body()
        if character == "[":
            return self.hcl_list()
        position = self.here()
        if character == "<":
            return Literal(self.heredoc(), position)
        return self.scalar()

    def hcl_body(self) -> Body:
        position = self.here()
        self.deeper()
        self.at += 1
        items = tuple(self.hcl_items(closing="}"))
        self.at += 1
        self.depth -= 1
        return Body(items, position)

    def hcl_list(self) -> ListValue:
        position = self.here()
        self.deeper()
        self.at += 1
        items: list[Value] = []
        while self.skip() != "]":
            items.append(self.hcl_value())
            if self.skip() == ",":
                self.at += 1
            elif self.skip() != "]":
                self.fail("expected , or ] in the list")
        self.at += 1
        self.depth -= 1
        return ListValue(tuple(items), position)

    # JSON

    def json_value(self) -> Value:
        character = self.skip()
        if character == "{":
            return self.json_object()
        if character == "[":
            return self.json_list()
        return self.scalar()

    def json_object(self) -> Body:
        position = self.here()
        items: list[Item] = []
        for _ in self.json_elements("}"):
            key_position = self.here()
            if self.skip() != '"':
                self.fail("expected a name in quotes")
            key = Key(self.string(), key_position)
            self.expect(":", "expected : after the name")
            items.append(Item((key,), self.json_value()))
        return Body(tuple(items), position)

    def json_list(self) -> ListValue:
        position = self.here()
        return ListValue(tuple([self.json_value() for _ in self.json_elements("]")]), position)

    def json_elements(self, closing: str) -> Iterator[None]:
        """Yields once before each element of an object or list, and takes the commas and brackets itself."""
        self.deeper()
        self.at += 1
        if self.skip() != closing:
            yield
            while self.skip() == ",":
                self.at += 1
                self.skip()
                yield
        self.expect(closing, f"expected , or {closing}")
        self.depth -= 1

    # scalars, the same in both

    def scalar(self) -> Literal:
        position = self.here()
        if self.text.startswith('"', self.at):
            return Literal(self.string(), position)
        if word := _WORD.match(self.text, self.at):
            self.at = word.end()
            return Literal({"true": True, "false": False, "null": None}[word[1]], position)
        number = _NUMBER.match(self.text, self.at)
        if not number or len(number[0]) > _NUMBER_CHARS_MAX:
            self.fail("expected a value: a string in quotes, a number, true or false, a list or a block")
        self.at = number.end()
        return Literal(_number(number[0]), position)

    def string(self) -> str:
        start = self.at
        self.at += 1
        parts: list[str] = []
        while not self.text.startswith('"', self.at):
            if chunk := _CHUNK.match(self.text, self.at):
                parts.append(chunk[0])
                self.at = chunk.end()
            elif self.text.startswith("${", self.at):
                parts.append(self.interpolation(start))
            elif escape := _ESCAPE.match(self.text, self.at):
                parts.append(self.escaped(escape))
            elif self.text.startswith("\\", self.at):
                self.fail("unknown escape in the string")
            else:
                self.fail("the string is never closed", start)
        self.at += 1
        return "".join(parts)

    def interpolation(self, start: int) -> str:
        """`${...}` as it stands: quotes and line ends inside it do not end the string."""
        begin, depth = self.at, 0
        while brace := _BRACE.search(self.text, self.at):
            self.at = brace.end()
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                return self.text[begin : self.at]
        return self.fail("the string is never closed", start)

    def escaped(self, escape: re.Match[str]) -> str:
        simple, hexadecimal, octal, four, eight = escape.groups()
        at, self.at = self.at, escape.end()
        if simple:
            return _SIMPLE.get(simple, simple)
        code = int(octal, 8) if octal else int(hexadecimal or four or eight, 16)
        if four and 0xD800 <= code < 0xDC00:
            low = _ESCAPE.match(self.text, self.at)
            low_code = int(low[4], 16) if low and low[4] else 0
            if low and 0xDC00 <= low_code < 0xE000:  # a pair, as JSON spells what is above U+FFFF
                self.at = low.end()
                return chr(0x10000 + ((code - 0xD800) << 10) + (low_code - 0xDC00))
        if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
            self.fail("the escape is not a character", at)
        return chr(code)

    def heredoc(self) -> str:
        """`<<MARK` to a line that holds only MARK; with `<<-` the indentation of that line is taken from every line."""
        start = self.at
        opening = _HEREDOC.match(self.text, start)
        if not opening:
            self.fail("expected <<NAME and the end of the line")
        indented, mark = opening.groups()
        closing = re.compile(rf"^([ \t]*){mark}[ \t]*\r?$", re.MULTILINE).search(self.text, opening.end())
        if not closing:
            self.fail("the heredoc is never closed", start)
        self.at = closing.end()
        lines = self.text[opening.end() : closing.start()].splitlines(keepends=True)
        indent = closing[1]
        if indented and all(line.startswith(indent) or not line.strip() for line in lines):
            lines = [line.removeprefix(indent) for line in lines]
        return "".join(lines)


def _number(text: str) -> int | float:
    digits = text.lstrip("-")
    sign = -1 if text.startswith("-") else 1
    if digits[:2] in ("0x", "0X"):
        return sign * int(digits, 16)
    if digits.isdigit():
        octal = len(digits) > 1 and digits.startswith("0") and not set(digits) & {"8", "9"}
        return sign * int(digits, 8 if octal else 10)
    return sign * float(digits)
