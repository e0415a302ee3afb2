"""Faults of producers that act against the others: they send wrong chunks, compute another state, or vote twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio

from davy.ledger.client import RpcLedger
from davy.ledger.rules.producers import PRODUCER_BOND
from davy.ledger.rules.records import PRODUCERS, ProducerRecord
from davy.protocol.encoding import decode
from davy.protocol.limits import MAX_RESULT_BYTES
from davy.protocol.transaction import Transfer
from davy.protocol.words import TOKEN
from tests.faults.market import keys
from tests.faults.net import COLDKEY, COUNT, Heal, Hostile, Net
from tests.ledger.driver.cometbft.engines import PATIENCE_S, reach, until
from tests.ledger.driver.cometbft.newcomers import AGAINST_ALL, LARGER_CHUNKS, REFUSED, seat_for, seats, twin, voters

_BEFORE: Final = f"""{LARGER_CHUNKS}
import os, sys
from davy.ledger.driver.cometbft import application
from davy.ledger.rules.machine import Machine
def told(what):
    return os.path.exists(os.path.join(sys.argv[sys.argv.index("--home") + 1], what))
class Liar(snapshots.Snapshots):
    def chunk(self, *which):
        sent = super().chunk(*which)
        return sent[:-1] + b"?" if told("lies") else sent
    def due(self, height):
        return super().due(height) and not told("rests")
application.Snapshots = Liar
apply = Machine.apply_block
def drawn(self, *block):
    done = apply(self, *block)
    return done._replace(app_hash=os.urandom(32)) if told("diverges") else done
Machine.apply_block = drawn
"""
HOSTILE: Final = Hostile(_BEFORE, ("--snapshots", "20"))
"""Honest, until a file in the home says otherwise; states are offered often, and in small chunks."""


async def wrong_chunks(net: Net, whom: Sequence[int]) -> Heal:
    """They send wrong chunks of the state; one more engine fetches it all the same, from the one that is left."""
    (asked,) = (n for n in range(1, COUNT + 1) if n not in whom)
    flags = [net.producers.home(n) / "lies" for n in whom] + await _rest(net)
    for flag in flags:
        flag.touch()
    fifth = net.producers.join(asked)
    net.producers.start(fifth)

    async def heal() -> None:
        async with RpcLedger(net.producers.url(fifth), net.producers.chain) as joined:
            await reach(joined, (await net.client(asked).head()).height)
            assert await joined.earliest() > 1, "it never had the first blocks"
            since = (await joined.head()).height
            async with joined.blocks(since) as theirs, net.client(asked).blocks(since) as ours:
                assert await anext(theirs) == await anext(ours)
        assert REFUSED in net.producers.log(fifth), "a wrong chunk is refused, and its sender"
        net.producers.end(fifth)
        for flag in flags:
            flag.unlink()

    return heal


async def _rest(net: Net) -> list[Path]:
    """Let all have the same newest snapshot and take no other; returns the files that tell them so.

    Engines tell of theirs once, so a newer one would be known of whoever was asked last, and fetched from nobody else.
    """
    homes = [net.producers.home(n) for n in range(1, COUNT + 1)]
    flags = [home / "rests" for home in homes]
    with anyio.fail_after(PATIENCE_S):
        while True:
            for flag in flags:
                flag.touch()
            for n in range(1, COUNT + 1):
                await _keeps_up(net, n)  # what was begun before is written
            newest = {max((p.name for p in (home / "snapshots").iterdir()), key=_height) for home in homes}
            if len(newest) == 1:
                (name,) = newest
                told = {(home / "snapshots" / name / "hashes").read_bytes() for home in homes}
                assert len(told) == 1, f"snapshots of block {name} differ: each could be fetched from one alone"
                return flags
            for flag in flags:
                flag.unlink()
            await reach(net.client(1), (await net.client(1).head()).height + 1)


async def _keeps_up(net: Net, one: int) -> None:
    """Wait until it has a block that came after this was asked."""
    other = net.client(next(n for n in range(1, COUNT + 1) if n != one))
    await reach(net.client(one), (await other.head()).height + 1)


def _height(snapshot: str) -> int:
    """By its name."""
    return int(snapshot.split(".")[0])


async def diverge(net: Net, whom: Sequence[int]) -> Heal:
    """What it computes is another state each time: its ledger ends, says so, and gets every block from the others."""
    (one,) = whom
    flag, said = net.producers.home(one) / "diverges", len(net.producers.log(one))
    flag.touch()
    await until(lambda: net.producers.ended(one) is not None, "an engine that fails ends the pair")
    assert net.producers.ended(one) == 2
    assert "its state differs from theirs" in net.producers.log(one)[said:]

    async def heal() -> None:
        flag.unlink()
        net.producers.forget_state(one)
        net.producers.forget_blocks(one)
        net.producers.start(one)

    return heal


async def vote_twice(net: Net, whom: Sequence[int]) -> Heal:
    """A fifth producer gets a seat for a bond, and two engines vote with its key: the bond burns, and the seat is lost.

    It joins by the ledger of the one that is drawn.
    """
    (asked,) = whom
    ledger, producers = net.client(asked), net.producers
    n = producers.join(asked, "--every-block")
    owner = keys(f"owner of producer {n}")
    await net.done(COLDKEY, Transfer(owner[0], PRODUCER_BOND + TOKEN))
    producers.start(n)
    async with RpcLedger(producers.url(n), producers.chain) as fifth:
        await reach(fifth, (await ledger.head()).height)
    seat = seat_for(producers, n, owner[0], PRODUCER_BOND)
    await net.done(owner, seat)
    with anyio.fail_after(PATIENCE_S):
        while seat.producer not in await voters(ledger):
            pass  # each look waits for a block
    second = twin(producers, n)
    producers.start(n)
    producers.start(second, before=AGAINST_ALL)

    async def heal() -> None:
        with anyio.fail_after(3 * PATIENCE_S):  # both must catch up first
            while seat.producer in await seats(ledger):
                assert producers.ended(n) is producers.ended(second) is None
                await reach(ledger, (await ledger.head()).height + 1)
        for each in net.clients:
            await reach(each, (await ledger.head()).height)
            value = await each.proved(PRODUCERS.tag + seat.producer)
            assert value is not None
            record = decode(value, ProducerRecord, limit=MAX_RESULT_BYTES)
            assert (record.bond, record.convicted > record.registered) == (0, True), record
        producers.end(n, second)

    return heal
