"""The desk of a keyholder's process as its owner reaches it: a socket in its home, for nobody else on the machine.

One JSON value a line, both ways. What is shown are the screens that the process itself rendered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import anyio
import msgspec
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from msgspec import Meta

from davy.keyholders.circle import Circle
from davy.keyholders.desk import HOLD_MS, Desk, Matter
from davy.keyholders.sheets import MAX_SHEET_CHARS
from davy.protocol.errors import DavyError, Malformed, Misconfigured, Unreachable
from davy.protocol.words import PublicKey

_MAX_PATH: Final = 100
"""Of a Unix socket; Linux takes 107 bytes, others a few less."""
_MAX_REQUEST: Final = 2 * MAX_SHEET_CHARS
Carried = Callable[[str], Awaitable[str | None]]
_MAX_REPLY: Final = 4 * 1024 * 1024
_PATIENCE_S: Final = 10.0
_LOOK_S: Final = 0.1
_AT_ONCE: Final = 8
_BROKEN: Final = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.IncompleteRead, anyio.DelimiterNotFound)


class _Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    do: Literal["list", "sign", "refuse", "carry"]
    id: Annotated[str, Meta(max_length=64)] = ""
    sheet: Annotated[str, Meta(max_length=MAX_SHEET_CHARS)] = ""


class Shown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A matter as its owner sees it. `expires` in Unix milliseconds."""

    id: str
    kind: str
    sender: str
    expires: int
    screen: str


class _Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    matters: list[Shown] = []
    error: str = ""
    sheet: str = ""


@asynccontextmanager
async def controlled(path: Path, desk: Desk, circles: Sequence[Circle], carried: Carried) -> AsyncGenerator[None]:
    """Let the owner decide, while the context is open.

    Parameters
    ----------
    circles
        Where senders are called by name.
    carried
        Answers a sheet that was carried here; None where the person has not decided yet.

    Raises
    ------
    Misconfigured
        The socket cannot be made there.
    """
    _check_length(path)
    names = {h.key: h.name for circle in circles for h in circle.holders}
    limit = anyio.CapacityLimiter(_AT_ONCE)

    async def serve(stream: SocketStream) -> None:
        async with stream, limit:
            with anyio.move_on_after(_PATIENCE_S + HOLD_MS / 1000):
                try:
                    line = await BufferedByteReceiveStream(stream).receive_until(b"\n", _MAX_REQUEST)
                    await stream.send(msgspec.json.encode(await _answer(desk, names, carried, line)) + b"\n")
                except _BROKEN:
                    return

    try:
        # What a killed process left is replaced: the home's lock says that no other runs.
        listener = await anyio.create_unix_listener(path, mode=0o600)
    except OSError as e:
        raise Misconfigured(f"cannot listen at {path} ({e.strerror}); make the home writable for this user") from None
    try:
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, serve)
            yield
            tasks.cancel_scope.cancel()
    finally:
        await anyio.Path(path).unlink(missing_ok=True)


async def pending(path: Path, *, patience: float = 0) -> list[Shown]:
    """Ask the running process what waits.

    Parameters
    ----------
    patience
        Seconds to ask again and again while nothing does.

    Raises
    ------
    Unreachable
        No process runs in this home.
    """
    end = anyio.current_time() + patience
    while not (waiting := (await _ask(path, _Wish("list"))).matters) and anyio.current_time() < end:  # noqa: ASYNC110 - another process's doing
        await anyio.sleep(_LOOK_S)
    return waiting


async def decide(path: Path, id: str, *, yes: bool) -> Shown:
    """Answer one matter by the first digits of its id, and return it.

    Raises
    ------
    Unreachable
        No process runs in this home.
    Malformed
        No matter, or more than one, has such an id.
    """
    (shown,) = (await _ask(path, _Wish("sign" if yes else "refuse", id[:64]))).matters
    return shown


async def _answer(desk: Desk, names: Mapping[PublicKey, str], carried: Carried, line: bytes) -> _Reply:
    try:
        wish = msgspec.json.decode(line, type=_Wish)
        if wish.do == "carry":
            return _Reply(sheet=await carried(wish.sheet) or "")
        if wish.do == "list":
            return _Reply([_shown(m, names) for m in desk.undecided()])
        return _Reply([_shown(desk.decide(wish.id, wish.do == "sign"), names)])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Reply(error="this is not a question to a keyholder's process")
    except DavyError as e:
        return _Reply(error=str(e))


async def carry(path: Path, sheet: str) -> str:
    """Have a sheet answered by the running process, when its owner has decided.

    Raises
    ------
    Unreachable
        No process runs in this home.
    Malformed
        It is no question for this keyholder, and why.
    """
    while not (back := (await _ask(path, _Wish("carry", sheet=sheet))).sheet):
        pass  # the process holds each question for a while
    return back


def _shown(m: Matter, names: Mapping[PublicKey, str]) -> Shown:
    return Shown(m.id.hex(), m.kind, names[m.sender], m.expires, m.screen)


async def _ask(path: Path, wish: _Wish) -> _Reply:
    _check_length(path)
    try:
        with anyio.fail_after(_PATIENCE_S + (2 * HOLD_MS / 1000 if wish.do == "carry" else 0)):
            async with await anyio.connect_unix(path) as stream:
                await stream.send(msgspec.json.encode(wish) + b"\n")
                line = await BufferedByteReceiveStream(stream).receive_until(b"\n", _MAX_REPLY)
        reply = msgspec.json.decode(line, type=_Reply)
    except (OSError, TimeoutError, *_BROKEN, msgspec.DecodeError):
        raise Unreachable(f"no `davy keyholder serve` answers in {path.parent}; start it, then propose again") from None
    if reply.error:
        raise Malformed(reply.error)
    return reply


def _check_length(path: Path) -> None:
    if len(str(path).encode()) > _MAX_PATH:
        raise Misconfigured(f"the path {path} is too long for a socket; choose a --home with a shorter one")
