"""The demo's story: set the stage, let the market run, swap checkpoints, kill three processes, read what came of it.

Everything is done by `davy …` processes over sockets; this file reads the ledger through the client, as anybody could.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import anyio

from davy import models
from davy.cli.demo.cast import GOOD, Cast, Miner, Role, Validator
from davy.cli.demo.claims import Facts
from davy.cli.demo.live import Seen, Show
from davy.cli.demo.stage import Stage, StageFailed
from davy.ledger.client import RpcLedger
from davy.protocol.chain import EpochRecord, Metagraph
from davy.protocol.errors import DavyError
from davy.protocol.limits import EMISSION_PARTS
from davy.protocol.words import TOKEN, KeyRole, Uid, key_from_text

SEALED: Final = 1
OPEN: Final = 2
BLOCK_MS: Final = 250
STAKE: Final = 500 * TOKEN
_ADVERSARIES: Final = "davy.sims.adversaries"
_READY_S: Final = 60.0
_WITH_A_MODEL: Final = (*GOOD, Role.WEAK, Role.LIAR)


class Plan(NamedTuple):
    """How long the story is, in epochs of the sealed subnet, counted from the first one that paid by weights."""

    tempo: int = 10
    challenges: int = 16
    round_s: float = 2.0
    deadline_s: float = 5.0
    parallel: int = 16
    """Few, so that the demo is only slower on a slow machine."""
    swap_after: tuple[int, int] = (1, 3)
    """One good miner's checkpoint after the other's: what a copier saw is twice no longer so."""
    kill_after: int = 5
    end_after: int = 9
    wait_epochs: int = 60
    """So many epochs without weights, and the demo gives up."""
    sealed: str = ""
    """A hyperparameter of the sealed subnet, switched off by a sabotage."""


class Played(NamedTuple):
    """What a run came to."""

    facts: Facts
    phases: dict[str, float]
    news: list[str]


class Killed(NamedTuple):
    """Which miner was killed, who judges it, and the height at which the ledger was back."""

    miner: str
    validator: Validator
    uid: Uid
    height: int


class Story:
    """One run on one stage."""

    def __init__(
        self, stage: Stage, cast: Cast, plan: Plan, show: Show, changes: Mapping[str, tuple[str, ...]]
    ) -> None:
        self.stage, self.cast, self.plan, self.show = stage, cast, plan, show
        self.changes = changes
        """Words added to a node's command, by its name: what the sabotage tests change."""
        self.phases: dict[str, float] = {}
        self.news: list[str] = []
        self._began = time.monotonic()
        self._keys: dict[str, dict[str, str]] = {}
        self._survived: dict[str, str] = {}
        self._swap = 0
        self._killed: Killed | None = None

    async def run(self) -> Played:
        """Play from keys to the last epoch."""
        async with self._phase("keys and ledger"):
            await self._make_keys()
            await self._start_ledger()
        async with self._ledger() as ledger:
            async with self._phase("nodes register and start"):
                await self._start_nodes()
            async with self._phase("the market runs"):
                await self._market(ledger)
            async with self._phase("reading the ledger"):
                return Played(await self._facts(ledger), self.phases, self.news)

    async def run_plain(self) -> tuple[list[EpochRecord], dict[str, Uid]]:
        """Play without swap and kills; return the open subnet's epochs since all miners are paid, and UIDs."""
        await self._make_keys()
        await self._start_ledger()
        async with self._ledger() as ledger:
            await self._start_nodes()
            first = await self._until_weights_pay(ledger, len(self.cast.miners))
            await self._until_epoch(ledger, first + self.plan.end_after)
            records = await self._records(ledger, OPEN)
            return [r for r in records if r.epoch > first], await self._uids(ledger, OPEN)

    def say(self, line: str) -> None:
        """Tell a piece of news."""
        self.news.append(f"{self._seconds():5.1f} s  {line}")
        self.show.say(self._seconds(), line)

    async def _make_keys(self) -> None:
        async def make(name: str) -> None:
            self._keys[name] = await self.stage.do("key", "new", "--quick", home=name)

        await _all([lambda n=name: make(n) for name in self._names()], at_once=3)
        self.say(f"{len(self._keys)} homes with a coldkey and a hotkey each")

    async def _start_ledger(self) -> None:
        subnet = f"text:tempo={self.plan.tempo},immunity=10000,max_uids=32,max_validators=8"
        sealed = f"{subnet},{self.plan.sealed}" if self.plan.sealed else subnet
        granted = [word for k in self._keys.values() for word in ("--allocate", f"{k['coldkey']}=1000")]
        self.stage.start(
            "ledger", "up", "--home", str(self.stage.home("ledger")), "--port", "0", "--block-time", str(BLOCK_MS),
            "--parameters", "unbonding=100,anchor_slack=8", "--subnet", sealed,
            "--subnet", f"{subnet},commit_reveal=0", *granted,
        )  # fmt: skip
        with anyio.fail_after(_READY_S):
            while not self.stage.network.exists():
                self.stage.check()
                await anyio.sleep(0.05)
        # started again it must be found where it was
        port = json.loads(self.stage.network.read_bytes())["ledger"].rsplit(":", 1)[1]
        self.stage.amend("ledger", "--port", port)
        self.say(f"a ledger makes a block every {BLOCK_MS} ms; subnet 1 seals weights, subnet 2 does not")

    async def _start_nodes(self) -> None:
        # Validators first: their stake must have been held for two epochs before they may vote. Then who loads a model.
        await _all([lambda v=v: self._join_validator(v) for v in self.cast.validators], at_once=3)
        by_load = sorted(self.cast.miners, key=lambda m: m.role not in _WITH_A_MODEL)
        await _all([lambda m=m: self._join_miner(m) for m in by_load], at_once=4)
        self.say(f"{len(self.cast.miners)} miners and {len(self.cast.validators)} validators are registered")

    async def _join_validator(self, validator: Validator) -> None:
        await self._register(validator.name)
        await self.stage.do("stake", "add", str(STAKE // TOKEN), home=validator.name)
        self._start_validator(validator)

    async def _join_miner(self, miner: Miner) -> None:
        await self._register(miner.name)
        backend, options = self._backend(miner)
        if miner.role is Role.LIAR:
            backend = "huggingface"  # whose files it claims
        await self.stage.do("model", "register", "--backend", backend, *_options(options), home=miner.name)
        self._start_miner(miner)

    async def _register(self, name: str) -> None:
        await self.stage.do("register", "--netuid", str(SEALED), "--netuid", str(OPEN), home=name)

    def _start_miner(self, miner: Miner) -> None:
        backend, options = self._backend(miner)
        words = ["miner", "--netuid", str(SEALED), "--netuid", str(OPEN), "--rate", "200", "--backend", backend]
        self.stage.start(miner.name, *words, *_options(options), *self.changes.get(miner.name, ()))

    def _backend(self, miner: Miner) -> tuple[str, dict[str, str]]:
        tokenizer = {"folder": str(models.folder(models.GOOD[0]))}
        match miner.role:
            case Role.FIRST_GOOD | Role.SECOND_GOOD | Role.WEAK:
                first = models.GOOD[GOOD.index(miner.role)] if miner.role in GOOD else models.WEAK
                return "huggingface", {"folder": str(self._link(miner.name, models.folder(first)))}
            case Role.LIAR:
                return f"{_ADVERSARIES}.liar:Liar", tokenizer
            case Role.CONSTANT:
                return f"{_ADVERSARIES}.constant:Constant", tokenizer
            case Role.LOOKUP:
                return f"{_ADVERSARIES}.lookup:Lookup", tokenizer | {"cache": str(Path("~/.cache/davy").expanduser())}
            case Role.RELAY:
                return f"{_ADVERSARIES}.relay:Relay", tokenizer

    def _link(self, name: str, folder: Path) -> Path:
        """A miner's model folder: a link, so that a checkpoint is swapped by pointing it elsewhere."""
        link = self.stage.home(name) / "model"
        fresh = link.with_name("model.new")
        fresh.symlink_to(folder)
        fresh.replace(link)
        return link

    def _start_validator(self, validator: Validator) -> None:
        words = ["validator", "--netuid", str(SEALED), "--netuid", str(OPEN)]
        if validator.copies:
            words += ["--source", f"{_ADVERSARIES}.copy_weights:CopyWeights"]
        else:
            words += ["--challenges", str(self.plan.challenges), "--round", str(self.plan.round_s)]
            words += ["--deadline", str(self.plan.deadline_s), "--parallel", str(self.plan.parallel)]
        self.stage.start(validator.name, *words, *self.changes.get(validator.name, ()))

    async def _market(self, ledger: RpcLedger) -> None:
        first = await self._until_weights_pay(ledger)
        self.say(f"epoch {first}: the first weights pay")
        for role, after in zip(GOOD, self.plan.swap_after, strict=True):
            await self._until_epoch(ledger, first + after)
            await self._swap_checkpoint(ledger, role)
        await self._until_epoch(ledger, first + self.plan.kill_after)
        await self._kill_three(ledger)
        await self._until_epoch(ledger, first + self.plan.end_after)

    async def _swap_checkpoint(self, ledger: RpcLedger, role: Role) -> None:
        miner = self.cast.of(role)
        self._link(miner.name, models.folder(models.GOOD[1 - GOOD.index(role)]))
        self.stage.interrupt(miner.name, signal.SIGHUP)
        epoch = (await ledger.metagraph(SEALED)).subnet.epoch
        self._swap = self._swap or epoch
        self.say(f"epoch {epoch}: the {role} miner's checkpoint is swapped for the other good one")

    async def _kill_three(self, ledger: RpcLedger) -> None:
        """Kill a miner, a validator and the ledger, and see whether each comes back with what it had."""
        miner = self.cast.of(Role.WEAK)
        validator = next(v for v in self.cast.validators if not v.copies)
        uid = (await self._uids(ledger, SEALED))[miner.name]
        before = (await self._why(validator, uid))["challenges"]
        for name in (miner.name, validator.name):
            self.stage.kill(name)
        sent = await self.stage.do("transfer", self._keys[validator.name]["coldkey"], "1", home=miner.name)
        head = await ledger.head()
        self.stage.kill("ledger")
        self.say("kill -9: the weak miner, a validator, the ledger")
        self.stage.restart("ledger")
        with anyio.fail_after(_READY_S):
            now = await _height_above(ledger, head.height + 2)
        for name in (miner.name, validator.name):
            self.stage.restart(name)
        account = await ledger.account(key_from_text(KeyRole.COLDKEY, self._keys[miner.name]["coldkey"]))
        self._survived["the ledger"] = "" if account.nonce >= 1 and now > sent["height"] else "a transfer"
        after = (await self._why(validator, uid))["challenges"]
        self._survived["a validator"] = "" if after >= before > 0 else "what it knew of its miners"
        self._killed = Killed(miner.name, validator, uid, now)
        self.say("all three are back")

    async def _lost_by(self, k: Killed, uids: Mapping[str, Uid]) -> str:
        """What a killed miner lost: its UID, or being asked and scored under its old keys; empty for nothing."""
        if uids.get(k.miner) != k.uid:
            return "its UID"
        last = (await self._why(k.validator, k.uid))["verdicts"]
        return "" if any(v["reason"] == "scored" for v in last) else "its place among those who are asked"

    async def _why(self, validator: Validator, uid: Uid) -> Any:
        return await self.stage.do("why", "--netuid", str(SEALED), str(uid), home=validator.name)

    async def _facts(self, ledger: RpcLedger) -> Facts:
        issuance = await ledger.issuance()
        genesis = await ledger.genesis()
        granted = sum(a.amount for a in genesis.allocations)
        shares = sum(s.share for s in genesis.subnets)
        schedule = granted + issuance.height * (genesis.parameters.block_reward * shares // EMISSION_PARTS)
        sealed, sealed_uids = await self._records(ledger, SEALED), await self._uids(ledger, SEALED)
        if self._killed is not None:
            self._survived["a miner"] = await self._lost_by(self._killed, sealed_uids)
        return Facts(
            self.cast, sealed, await self._records(ledger, OPEN), sealed_uids, await self._uids(ledger, OPEN),
            {v.name: STAKE for v in self.cast.validators}, self._swap, issuance, schedule,
            self._killed.validator.name if self._killed else "", self._survived,
        )  # fmt: skip

    async def _records(self, ledger: RpcLedger, netuid: int) -> list[EpochRecord]:
        now = (await ledger.metagraph(netuid)).subnet.epoch
        found = [await ledger.epoch(netuid, n) for n in range(now)]
        return [r for r in found if r is not None]

    async def _uids(self, ledger: RpcLedger, netuid: int) -> dict[str, Uid]:
        names = self._hotkeys()
        return {names[n.hotkey]: n.uid for n in (await ledger.metagraph(netuid)).neurons if n.hotkey in names}

    async def _until_weights_pay(self, ledger: RpcLedger, miners: int = 1) -> int:
        last = (await ledger.metagraph(SEALED)).subnet.epoch + self.plan.wait_epochs
        return await self._until(ledger, lambda m: sum(n.incentive > 0 for n in m.neurons) >= miners, last)

    async def _until_epoch(self, ledger: RpcLedger, epoch: int) -> None:
        await self._until(ledger, lambda m: m.subnet.epoch >= epoch, epoch + 1)

    async def _until(self, ledger: RpcLedger, reached: Callable[[Metagraph], bool], last: int) -> int:
        """Watch the sealed subnet until something is so; returns its epoch then."""
        while True:
            self.stage.check()
            m = await ledger.metagraph(SEALED)
            self.show.look(Seen(self._seconds(), m, self._hotkeys()))
            if reached(m):
                return m.subnet.epoch
            if m.subnet.epoch > last:
                raise StageFailed(f"epoch {last} came before what the story waits for; see logs in {self.stage.root}")
            await anyio.sleep(BLOCK_MS / 1000)

    def _hotkeys(self) -> dict[bytes, str]:
        return {key_from_text(KeyRole.HOTKEY, k["hotkey"]): name for name, k in self._keys.items()}

    def _names(self) -> list[str]:
        return [*(m.name for m in self.cast.miners), *(v.name for v in self.cast.validators)]

    @asynccontextmanager
    async def _ledger(self) -> AsyncGenerator[RpcLedger]:
        network = json.loads(self.stage.network.read_bytes())
        async with RpcLedger(network["ledger"], bytes.fromhex(network["chain"])) as ledger:
            yield ledger

    @asynccontextmanager
    async def _phase(self, name: str) -> AsyncGenerator[None]:
        began = time.monotonic()
        yield
        self.phases[name] = round(time.monotonic() - began, 2)

    def _seconds(self) -> float:
        return time.monotonic() - self._began


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


async def _all(jobs: list[Callable[[], Coroutine[Any, Any, None]]], *, at_once: int) -> None:
    limit = anyio.CapacityLimiter(at_once)

    async def one(job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with limit:
            await job()

    async with anyio.create_task_group() as tasks:
        for job in jobs:
            tasks.start_soon(one, job)


def _options(options: Mapping[str, str]) -> list[str]:
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
