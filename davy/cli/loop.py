"""How a command runs what is asynchronous, and what its loop may say when a connection breaks."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

R = TypeVar("R")

_log = logging.getLogger(__name__)


def run(function: Callable[..., Coroutine[Any, Any, R]], *args: Any, **kwargs: Any) -> R:
    """Run an asynchronous command on asyncio, with uvloop where there is one."""

    async def told() -> R:
        asyncio.get_running_loop().set_exception_handler(on_loop_error)
        return await function(*args, **kwargs)

    return anyio.run(told, backend_options={"use_uvloop": os.name != "nt"})


def on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say in one line, to who debugs, that a transport broke; anything else is a fault of ours and keeps its traceback.

    A peer that hangs up within TLS makes uvloop write to a closed handle. The read or write that needed the connection
    fails by itself and is answered for; the loop's traceback would tell a user nothing, and let a peer fill a log.
    """
    if context.get("transport") is None or not context["message"].startswith("Fatal"):
        loop.default_exception_handler(context)
    else:
        _log.debug("%s: %r", context["message"], context.get("exception"))
