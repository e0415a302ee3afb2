"""What can befall producers and nodes, and how it ends: each fault returns what heals it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import anyio

from davy.ledger.client import RpcLedger
from davy.ledger.commits import CommittedHeader
from davy.ledger.rules.records import PARAMETERS
from davy.protocol.encoding import decode
from davy.protocol.errors import DavyError, Refused, Unreachable
from davy.protocol.limits import MAX_COMMITTED_HEADER_BYTES
from davy.protocol.recorded import BRAKE_KEY
from tests.faults.hostile import diverge, vote_twice, wrong_chunks
from tests.faults.killed_nodes import KILLED_NODES
from tests.faults.liar import lying
from tests.faults.net import COUNT, Heal, Net
from tests.faults.skewed_engine import SKEWED
from tests.ledger.driver.cometbft.engines import PATIENCE_S, reach, until

HOUR_S = 3_600
TOLERATED_S = 60
"""How far ahead of its own clock a block's time may be for an engine (its `block_time_tolerance`)."""
QUESTIONS = 12
"""Asked of a liar in one perturbation."""


async def kill(net: Net, whom: Sequence[int]) -> Heal:
    """SIGKILL to davy; its engine ends with it."""
    await net.kill(whom)
    return _started(net, whom)


async def kill_engine(net: Net, whom: Sequence[int]) -> Heal:
    """SIGKILL to the engine alone, which davy starts again by itself."""
    for n in whom:
        before = net.producers.engine_of(n)
        if before is not None:
            with suppress(ProcessLookupError):
                os.kill(before, signal.SIGKILL)

    async def heal() -> None:
        for n in whom:
            await until(lambda n=n: net.producers.engine_of(n) is not None, "the engine is started again")

    return heal


async def pause(net: Net, whom: Sequence[int]) -> Heal:
    """SIGSTOP to davy and its engine: connections stay open, and nobody answers."""
    stopped: list[int] = []
    for n in whom:
        await until(lambda n=n: net.producers.engine_of(n) is not None, "its engine runs")
        stopped += [net.producers.pid(n), net.producers.engine_of(n) or 0]
    for pid in filter(None, stopped):
        os.kill(pid, signal.SIGSTOP)

    async def heal() -> None:
        for pid in filter(None, stopped):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    return heal


async def restart(net: Net, whom: Sequence[int]) -> Heal:
    """SIGTERM, and a farewell."""
    for n in whom:
        net.producers.end(n)
    return _started(net, whom)


async def replay(net: Net, whom: Sequence[int]) -> Heal:
    """Killed, and davy's file is gone: all blocks come again from its own engine."""
    await net.kill(whom)
    for n in whom:
        net.producers.forget_state(n)
    return _started(net, whom)


async def resync(net: Net, whom: Sequence[int]) -> Heal:
    """Killed, and all blocks are gone, davy's and the engine's: they come from the others."""
    await net.kill(whom)
    for n in whom:
        net.producers.forget_state(n)
        net.producers.forget_blocks(n)
    return _started(net, whom)


async def cut_off(net: Net, whom: Sequence[int]) -> Heal:
    """Its wire is pulled: the others and the client do not reach it, nor each of these another."""
    assert net.networks is not None, "the manifest needs namespaces"
    networks = net.networks
    networks.move(whom, "b")

    async def heal() -> None:
        networks.move(whom, "a")

    return heal


async def skew(net: Net, whom: Sequence[int]) -> Heal:
    """Its engine's clock is an hour ahead: votes in commits are of then, and no block's time is."""
    others = [n for n in range(1, COUNT + 1) if n not in whom]
    ledger = net.client(others[0])
    for n in whom:
        net.producers.end(n)
    net.producers.start(*whom, program=SKEWED, skew=f"{HOUR_S}s")
    first = (await ledger.head()).height
    with anyio.fail_after(PATIENCE_S):
        while not await _votes_of_later(ledger):
            pass  # each look waits for a block
    newest = (await ledger.head()).height + 3
    await reach(ledger, newest)  # a block bears the time that the votes for the one before it tell

    async def heal() -> None:
        now = time.time()
        async with ledger.blocks(first) as heads:
            async for head in heads:
                assert abs(head.time / 1_000 - now) < HOUR_S / 2, f"block {head.height} has the wrong clock's time"
                if head.height >= newest:
                    break
        for n in whom:
            net.producers.end(n)
        net.producers.start(*whom)

    return heal


async def skew_most(net: Net, whom: Sequence[int]) -> Heal:
    """The clocks of three are more than a minute ahead: blocks bear their time, and the fourth takes no part."""
    (right,) = (n for n in range(1, COUNT + 1) if n not in whom)
    net.producers.end(*whom)
    net.producers.start(*whom, program=SKEWED, skew=f"{TOLERATED_S + 15}s")
    await _gives_up(net, right)

    async def heal() -> (
        None
    ):  # each block is a millisecond later than the one before, until their clocks have caught up
        net.producers.end(*whom)
        net.producers.start(*whom)
        ledger = net.client(whom[0])
        with anyio.fail_after(PATIENCE_S):
            while not await _is_of_now(ledger):  # noqa: ASYNC110  # of other processes, which set no event here
                await anyio.sleep(1)
        net.producers.start(right)

    return heal


