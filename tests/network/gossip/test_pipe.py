"""Frames between a node and its process: bounded, and strictly decoded by both."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.network.gossip.pipe import LENGTH, Frames, Give, Heard, State, Up, batches, framed
from davy.network.gossip.route import GossipRoute, Listening, gossip_seed
from davy.protocol.encoding import Wire, encode
from davy.protocol.errors import TooLarge
from davy.protocol.gossip import MAX_GOSSIP_FRAME_BYTES, MAX_GOSSIP_ORDERS
from davy.protocol.limits import MAX_SIGNED_ORDER_BYTES
from davy.protocol.ports import Clock
from davy.protocol.words import KeyRole
from tests.killswitch.story import START, Story
from tests.twins import LoopClock, MemoryStore, SeededKeys

pytestmark = pytest.mark.anyio
PEER = bytes(range(32))


class Hasty(LoopClock):
    """A clock on which pauses between two starts are a thousandth."""

    async def sleep_until(self, t: int) -> None:
        await anyio.sleep(max(0, t - self.now()) / 1_000_000)


def route(story: Story, launch: tuple[str, ...], clock: Clock | None = None) -> tuple[Guard, GossipRoute]:
    clock = clock or Hasty(START)
    keys = SeededKeys(1)
    guard = Guard(first_state(story.genesis), keys=keys, clock=clock, store=MemoryStore())
    return guard, GossipRoute(guard, keys, clock, launch, Listening("127.0.0.1", 0))


def saying(folder: Path, *words: bytes, and_then: str = "sys.stdin.buffer.read()") -> tuple[str, ...]:
    """A process that says these bytes and then does something else."""
    script = folder / "process.py"
    said = b"".join(words)
    script.write_text(f"import os, sys\nsys.stdout.buffer.write({said!r})\nsys.stdout.flush()\n{and_then}\n")
    return sys.executable, "-I", str(script)


@pytest.mark.parametrize("step", [1, 3, 1_000_000])
def test_frames_are_cut_wherever_reads_end(step: int) -> None:
    words: list[Wire] = [State(1, 2, 3), Give((b"a" * 300, b"b")), Up(5, PEER)]
    stream = b"".join(map(framed, words))
    frames = Frames()
    cut = [body for at in range(0, len(stream), step) for body in frames.cut(stream[at : at + step])]
    assert cut == [encode(w) for w in words]


def test_a_frame_that_announces_too_much_is_not_waited_for() -> None:
    assert list(Frames().cut(LENGTH.pack(MAX_GOSSIP_FRAME_BYTES))) == []
    with pytest.raises(TooLarge):
        list(Frames().cut(LENGTH.pack(MAX_GOSSIP_FRAME_BYTES + 1)))


@pytest.mark.parametrize("size", [1, 300, MAX_SIGNED_ORDER_BYTES])
def test_each_batch_fits_into_a_message(size: int) -> None:
    raws = [bytes([n % 256]) * size for n in range(2 * MAX_GOSSIP_ORDERS + 1)]
    parts = list(batches(raws))
    assert [raw for part in parts for raw in part] == raws
    assert all(len(encode(Heard(part))) <= MAX_GOSSIP_FRAME_BYTES for part in parts)
    assert list(batches([])) == []


def test_the_identity_is_the_hotkey_s_and_the_chain_s() -> None:
    one = gossip_seed(SeededKeys(1), bytes(32))
    assert len(one) == 32
    assert one == gossip_seed(SeededKeys(1), bytes(32))
    assert len({one, gossip_seed(SeededKeys(2), bytes(32)), gossip_seed(SeededKeys(1), PEER)}) == 3
    assert SeededKeys(1).public(KeyRole.HOTKEY) != one


class TestProcess:
    """What a node makes of a process; each is a real one."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    async def until(self, route: GossipRoute, starts: int) -> None:
        with anyio.fail_after(120):
            while route.starts < starts:
                await route.change()

    @pytest.mark.parametrize(
        "word",
        [
            b"what a library prints\n",
            LENGTH.pack(2**32 - 1),
            LENGTH.pack(2) + b"\xc1\xc1",
            framed(Up(1, PEER)) + framed(Up(2, PEER)),
            framed(Up(0, PEER)),
            framed(Give((b"a word of nodes",))),
        ],
        ids=["print", "too long", "no message", "up twice", "no port", "a node's word"],
    )
    async def test_a_process_that_says_what_it_must_not_is_ended(self, tmp_path: Path, word: bytes) -> None:
        guard, r = route(Story(), saying(tmp_path, word))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(r.run)
            await self.until(r, 3)
            tasks.cancel_scope.cancel()
        assert guard.state.orders == {}

    @pytest.mark.parametrize(
        "and_then", ["", "os._exit(3)", "os.kill(os.getpid(), 9)", "raise SystemExit(1)"], ids=["0", "3", "killed", "1"]
    )
    async def test_a_process_that_ends_is_started_again(self, tmp_path: Path, and_then: str) -> None:
        _, r = route(Story(), saying(tmp_path, framed(Up(9, PEER)), and_then=and_then))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(r.run)
            await self.until(r, 3)
            tasks.cancel_scope.cancel()

    async def test_one_that_cannot_be_started_stops_nothing(self, tmp_path: Path) -> None:
        guard, r = route(Story(), (str(tmp_path / "nothing"),))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(r.run)
            await anyio.sleep(0.05)
            assert (r.starts, r.pid, r.place) == (0, None, None)
            tasks.cancel_scope.cancel()
        assert guard.state.orders == {}

    async def test_what_it_says_is_verified_anew(self, tmp_path: Path) -> None:
        """It holds a large library and speaks with strangers: were it turned, it could say anything."""
        story = Story()
        halt = story.given[story.halt(0, 3)]
        forged = bytearray(story.given[story.halt(0, 2, quietly=True)])
        forged[-3] ^= 1
        words = framed(Up(9, PEER)) + framed(Heard((bytes(forged), b"junk", halt)))
        guard, r = route(story, saying(tmp_path, words))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(r.run)
            with anyio.fail_after(120):
                while not guard.state.orders:
                    await guard.change()
            tasks.cancel_scope.cancel()
        assert [v.raw for v in guard.state.orders.values()] == [halt]
        assert not guard.is_open, "gossip is no pull: its peers may all be one"
