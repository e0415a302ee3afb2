"""Everybody in the demo: how each gets its keys, registers and is started, by the words an operator would type."""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import anyio

from davy import models
from davy.cli.demo.cast import GOOD, Cast, Miner, Role, Validator
from davy.cli.demo.chain import Chain
from davy.cli.demo.stage import Stage
from davy.host.files import whole_path
from davy.protocol.words import TOKEN, KeyRole, key_from_text

SEALED: Final = 1
OPEN: Final = 2
STAKE: Final = 500 * TOKEN
GATEWAY: Final = "gateway"
OUTSIDER: Final = "outsider"
_ADVERSARIES: Final = "davy.sims.adversaries"
_WITH_A_MODEL: Final = (*GOOD, Role.WEAK, Role.LIAR, Role.SELECTIVE)
_ON_BOTH: Final = ("--netuid", str(SEALED), "--netuid", str(OPEN))


class Work(NamedTuple):
    """What nodes are told to do."""

    challenges: int = 10
    round_s: float = 1.0
    deadline_s: float = 5.0
    parallel: int = 16
    """Few, so that the demo is only slower on a slow machine."""
    sealed: str = ""
    """A hyperparameter of the sealed subnet, switched off by a sabotage."""


class Nodes:
    """Homes and processes of everybody but the keyholders.

    Parameters
    ----------
    changes
        Words added to a node's command, by its name: what the sabotage tests change.
    engine
        See `davy.cli.demo.chain.Chain`.
    """

    def __init__(
        self, stage: Stage, cast: Cast, work: Work, changes: Mapping[str, tuple[str, ...]], *, engine: bool = False
    ) -> None:
        self.stage, self.cast, self.work, self._changes = stage, cast, work, changes
        self.chain = Chain(stage, engine=engine)
        self.keys: dict[str, dict[str, str]] = {}

    async def make_keys(self) -> None:
        """Make a home with a coldkey and a hotkey for each."""

        async def make(name: str) -> None:
            self.keys[name] = await self.stage.do("key", "new", "--quick", home=name)

        names = [*(m.name for m in self.cast.miners), *(v.name for v in self.cast.validators), GATEWAY, OUTSIDER]
        await do_all([lambda n=name: make(n) for name in names], at_once=3)

    async def start_ledger(self, roster: Path | None) -> None:
        """Start the chain, with keyholders if there is a roster."""
        subnet = f"text:tempo={self.chain.tempo},immunity=10000,max_uids=32,max_validators=8"
        sealed = f"{subnet},{self.work.sealed}" if self.work.sealed else subnet
        coldkeys = [k["coldkey"] for k in self.keys.values()]
        owner = self.keys.get(OUTSIDER, next(iter(self.keys.values())))["coldkey"]
        await self.chain.start((sealed, f"{subnet},commit_reveal=0"), coldkeys, owner, roster)

    async def join(self) -> None:
        """Register and start everybody of the cast."""
        # Validators first: their stake must have been held for two epochs before they may vote. Then who loads a model.
        # Whoever registered a model is halted with it: those two serve nothing, so that a halt of one leaves rivals.
        registrants = zip((GATEWAY, OUTSIDER), models.GOOD, strict=True)
        await do_all(
            [
                *(lambda v=v: self._join_validator(v) for v in self.cast.validators),
                *(lambda n=n, m=m: self._register_model(n, m) for n, m in registrants),
            ],
            at_once=5,
        )
        by_load = sorted(self.cast.miners, key=lambda m: m.role not in _WITH_A_MODEL)
        await do_all([lambda m=m: self._join_miner(m) for m in by_load], at_once=4)

    async def open_gateway(self) -> str:
        """Start a gateway under a hotkey that is no validator's, and give an outsider a token; the gateway's URL."""

        async def stake(name: str) -> None:
            await self._register(name)
            await self.stage.do("stake", "add", "10", home=name)

        await do_all([lambda n=name: stake(n) for name in (GATEWAY, OUTSIDER)], at_once=2)
        self.stage.start(GATEWAY, "gateway", *_ON_BOTH, "--port", "0", "--rate", "1000")
        line = await self.stage.until_said(GATEWAY, "answering users at ")
        return line.rsplit(" ", 1)[1]

    def hotkeys(self) -> dict[bytes, str]:
        """Names by hotkey."""
        return {key_from_text(KeyRole.HOTKEY, k["hotkey"]): name for name, k in self.keys.items()}

    def hotkey(self, name: str) -> bytes:
        """One node's."""
        return key_from_text(KeyRole.HOTKEY, self.keys[name]["hotkey"])

    def swap(self, name: str, model: str) -> None:
        """Point a miner's folder at another checkpoint, and let it look."""
        self._link(name, models.folder(model))
        self.stage.interrupt(name, signal.SIGHUP)

    def turn(self, name: str, model: str, *words: str) -> None:
        """Kill a miner and start it anew with another checkpoint and further words."""
        self.stage.kill(name)
        folder = self._link(name, models.folder(model))
        self.stage.start(name, *self._miner(), "--backend", "huggingface", "-o", f"folder={folder}", *words)

    async def _join_validator(self, validator: Validator) -> None:
        await self._register(validator.name)
        await self.stage.do("stake", "add", str(STAKE // TOKEN), home=validator.name)
        words = ["validator", *_ON_BOTH]
        if validator.copies:
            words += ["--source", f"{_ADVERSARIES}.copy_weights:CopyWeights"]
        else:
            words += ["--challenges", str(self.work.challenges), "--round", str(self.work.round_s)]
            words += ["--deadline", str(self.work.deadline_s), "--parallel", str(self.work.parallel), "--sparing"]
            words += ["--exchanges", str(self.stage.home(GATEWAY))]
        self.stage.start(validator.name, *words, *self._changes.get(validator.name, ()))

    async def _join_miner(self, miner: Miner) -> None:
        await self._register(miner.name)
        backend, options = self._backend(miner)
        if miner.role not in (*GOOD, Role.LIAR, Role.SELECTIVE):  # whose models are registered already
            await self.stage.do("model", "register", "--backend", backend, *_options(options), home=miner.name)
        words = ("--backend", backend, *_options(options))
        words += self._changes.get(miner.name, ())
        self.stage.start(miner.name, *self._miner(), *words, yields=miner.role in _WITH_A_MODEL)

    async def _register_model(self, name: str, model: str) -> None:
        options = {"folder": str(models.folder(model))}
        await self.stage.do("model", "register", "--backend", "huggingface", *_options(options), home=name)

    async def _register(self, name: str) -> None:
        await self.stage.do("register", *_ON_BOTH, home=name)

    @staticmethod
    def _miner() -> tuple[str, ...]:
        return ("miner", *_ON_BOTH, "--rate", "200")

    def _backend(self, miner: Miner) -> tuple[str, dict[str, str]]:
        shown = {"folder": str(models.folder(models.GOOD[0]))}
        match miner.role:
            case Role.FIRST_GOOD | Role.SECOND_GOOD | Role.WEAK:
                first = models.GOOD[GOOD.index(miner.role)] if miner.role in GOOD else models.WEAK
                return "huggingface", {"folder": str(self._link(miner.name, models.folder(first)))}
            case Role.LIAR:
                return f"{_ADVERSARIES}.liar:Liar", shown
            case Role.SELECTIVE:
                return f"{_ADVERSARIES}.selective:Selective", shown | {"weak": str(models.folder(models.WEAK))}
            case Role.CONSTANT:
                return f"{_ADVERSARIES}.constant:Constant", shown
            case Role.LOOKUP:
                return f"{_ADVERSARIES}.lookup:Lookup", shown | {"cache": str(whole_path(Path("~/.cache/davy")))}
            case Role.RELAY:
                return f"{_ADVERSARIES}.relay:Relay", shown

    def _link(self, name: str, folder: Path) -> Path:
        """A miner's model folder: a link, so that a checkpoint is swapped by pointing it elsewhere."""
        link = self.stage.home(name) / "model"
        fresh = link.with_name("model.new")
        fresh.symlink_to(folder)
        fresh.replace(link)
        return link


async def do_all(jobs: list[Callable[[], Coroutine[Any, Any, None]]], *, at_once: int) -> None:
    """Run jobs, so many at once."""
    limit = anyio.CapacityLimiter(at_once)

    async def one(job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with limit:
            await job()

    async with anyio.create_task_group() as tasks:
        for job in jobs:
            tasks.start_soon(one, job)


def _options(options: Mapping[str, str]) -> list[str]:
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
