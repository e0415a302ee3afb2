"""How a node that runs until it is told to stop ends: SIGINT and SIGTERM, one line of farewell, exit code 0."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import anyio
import click


async def until_told(work: Callable[[], Awaitable[None]], farewell: str) -> None:
    """Run until SIGINT or SIGTERM cancels it, or it ends, and say so when all of it is closed.

    A second signal ends the process at once. `work` may take the signals over for as long as it likes.

    Parameters
    ----------
    farewell
        One line, on standard error: standard output may be a program's.
    """
    async with anyio.create_task_group() as tasks:

        async def all_of_it() -> None:
            await work()
            tasks.cancel_scope.cancel()

        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            tasks.start_soon(all_of_it)
            async for _ in signals:
                break
        tasks.cancel_scope.cancel()
    click.echo(farewell, err=True)
