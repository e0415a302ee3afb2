"""The engine's process: started when the application answers, started again when it ends, and watched.

An engine whose application goes away ends by itself, with exit code 0, so what it returns says nothing; or, when it
was about to begin, it stays half dead and keeps its files locked. So it is killed when davy is, and when it has hung
up. One that finds its state to differ from the others' logs CONSENSUS FAILURE and goes on answering with its height
frozen: that ends the pair with a sentence, because starting it again repeats it. So does one whose clock is slow by a
minute or more, since it takes the others' blocks for wrong, and one whose disk is full, which may also cut off what it
logs of that. Where this process has no file left to open, it looks again later.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import os
import re
import shutil
import signal
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, TypeVar

import anyio

from davy.ledger.driver.cometbft.vote_log import VoteLog
from davy.protocol.errors import Misconfigured

T = TypeVar("T")

_log: Final = logging.getLogger(__name__)
_LOOK_S: Final = 1.0
_SHORTEST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
_PATIENCE_S: Final = 5.0
"""For the engine to end when it is told to."""
_STALLED_S: Final = 60.0
_MAX_LOG_BYTES: Final = 32 * 1024 * 1024
_FAILURE: Final = re.compile(rb"E\[[0-9|:.-]{10,32}\] CONSENSUS FAILURE!!!")
"""How a line begins with which the engine's own consensus gives up. What peers send stands in quotes, further on."""
_LATE: Final = re.compile(rb".*block time [0-9:. +-]{19,40} UTC is too far in the future")
"""What such a line says where the engine's clock is a minute or more behind the block's time."""
_NO_ROOM: Final = b"no space left on device"
_MAKE_ROOM: Final = "The disk is full: make room, leave its files as they are, and start again"
_LEAST_FREE_BYTES: Final = 1024 * 1024
_LOOKS: Final = 3
"""After so many a line that has not ended will not."""
_CAUSE: Final = re.compile(rb"panic: |ERROR|Error|E\[")
"""How a line begins that may say why the engine ended."""
_LAST_BYTES: Final = 16 * 1024
_LAST_CHARS: Final = 300
_PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT})
"""What is no fault of a program or a folder, and may be over in a moment."""
_LIBC: Final = ctypes.CDLL(None)
_SET_PARENT_DEATH_SIGNAL: Final = 1


class EnginePlace(NamedTuple):
    """The engine's folder in a home, and what stands in it."""

    root: Path

    @property
    def app(self) -> Path:
        """Socket of the application."""
        return self.root / "app.sock"

    @property
    def rpc(self) -> Path:
        """Socket of the engine's RPC."""
        return self.root / "rpc.sock"

    @property
    def log(self) -> Path:
        return self.root / "engine.log"

    @property
    def temporary(self) -> Path:
        """What the engine writes there it forgets when it is killed."""
        return self.root / "temporary"

    @property
    def votes(self) -> Path:
        """The folder of `vote_log`."""
        return self.root / "data/cs.wal"

    def check(self) -> None:
        """Raise Misconfigured where a socket's path is longer than a Unix socket's may be."""
        if len(os.fsencode(self.app)) > 100:
            raise Misconfigured(f"{self.app} is too long for a socket; choose a home with a shorter path")


