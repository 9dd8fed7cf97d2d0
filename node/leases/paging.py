"""Walking what may be very many keys: page by page, with a turn of the event loop between two pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from engines.common.context import View

_PAGE: Final = 128  # names read at once: about a millisecond


async def names(view: View, prefix: str) -> AsyncIterator[str]:
    """Every name directly below prefix, in order; folders end in "/". What is written meanwhile may appear or not."""
    after = ""
    while page := await view.list(prefix, after=after, limit=_PAGE):
        for name in page:
            yield name
        after = page[-1]
        await asyncio.sleep(0)


async def keys(view: View, prefix: str) -> AsyncIterator[str]:
    """Every key below prefix, however deep. Holds no more than a page for each level."""
    folders = [(prefix, "")]
    while folders:
        folder, after = folders.pop()
        page = await view.list(folder, after=after, limit=_PAGE)
        for name in page:
            if name.endswith("/"):
                # Resume here once the subfolder is done.
                folders += [(folder, name), (folder + name, "")]
                break
            yield folder + name
        else:
            if page:
                folders.append((folder, page[-1]))
        await asyncio.sleep(0)