async def slow(net: Net, whom: Sequence[int]) -> Heal:
    """The clock of one is more than a minute slow: it takes all blocks for wrong and says so, and the others go on."""
    (one,) = whom
    net.producers.end(one)
    net.producers.start(one, program=SKEWED, skew=f"-{TOLERATED_S + 15}s")
    await _gives_up(net, one)

    async def heal() -> None:
        net.producers.start(one)

    return heal


async def _gives_up(net: Net, one: int) -> None:
    """Its ledger ends by itself, and tells whose clock is wrong."""
    await until(lambda: net.producers.ended(one) is not None, "an engine that fails ends the pair")
    assert net.producers.ended(one) == 2
    assert "set this machine's clock right" in net.producers.log(one)


async def _is_of_now(ledger: RpcLedger) -> bool:
    """Whether the newest block's time is not ahead."""
    with suppress(Unreachable, Refused):
        return (await ledger.head()).time <= time.time() * 1_000
    return False


async def late(net: Net, whom: Sequence[int]) -> Heal:
    """The clock of one is half a minute slow while another is away: the middle one of three votes tells the time.

    Its engine waits until it is past the genesis by its own clock.
    """
    slow, away = whom
    ledger = net.client(next(n for n in range(1, COUNT + 1) if n not in whom))
    await net.kill([away])
    net.producers.end(slow)
    net.producers.start(slow, program=SKEWED, skew=f"-{TOLERATED_S // 2}s")
    with anyio.fail_after(PATIENCE_S):
        while not await _a_vote_says_at_least(ledger):
            pass  # each look waits for a block
    began, first = time.time(), (await ledger.head()).height

    async def heal() -> None:
        await reach(ledger, first + 4)
        assert (await ledger.head()).time >= began * 1_000, "time stands still with one slow clock"
        net.producers.end(slow)
        net.producers.start(slow, away)

    return heal


async def _a_vote_says_at_least(ledger: RpcLedger) -> bool:
    """Whether a vote for a new block tells the least that one may: a millisecond more than the block does."""
    c = await _new_commit(ledger)
    least = divmod(c.header.seconds * 10**9 + c.header.nanos + 10**6, 10**9)
    return any((vote.seconds, vote.nanos) == least for vote in c.votes)


async def _votes_of_later(ledger: RpcLedger) -> bool:
    """Whether a new block's commit holds a vote that tells an hour from now."""
    return any(vote.seconds > time.time() + HOUR_S / 2 for vote in (await _new_commit(ledger)).votes)


async def _new_commit(ledger: RpcLedger) -> CommittedHeader:
    """Of a block that is made after this was asked; none comes while two are on their way back."""
    while True:
        with suppress(Unreachable):
            raw = (await ledger.saved_proof(PARAMETERS.tag)).header
            return decode(raw, CommittedHeader, limit=MAX_COMMITTED_HEADER_BYTES)


async def lie(net: Net, whom: Sequence[int]) -> Heal:
    """The address of a ledger is taken by a liar: a client is told the truth, or refuses what it is told."""
    refused = 0
    honest = net.client(whom[0])
    parameters = await honest.proved(PARAMETERS.tag)
    for _ in range(QUESTIONS):
        async with (
            lying(net.producers.url(whom[0]), net.drawn.lies) as url,
            RpcLedger(url, net.producers.chain) as deceived,
        ):
            try:
                said = await deceived.head()
                async with honest.blocks(said.height - 1) as heads:
                    assert await anext(heads) == said, "a head that is none"
                assert await deceived.proved(PARAMETERS.tag) == parameters, "a value that is none"
                assert await deceived.proved(BRAKE_KEY) is not None
            except DavyError:
                refused += 1
    assert refused, "nothing was changed in what the liar told"

    async def heal() -> None:
        pass

    return heal


def _started(net: Net, whom: Sequence[int]) -> Heal:
    async def heal() -> None:
        net.producers.start(*whom)

    return heal


KINDS: dict[str, Callable[[Net, Sequence[int]], Awaitable[Heal]]] = {
    "kill": kill,
    "kill-engine": kill_engine,
    "pause": pause,
    "restart": restart,
    "replay": replay,
    "resync": resync,
    "cut-off": cut_off,
    "split": cut_off,
    "skew": skew,
    "skew-most": skew_most,
    "slow": slow,
    "late": late,
    "lie": lie,
    "wrong-chunks": wrong_chunks,
    "diverge": diverge,
    "vote-twice": vote_twice,
    **KILLED_NODES,
}
