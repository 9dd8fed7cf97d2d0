"""Requests of the cubbyhole. What it stores is `engines.common.flat_secret.FlatSecret`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engines.common.fields import path_param, whole_body

_PATH = "Path of the secret."


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretPath:
    """GET, LIST and DELETE of a path."""

    path: str = path_param(_PATH)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretWrite:
    """POST of a path."""

    path: str = path_param(_PATH)
    body: Mapping[str, object] = whole_body("The values to keep.")
