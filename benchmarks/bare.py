"""Yardstick A: a bare aiohttp `web.Application` handler on uvloop. `python -m benchmarks.bare PORT`."""

import asyncio
import sys

import uvloop
from aiohttp import web

_BODY = {"data": {"data": {"value": "x" * 300}}}


async def _answer(request: web.Request) -> web.Response:
    return web.json_response(_BODY)


async def _serve(port: int) -> None:
    application = web.Application()
    application.router.add_route("*", "/v1/{path:.*}", _answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
