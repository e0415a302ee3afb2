"""A real producer that keeps few blocks: its engine drops the older ones too, and old votes, and starts again."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import anyio
import msgspec
import pytest
from nacl import bindings

from davy.ledger.client import RpcLedger
from davy.ledger.driver.cometbft.engine import Engine
from davy.ledger.driver.cometbft.supervisor import EnginePlace
from davy.protocol.errors import Unreachable
from davy.protocol.words import KeyRole, key_text
from tests.ledger.driver.cometbft.engines import PATIENCE_S, Producers, engine, reach, until

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.engine]
KEEP = 100
KEPT = ("--snapshots", "20", "--keep", str(KEEP))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def first_of(place: EnginePlace) -> int:
    """The first block that an engine has, once it answers: davy tells of blocks while its engine starts."""
    while True:
        with suppress(Unreachable):
            async with Engine(place.rpc) as asked:
                said = msgspec.json.decode(await asked.relay("status", {}))
            return int(said["sync_info"]["earliest_block_height"])
        await anyio.sleep(0.1)


SLOW = """
import time
from davy.ledger.rules.machine import Machine
apply = Machine.apply_block
def slowly(*given):
    time.sleep(0.1)
    return apply(*given)
Machine.apply_block = slowly
"""
"""Replaying takes longer than several looks at the votes, as on a long chain."""


@contextmanager
def one_producer(folder: Path, parameters: str = "") -> Generator[tuple[Producers, EnginePlace]]:
    """A chain with one, which is started by whoever asks for it."""
    program = engine()
    if program is None:
        pytest.skip("there is no engine: `make engine` builds it, and needs Go")
    owner = key_text(KeyRole.COLDKEY, bindings.crypto_sign_seed_keypair(b"owner".ljust(32, b"."))[0])
    with ExitStack() as stack:
        producers = Producers(folder / "n", program, stack)
        producers.make(1, ("--owner", owner), block_time=0, parameters=parameters)
        try:
            yield producers, EnginePlace(producers.home(1) / "engine")
        finally:
            producers.stop()


async def killed(producers: Producers) -> None:
    producers.kill(1)
    await until(lambda: producers.engine_of(1) is None, "an engine without its application ends")


async def test_an_engine_whose_blocks_are_replayed_into_an_emptied_state_still_finds_its_votes(tmp_path: Path) -> None:
    with one_producer(tmp_path) as (producers, place):
        producers.start(1)
        async with RpcLedger(producers.url(1), producers.chain) as ledger:
            await reach(ledger, 60)
        await killed(producers)
        (place.votes / "wal").rename(place.votes / "wal.000")
        producers.forget_state(1)
        logged = place.log.stat().st_size
        producers.start(1, before=SLOW)
        async with RpcLedger(producers.url(1), producers.chain) as ledger:
            await reach(ledger, 70)
        assert b"WAL does not contain" not in place.log.read_bytes()[logged:]


async def test_an_engine_forgets_blocks_and_votes_and_starts_again(tmp_path: Path) -> None:
    with one_producer(tmp_path, "unbonding=5") as (producers, place):
        producers.start(1, options=KEPT)
        async with RpcLedger(producers.url(1), producers.chain) as ledger:
            await reach(ledger, 20)
            await killed(producers)
            piece = place.votes / "wal.000"
            (place.votes / "wal").rename(piece)  # as where it is killed when a piece has just become full
            producers.start(1, options=KEPT)
            await until(lambda: not piece.exists(), "a piece that no start reads again goes")
            await killed(producers)
            producers.start(1, options=KEPT)
            await reach(ledger, 2 * KEEP)
            with anyio.fail_after(PATIENCE_S):
                while await first_of(place) == 1 or await ledger.earliest() == 1:
                    await reach(ledger, (await ledger.head()).height + 1)
