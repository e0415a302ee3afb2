"""A ledger's address that answers as the ledger behind it does, with one thing changed in each answer."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from davy.ledger.driver.server import listening

_UNCHANGED = ("jsonrpc", "id", "log", "codespace", "moniker", "version")
"""What a client does not look at, or shows to people."""


def lied(answer: Any, drawn: random.Random) -> Any:
    """The same with one leaf changed."""
    places = list(_leaves(answer))
    if not places:
        return answer
    holder, key = drawn.choice(places)
    value = holder[key]
    match value:
        case bool():
            holder[key] = not value
        case int():
            holder[key] = value + 1
        case str() if value.isdigit():
            holder[key] = str(max(0, int(value) + drawn.choice((-1, 1))))
        case _:
            at = drawn.randrange(len(value))
            letters = "ABCDEF0123456789" if value.isupper() or value.isalnum() else "ABCDwxyz0189"
            other = drawn.choice([c for c in letters if c != value[at]])
            holder[key] = value[:at] + other + value[at + 1 :]
    return answer


def _leaves(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if isinstance(inner, dict | list):
            yield from _leaves(inner)
        elif key not in _UNCHANGED and inner not in (None, ""):
            yield value, key


@asynccontextmanager
async def lying(url: str, drawn: random.Random) -> AsyncGenerator[str]:
    """An address that lies about the ledger at another one."""
    async with aiohttp.ClientSession() as session:

        async def answer(request: web.Request) -> web.Response:
            async with session.post(url, data=await request.read()) as response:
                said = lied(msgspec.json.decode(await response.read()), drawn)
            return web.Response(body=msgspec.json.encode(said), content_type="application/json")

        app = web.Application()
        app.router.add_post("/", answer)
        async with listening(app, "127.0.0.1", 0) as address:
            yield address
