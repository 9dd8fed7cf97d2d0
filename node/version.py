"""What this program says it is. The API level comes first, because clients compare it."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

try:
    OWN_VERSION: Final = version("strongroom")
except PackageNotFoundError:  # run from a checkout that is not installed
    OWN_VERSION = "0.1.0"  # type: ignore[misc]

API_VERSION: Final = "1.18.0"
VERSION: Final = f"{API_VERSION}+strongroom.{OWN_VERSION}"
BUILD_DATE: Final = "2026-11-22T00:00:00Z"