async def supervise(
    binary: Path,
    place: EnginePlace,
    height: Callable[[], int],
    connections: Callable[[], int],
    prepared: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Run the engine until cancelled; on asyncio.

    Parameters
    ----------
    prepared
        Awaited before each start.
    height
        Of the newest block that is kept.
    connections
        How many the engine has to the application.

    Raises
    ------
    Misconfigured
        It cannot be started, or it stopped taking part for good.
    """
    pause, before = _SHORTEST_PAUSE_S, -1
    while True:
        if prepared is not None:
            await prepared()
        try:
            code, last = await _life(binary, place, height, connections)
            _log.warning(
                "the engine ended with code %s at block %d; it said last: %s; it is started again (%s)",
                *(code, height(), last or "nothing", place.log),
            )
        except OSError as e:
            if e.errno not in _PASSING:
                raise Misconfigured(f"cannot write in {place.root} ({e.strerror}); let this user write there") from None
            _log.warning("the engine cannot be started now (%s); it is tried again", e.strerror)
        pause = _SHORTEST_PAUSE_S if height() > before else min(2 * pause, _LONGEST_PAUSE_S)
        before = height()
        await anyio.sleep(pause)


async def _life(
    binary: Path, place: EnginePlace, height: Callable[[], int], connections: Callable[[], int]
) -> tuple[int | None, str]:
    """From a start to the end: what it returned, and what it said last."""
    place.rpc.unlink(missing_ok=True)
    with place.log.open("ab") as log:
        seen = log.tell()
        # Shielded: what is started is known, and ended below.
        process = await _shielded(_started(binary, place, log))
        try:
            code = await _Watch(process, place, log, height, connections).until_end(seen)
        finally:
            await _shielded(_end(process))
    return code, _said_last(place.log, seen)


def _said_last(log: Path, since: int) -> str:
    """The last line that may say why it ended, or the last of all."""
    try:
        with log.open("rb") as file:
            file.seek(max(since, file.seek(0, os.SEEK_END) - _LAST_BYTES))
            lines = [line for line in file.read().splitlines() if line.strip()]
    except OSError:
        return ""
    last = next((line for line in reversed(lines) if _CAUSE.match(line)), lines[-1] if lines else b"")
    text = last.decode(errors="replace")[:_LAST_CHARS].strip()
    return "".join(c if c.isprintable() else " " for c in text)


async def _shielded(work: Coroutine[Any, Any, T]) -> T:
    done: list[T] = []
    with anyio.CancelScope(shield=True):
        done.append(await work)
    return done[0]


async def _started(binary: Path, place: EnginePlace, log: IO[bytes]) -> asyncio.subprocess.Process:
    words = [str(binary), "start", "--home", str(place.root)]
    words += ["--proxy_app", f"unix://{place.app}", "--rpc.laddr", f"unix://{place.rpc}"]
    shutil.rmtree(place.temporary, ignore_errors=True)
    try:
        place.temporary.mkdir(mode=0o700)
        return await asyncio.create_subprocess_exec(
            *words,
            env={**os.environ, "TMPDIR": str(place.temporary)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_die_with_davy,
        )
    except OSError as e:
        if e.errno in _PASSING:
            raise
        raise Misconfigured(f"cannot start {binary} ({e.strerror}); run `davy ledger install-engine`") from None


class _Watch(NamedTuple):
    """A life of the engine's, and what it is judged by."""

    process: asyncio.subprocess.Process
    place: EnginePlace
    log: IO[bytes]
    height: Callable[[], int]
    connections: Callable[[], int]

    async def until_end(self, seen: int) -> int | None:
        """Wait until it ends, or has hung up for good: None. Look at its height and at its logs, from `seen` on."""
        votes, lines = VoteLog(self.place.votes), _Lines(self.place, seen)
        stands, since, spoke, silent = self.height(), anyio.current_time(), False, anyio.current_time()
        while True:
            with anyio.move_on_after(_LOOK_S):
                return await self.process.wait()
            now, height = anyio.current_time(), self.height()
            lines.judge(height)
            if lines.seen > _MAX_LOG_BYTES:
                self.log.truncate(0)
                lines.seen = 0
            if self.place.rpc.exists():  # an engine opens it when it has read its log
                votes.tidy(self.height)
            if self.connections():
                spoke, silent = True, now
            elif spoke and now - silent >= _PATIENCE_S:
                return None
            if height != stands:
                stands, since = height, now
            elif now - since >= _STALLED_S:
                if _is_full(self.place.root):
                    raise Misconfigured(f"this producer keeps no block after {height}. {_MAKE_ROOM}")
                _log.warning(
                    "no block since %d for %d s: too few producers run, this is cut off, or clocks are wrong",
                    stands,
                    _STALLED_S,
                )
                since = now


class _Lines:
    """What the engine logs, line by line; `seen`: how far it was read."""

    def __init__(self, place: EnginePlace, seen: int) -> None:
        self._place, self.seen = place, seen
        self._begun, self._looks = b"", 0

    def judge(self, height: int) -> None:
        """Look for a failure in the lines since, and in the last one too when it has stood without an end.

        Raises
        ------
        Misconfigured
            The engine says that it failed.
        """
        try:
            with self._place.log.open("rb") as file:
                file.seek(self.seen)
                logged = file.read()
        except OSError:
            return  # the next look is soon
        whole = logged.rfind(b"\n") + 1
        self.seen += whole
        begun = logged[whole:]
        self._begun, self._looks = begun, self._looks + 1 if begun == self._begun else 1
        lines = logged[:whole].splitlines() + ([begun] if self._looks >= _LOOKS else [])
        failures = list(filter(_FAILURE.match, lines))
        if failures:
            raise Misconfigured(
                f"this producer's engine failed after block {height} and takes no part any more: see "
                f"{self._place.log}. {self._advice(failures)}"
            )

    def _advice(self, failures: list[bytes]) -> str:
        if any(_NO_ROOM in line for line in failures) or _is_full(self._place.root):
            return _MAKE_ROOM
        if any(map(_LATE.match, failures)):
            return (
                "The others' blocks are a minute or more ahead of its clock: set this machine's clock right, and start "
                "again"
            )
        return (
            "If the others go on, its state differs from theirs: set ledger.db aside, and all of engine/data "
            "but priv_validator_state.json, and start again, which gets every block from them"
        )


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder)[2] < _LEAST_FREE_BYTES
    except OSError:
        return False


def _die_with_davy() -> None:
    """Linux: the kernel kills this process when its parent ends, however that ends."""
    _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(_PATIENCE_S):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
