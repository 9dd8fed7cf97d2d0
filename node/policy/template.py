"""Templated path patterns: {{identity...}} replaced by what is known about the entity that asks.

Values are data. Names and metadata can be edited by users, so a value never becomes a wildcard, a separator or a
traversal: such a value leaves the rule matching nothing (CVE-2026-71543). A value that is not there does the same,
and no value is looked up twice or expanded again.
"""

import re
from collections.abc import Mapping
from typing import Final

from node.policy.model import Subject, SubjectAlias, SubjectGroup

_EXPRESSION: Final = re.compile(r"\{\{([^{}]*)\}\}")
_UNSAFE: Final = re.compile(r"[*+/,\\{}\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")

_ENTITY: Final = re.compile(r"identity\.entity\.(?:(id|name)|metadata\.(.+))", re.DOTALL)
_ALIAS: Final = re.compile(
    r"identity\.entity\.aliases\.([^.]+)\.(?:(id|name)|(metadata|custom_metadata)\.(.+))", re.DOTALL
)
_GROUP_BY_ID: Final = re.compile(r"identity\.groups\.ids\.([^.]+)\.(?:(name)|metadata\.(.+))", re.DOTALL)
# Group names may hold dots, so the name takes all up to the last word, or to the first ".metadata.".
_GROUP_BY_NAME: Final = re.compile(r"identity\.groups\.names\.(?:(.+?)\.metadata\.(.+)|(.+)\.id)", re.DOTALL)


def is_templated(pattern: str) -> bool:
    """Whether the pattern asks for a value of the entity."""
    return "{{" in pattern or "}}" in pattern


def template_fault(pattern: str) -> str | None:
    """Why the template can never be filled, in words for its author; None when it can."""
    if is_templated(_EXPRESSION.sub("", pattern)):
        return "the braces of the template do not match"
    for expression in _EXPRESSION.findall(pattern):
        known = (_ENTITY, _ALIAS, _GROUP_BY_ID, _GROUP_BY_NAME)
        if not any(shape.fullmatch(expression.strip()) for shape in known):
            return "unknown template parameter"
    return None


def fill(pattern: str, subject: Subject | None) -> str | None:
    """The pattern with each template replaced, or None when a value is missing or could change what is matched."""
    if subject is None:
        return None
    filled = []
    position = 0
    for found in _EXPRESSION.finditer(pattern):
        value = _value_of(found[1].strip(), subject)
        if not value or value in (".", "..") or _UNSAFE.search(value):
            return None
        filled += [pattern[position : found.start()], value]
        position = found.end()
    return "".join(filled) + pattern[position:]


def _value_of(expression: str, subject: Subject) -> str | None:
    if found := _ALIAS.fullmatch(expression):
        alias = subject.aliases.get(found[1])
        return None if alias is None else _alias_value(alias, found[2] or found[3], found[4])
    if found := _ENTITY.fullmatch(expression):
        if found[2] is not None:
            return subject.metadata.get(found[2])
        return subject.entity_id if found[1] == "id" else subject.entity_name
    if found := _GROUP_BY_ID.fullmatch(expression):
        group = next((g for g in subject.groups if g.group_id == found[1]), None)
        return _group_value(group, found[3], by_id=True)
    if found := _GROUP_BY_NAME.fullmatch(expression):
        group = next((g for g in subject.groups if g.name == (found[1] or found[3])), None)
        return _group_value(group, found[2], by_id=False)
    return None


def _alias_value(alias: SubjectAlias, field: str, key: str | None) -> str | None:
    if key is not None:
        values: Mapping[str, str] = alias.metadata if field == "metadata" else alias.custom_metadata
        return values.get(key)
    return alias.alias_id if field == "id" else alias.name


def _group_value(group: SubjectGroup | None, key: str | None, *, by_id: bool) -> str | None:
    if group is None:
        return None
    if key is not None:
        return group.metadata.get(key)
    return group.name if by_id else group.group_id
