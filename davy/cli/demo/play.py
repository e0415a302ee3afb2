"""The demo's story: set the stage, let the market run, swap checkpoints, kill three processes, read what came of it.

Everything is done by `davy …` processes over sockets; this file reads the ledger through the client, as anybody could.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from davy import models
from davy.cli.demo.cast import GOOD, Role, Validator
from davy.cli.demo.chain import LEDGER
from davy.cli.demo.claims import SEEN_SHARE, Facts, of_a_good_one
from davy.cli.demo.council import Council
from davy.cli.demo.live import Seen, Show
from davy.cli.demo.nodes import OPEN, SEALED, STAKE, Nodes
from davy.cli.demo.stage import Stage, StageFailed
from davy.cli.demo.users import Users
from davy.ledger.client import RpcLedger
from davy.protocol.chain import EpochRecord, Metagraph
from davy.protocol.errors import DavyError
from davy.protocol.limits import EMISSION_PARTS
from davy.protocol.words import KeyRole, Uid, key_from_text

_READY_S = 60.0


class Plan(NamedTuple):
    """How long the story is, in epochs of the sealed subnet. It waits for what is to happen, and not for ever."""

    wait_epochs: int = 60
    """For the first weights; then the demo gives up."""
    market: int = 1
    """Before anything is done to it."""
    notice: int = 60
    """At most, until a miner's pay has followed what it does."""
    end: int = 16
    """At most, after the last of it, until what the selective miner earned has become less than half."""


class Killed(NamedTuple):
    """Which miner was killed, who judges it, and the height at which the ledger was back."""

    miner: str
    validator: Validator
    uid: Uid
    height: int


class Market:
    """A market on a stage, open as long as the story lasts."""

    def __init__(self, nodes: Nodes, plan: Plan, show: Show, ledger: RpcLedger, told: Told) -> None:
        self.nodes, self.plan, self.show, self.ledger, self._told = nodes, plan, show, ledger, told
        self._survived: dict[str, str] = {}
        self._swap = 0
        self._killed: Killed | None = None
        self.users: Users | None = None

    def say(self, line: str) -> None:
        """Tell a piece of news."""
        self._told.say(line)

    def gateway_users(self) -> Users:
        """Who asks the gateway; a market without a council has none."""
        if self.users is None:
            raise StageFailed("this market has no gateway")
        return self.users

    async def play(self) -> Facts:
        """Let it run from the first pay on, with two swaps and three kills, to the plan's last epoch."""
        first = await self.until_weights_pay()
        self.say(f"epoch {first}: the first weights pay")
        await self.until_epoch(first + self.plan.market)
        # One after the other: what a copier saw is twice no longer so.
        await self._swap_checkpoint(GOOD[0])
        epoch, unpaid = await self._until_paid(Role.SELECTIVE, False)
        self.say(f"epoch {epoch}: the selective miner is {'not ' if unpaid else ''}paid for what its users got")
        if self.users is not None:
            self.users.calm()
        await self._swap_checkpoint(GOOD[1], meanwhile=self._kill_three)
        epoch, share = await self.until_outearned(Role.SELECTIVE)
        self.say(f"epoch {epoch}: the selective miner has earned {share:.2f} of a good one")
        return await self._facts()

    async def until_outearned(self, role: Role) -> tuple[int, float]:
        """An epoch, and more while a miner's pay of the whole run still shows from when it was taken for a good one.

        Returns the epoch, and its pay ÷ that of the good miner who earned less.
        """
        epoch = await self.epoch_now()
        last = epoch + self.plan.end
        while True:
            epoch += 1
            await self.until_epoch(epoch)
            share = await self.pay(role)
            if share <= SEEN_SHARE or epoch >= last:
                return epoch, share

    async def pay(self, role: Role) -> float:
        """What a miner has earned so far ÷ what the good one has who earned less."""
        return of_a_good_one(self.nodes.cast, role, await self.records(SEALED), await self.uids(SEALED))

    async def epoch_now(self) -> int:
        """Of the sealed subnet, now."""
        return (await self.ledger.metagraph(SEALED)).subnet.epoch

    async def _until_paid(self, role: Role, wanted: bool) -> tuple[int, bool]:
        """Wait until a miner is paid, or is not; the epoch, and whether it came to that."""
        hotkey = self.nodes.hotkey(self.nodes.cast.of(role).name)
        last = await self.epoch_now() + self.plan.notice
        so = False

        def reached(m: Metagraph) -> bool:
            nonlocal so
            so = any((n.incentive > 0) is wanted for n in m.neurons if n.hotkey == hotkey)
            return so or m.subnet.epoch >= last

        return await self.until(reached, last), so

    async def until_weights_pay(self, miners: int = 1) -> int:
        """Wait until so many miners have an incentive; the epoch then."""
        last = await self.epoch_now() + self.plan.wait_epochs
        return await self.until(lambda m: sum(n.incentive > 0 for n in m.neurons) >= miners, last)

    async def until_epoch(self, epoch: int) -> None:
        """Wait for an epoch of the sealed subnet."""
        await self.until(lambda m: m.subnet.epoch >= epoch, epoch + 1)

    async def until(self, reached: Callable[[Metagraph], bool], last: int) -> int:
        """Watch the sealed subnet until something is so; returns its epoch then.

        Raises
        ------
        StageFailed
            A process ended, or the epoch `last` was over before.
        """
        stage = self.nodes.stage
        while True:
            stage.check()
            m = await self.ledger.metagraph(SEALED)
            self.show.look(Seen(self._told.seconds(), m, self.nodes.hotkeys()))
            if reached(m):
                return m.subnet.epoch
            if m.subnet.epoch > last:
                raise StageFailed(f"epoch {last} came before what the story waits for; see logs in {stage.root}")
            await anyio.sleep(self.nodes.chain.block_ms / 1000)

    async def records(self, netuid: int) -> list[EpochRecord]:
        """What every epoch of a subnet paid."""
        now = (await self.ledger.metagraph(netuid)).subnet.epoch
        found = [await self.ledger.epoch(netuid, n) for n in range(now)]
        return [r for r in found if r is not None]

    async def uids(self, netuid: int) -> dict[str, Uid]:
        """By name."""
        names = self.nodes.hotkeys()
        return {names[n.hotkey]: n.uid for n in (await self.ledger.metagraph(netuid)).neurons if n.hotkey in names}

    async def _swap_checkpoint(self, role: Role, meanwhile: Callable[[], Awaitable[None]] | None = None) -> None:
        """Give a miner the other good checkpoint, and wait until it is paid for that; its evidence is gathered anew."""
        self.nodes.swap(self.nodes.cast.of(role).name, models.GOOD[1 - GOOD.index(role)])
        swapped = await self.epoch_now()
        self._swap = self._swap or swapped
        self.say(f"epoch {swapped}: the {role} miner's checkpoint is swapped for the other good one")
        if meanwhile is not None:
            await meanwhile()
        await self.until_epoch(swapped + 2)
        epoch, paid = await self._until_paid(role, True)
        self.say(f"epoch {epoch}: the {role} miner is {'' if paid else 'not '}paid, and serves the other checkpoint")

    async def _kill_three(self) -> None:
        """Kill a miner, a validator and the ledger, and see whether each comes back with what it had."""
        stage, keys = self.nodes.stage, self.nodes.keys
        miner = self.nodes.cast.of(Role.WEAK)
        validator = next(v for v in self.nodes.cast.validators if not v.copies)
        uid = (await self.uids(SEALED))[miner.name]
        before = (await self._why(validator, uid))["challenges"]
        for name in (miner.name, validator.name):
            stage.kill(name)
        sent = await stage.do("transfer", keys[validator.name]["coldkey"], "1", home=miner.name)
        head = await self.ledger.head()
        stage.kill(LEDGER)
        self.say("kill -9: the weak miner, a validator, the ledger")
        stage.restart(LEDGER)
        with anyio.fail_after(_READY_S):
            now = await _height_above(self.ledger, head.height + 2)
        for name in (miner.name, validator.name):
            stage.restart(name)
        account = await self.ledger.account(key_from_text(KeyRole.COLDKEY, keys[miner.name]["coldkey"]))
        self._survived["the ledger"] = "" if account.nonce >= 1 and now > sent["height"] else "a transfer"
        after = (await self._why(validator, uid))["challenges"]
        # Rounds leave the window meanwhile; one that begins anew has none.
        self._survived["a validator"] = "" if after >= before / 2 > 0 else "what it knew of its miners"
        self._killed = Killed(miner.name, validator, uid, now)
        self.say("all three are back")

    async def _lost_by(self, k: Killed, uids: Mapping[str, Uid]) -> str:
        """What a killed miner lost: its UID, or being asked and scored under its old keys; empty for nothing."""
        if uids.get(k.miner) != k.uid:
            return "its UID"
        last = (await self._why(k.validator, k.uid))["verdicts"]
        return "" if any(v["reason"] == "scored" for v in last) else "its place among those who are asked"

    async def _why(self, validator: Validator, uid: Uid) -> Any:
        return await self.nodes.stage.do("why", "--netuid", str(SEALED), str(uid), home=validator.name)

    async def _facts(self) -> Facts:
        issuance = await self.ledger.issuance()
        genesis = await self.ledger.genesis()
        granted = sum(a.amount for a in genesis.allocations)
        shares = sum(s.share for s in genesis.subnets)
        schedule = granted + issuance.height * (genesis.parameters.block_reward * shares // EMISSION_PARTS)
        sealed, sealed_uids = await self.records(SEALED), await self.uids(SEALED)
        if self._killed is not None:
            self._survived["a miner"] = await self._lost_by(self._killed, sealed_uids)
        cast = self.nodes.cast
        return Facts(
            cast, sealed, await self.records(OPEN), sealed_uids, await self.uids(OPEN),
            {v.name: STAKE for v in cast.validators}, self._swap, issuance, schedule,
            self._killed.validator.name if self._killed else "", self._survived,
        )  # fmt: skip


class Told:
    """News and phases, as they come."""

    def __init__(self, show: Show) -> None:
        self.news: list[str] = []
        self.phases: dict[str, float] = {}
        self._show = show
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def say(self, line: str) -> None:
        """Tell a piece of news."""
        self.news.append(f"{self.seconds():5.1f} s  {line}")
        self._show.say(self.seconds(), line)

    @asynccontextmanager
    async def phase(self, name: str) -> AsyncGenerator[None]:
        """Note how long something took."""
        began = time.monotonic()
        yield
        self.phases[name] = round(time.monotonic() - began, 2)


@asynccontextmanager
async def market(
    nodes: Nodes, plan: Plan, show: Show, told: Told, council: Council | None = None
) -> AsyncGenerator[Market]:
    """Open a market: keys, ledger and nodes; with keyholders, and a gateway and its users, if there is a council."""
    async with told.phase("keys and ledger"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(nodes.make_keys)
            if council is not None:
                tasks.start_soon(council.found)
        await nodes.start_ledger(council.roster if council else None)
        told.say(f"{len(nodes.keys)} homes; {nodes.chain.told}")
    network = json.loads(nodes.stage.network.read_bytes())
    async with (
        RpcLedger(network["ledger"], bytes.fromhex(network["chain"])) as ledger,
        anyio.create_task_group() as tasks,
    ):
        opened = Market(nodes, plan, show, ledger, told)
        async with told.phase("nodes register and start"):
            await nodes.join()
            if council is not None:
                await council.belong(nodes.chain.genesis)
                opened.users = Users(await nodes.open_gateway(), seed=1)
                tasks.start_soon(opened.users.ask)
            told.say(f"{len(nodes.cast.miners)} miners and {len(nodes.cast.validators)} validators are registered")
        yield opened
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def on_stage(root: Path, *, keep: bool) -> AsyncGenerator[Stage]:
    """Open a stage; whatever happens, its processes end, and its folder goes unless it is to be kept."""
    stage = Stage(root, threads=max(1, (os.cpu_count() or 1) // 2))
    try:
        yield stage
    finally:
        with anyio.CancelScope(shield=True):
            await stage.close()
        if not keep:
            shutil.rmtree(root, ignore_errors=True)


async def _height_above(ledger: RpcLedger, height: int) -> int:
    """Wait until the ledger answers with a higher block."""
    while True:
        try:
            now = (await ledger.head()).height
        except DavyError:
            now = 0
        if now > height:
            return now
        await anyio.sleep(0.1)
