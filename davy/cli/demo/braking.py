"""The demo's second half: a good model is accused, halted everywhere, and lifted; a rogue goes on and is convicted.

It is played on the market of the first half, by the keyholders of `davy.cli.demo.council`, and seen by users of the
gateway and by an outsider who asks nodes directly.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import anyio
from anyio import to_thread

from davy import models
from davy.cli.demo.brake_claims import BrakeFacts, Paid, Rogue
from davy.cli.demo.cast import Role
from davy.cli.demo.council import BY_HAND, Council, Given
from davy.cli.demo.nodes import OUTSIDER, SEALED
from davy.cli.demo.play import Market
from davy.cli.demo.prober import Answers, Prober, prober
from davy.cli.demo.stage import PASSWORD
from davy.cli.demo.users import Users
from davy.host.home import Home
from davy.models.checkpoint import manifest_of, open_checkpoint
from davy.protocol.chain import EpochRecord, Metagraph, Neuron
from davy.protocol.encoding import encode
from davy.protocol.errors import DavyError
from davy.protocol.manifest import model_id
from davy.protocol.words import ModelId

_STREAMS: Final = 3
_SOON_S: Final = 20.0
_BACK_S: Final = 60.0
"""For a miner that was killed: it starts, and some blocks must come before it answers."""
_REFUSALS: Final = 5
"""So often must a miner that came back refuse."""
_AT_STAKE: Final = "5"
"""Tokens that the rogue has to lose."""
_NO_GUARD: Final = ("--brake", "davy.sims.adversaries.sabotage:no_guard")


class Braking:
    """The second half, on a market that runs.

    Parameters
    ----------
    by_book
        Whether keyholders bring orders to nodes themselves, too; the ledger alone must do.
    """

    def __init__(self, market: Market, council: Council, users: Users, *, by_book: bool = True) -> None:
        self._market, self._council, self._users, self._by_book = market, council, users, by_book
        self._nodes = market.nodes
        self._good = self._nodes.cast.of(Role.FIRST_GOOD).name
        self._rogue = self._nodes.cast.of(Role.WEAK).name

    async def play(self) -> BrakeFacts:
        """Play it; what was seen."""
        model = (await self._neuron(self._good)).model[0].model_id
        await to_thread.run_sync(self._back_up)
        outsider = Home.open(self._nodes.stage.home(OUTSIDER))
        async with prober(outsider, PASSWORD, self._market.ledger, SEALED) as seen:
            two = ""
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._turn_rogue, model)
                two = await self._council.try_with_too_few(
                    "halt", "model", model.hex(), reason="two of five accuse it", by_hand=()
                )
                self._market.say(f"two of five cannot halt it: {two}")
            before = (await self._market.records(SEALED))[-1]
            halt, stopped, watched = await self._halt(model, seen)
            attested = await self._until_all_attest(halt)
            three, held = "", list[tuple[Answers, Answers, Rogue]]()

            async def hold() -> None:
                restarted, restored = await self._back_again(seen)
                held.append((restarted, restored, await self._convict(seen, model)))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hold)
                three = await self._council.try_with_too_few(
                    "lift", halt.id.hex(), reason="three of five would lift", by_hand=BY_HAND[:1]
                )
                self._market.say(f"three of five cannot lift it: {three}")
            paid = await self._paid(halt, before)
            lift, resumed = await self._lift(halt, model)
        drill, drilled, answered = await self._drill(model)
        return BrakeFacts(
            everybody=len(self._names()),
            halt=halt,
            too_few_to_halt=two,
            stopped=stopped,
            watched=watched,
            ends=tuple(self._users.ended),
            attested=attested,
            restarted=held[0][0],
            restored=held[0][1],
            rogue=held[0][2],
            paid=paid,
            too_few_to_lift=three,
            lift=lift,
            resumed=resumed,
            drill=drill,
            drilled=drilled,
            answered_in_drill=answered,
            records=await self._market.records(SEALED),
        )

    async def _turn_rogue(self, model: ModelId) -> None:
        """The weak miner takes the accused model's files, and a guard that obeys nothing."""
        name = next(n for n in models.GOOD if model_id(manifest_of(open_checkpoint(models.folder(n)))) == model)
        await self._nodes.stage.do("stake", "add", _AT_STAKE, home=self._rogue)
        self._nodes.turn(self._rogue, name, *_NO_GUARD)
        with anyio.fail_after(60):
            while not (n := await self._neuron(self._rogue)).model or n.model[0].model_id != model:
                self._nodes.stage.check()
                await anyio.sleep(0.2)
        self._market.say("the weak miner turned rogue: it runs the accused model, and its guard is patched out")

    @property
    def _backup(self) -> Path:
        return self._nodes.stage.root / "backup.db"

    def _back_up(self) -> None:
        """Copy the good miner's store as it is before the halt."""
        home = Home.open(self._nodes.stage.home(self._good))
        source, copy = sqlite3.connect(home.store), sqlite3.connect(self._backup)
        with closing(source), closing(copy):
            source.backup(copy)

    async def _halt(self, model: ModelId, seen: Prober) -> tuple[Given, dict[str, int], int]:
        """Halt it with three of five, while users stream from it and the outsider asks all nodes, of which so many."""
        graph = await self._graph()
        listening = self._write_book(graph)
        good = await self._neuron(self._good)
        given: Given | None = None
        async with anyio.create_task_group() as tasks:
            for _ in range(_STREAMS):
                tasks.start_soon(self._users.stream, model.hex())
            tasks.start_soon(seen.watch_miner, good)
            for n in graph.neurons:
                if n.endpoint:
                    tasks.start_soon(seen.watch_node, self._nodes.hotkeys()[n.hotkey], n.endpoint[0])
            with anyio.move_on_after(_SOON_S):
                while self._users.flowing < _STREAMS or not any(w.flows for w in seen.held.values()):  # noqa: ASYNC110
                    await anyio.sleep(0.05)
            self._market.say(f"{self._users.flowing} users and an outsider read streams of the model")
            given = await self._council.give(
                "halt", "model", model.hex(), reason="three of five are sure", by_hand=BY_HAND[:1],
                by_book=self._by_book,
            )  # fmt: skip
            self._market.say(f"three of five halt it: {', '.join(given.signers)} signed")
            with anyio.move_on_after(_SOON_S):
                while not self._is_seen_everywhere(seen, given, listening):
                    self._nodes.stage.check()
                    await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
        assert given is not None  # noqa: S101
        stopped = {name: at - given.signed_at for (name, order), at in seen.knew_at.items() if order == given.id}
        stopped.pop(self._good, None)
        held = seen.held.get(good.hotkey)
        if held is not None and held.ended is not None:
            await held.ask_again()  # one that serves then had ended nothing but a stream
        if held is not None and held.ended is not None and held.order == given.raw:
            stopped[self._good] = held.ended - given.signed_at
        last = max(stopped.values(), default=0)
        self._market.say(f"{len(stopped)} of {listening} nodes told an outsider of it, the last after {last} ms")
        return given, stopped, listening

    def _write_book(self, graph: Metagraph, *, without: bytes = b"") -> int:
        """Write down where nodes listen, for keyholders; how many there are."""
        book = [n.endpoint[0] for n in graph.neurons if n.endpoint and n.hotkey != without]
        lines = [*(f"{e.host}:{e.port}" for e in book), self._users.gateway]
        self._council.book.write_text("".join(f"{line}\n" for line in lines))
        return len(book)

    def _is_seen_everywhere(self, seen: Prober, given: Given, nodes: int) -> bool:
        knew = sum(order == given.id for _, order in seen.knew_at)
        refused = sum(e.code == "model_halted" for e in self._users.ended)
        ended = any(w.ended is not None for w in seen.held.values())
        return knew >= nodes and ended and refused >= _STREAMS

    async def _until_all_attest(self, given: Given) -> dict[str, int]:
        """The nodes whose word is on the ledger, and after how many ms they had stopped."""
        names = self._nodes.hotkeys()
        told: dict[str, int] = {}
        with anyio.move_on_after(3 * _SOON_S):
            while len(told) < len(self._names()):
                self._nodes.stage.check()
                told = {
                    names[a.node]: a.attestation.stopped - given.signed_at
                    for a in await self._market.ledger.attestations(given.id)
                    if a.node in names
                }
                await anyio.sleep(0.2)
        silent = [name for name in self._names() if name not in told]
        but = f"; not {', '.join(silent)}: {self._nodes.stage.last_words(silent[0])}" if silent else ""
        self._market.say(f"{len(told)} of {len(self._names())} nodes attest on the ledger that they obeyed{but}")
        return told

    async def _back_again(self, seen: Prober) -> tuple[Answers, Answers]:
        """Kill the halted miner, and start it as it was, then on its disk from before the halt."""
        stage, hotkey = self._nodes.stage, self._nodes.hotkey(self._good)
        stage.kill(self._good)
        stage.restart(self._good)
        restarted = await seen.tally(hotkey, _REFUSALS, _BACK_S)
        stage.kill(self._good)
        store = Home.open(stage.home(self._good)).store
        for old in (store, store.with_name(f"{store.name}-wal"), store.with_name(f"{store.name}-shm")):
            old.unlink(missing_ok=True)
        self._backup.replace(store)
        stage.restart(self._good)
        restored = await seen.tally(hotkey, _REFUSALS, _BACK_S)
        self._market.say("the halted miner was killed and started twice, on its disk and on a backup from before")
        return restarted, restored

    async def _convict(self, seen: Prober, model: ModelId) -> Rogue:
        """Ask the rogue directly until what it signs convicts it."""
        hotkey, stage = self._nodes.hotkey(self._rogue), self._nodes.stage
        status, told = await self._users.get(model.hex())
        served, last, file = 0, "it answered nobody", stage.root / "evidence"
        with anyio.move_on_after(_BACK_S):
            while True:
                try:
                    kept = await seen.ask(hotkey)
                    served += 1
                    file.write_bytes(encode(kept))
                    done = await stage.do("brake", "convict", str(file), home=OUTSIDER)
                    self._market.say(f"the rogue answered {served} times, and is convicted by what it signed")
                    return Rogue(served, status, _code(told), done["burned"], "")
                except DavyError as e:
                    last = str(e)
                await anyio.sleep(0.5)
        return Rogue(served, status, _code(told), "", last)

    async def _paid(self, halt: Given, before: EpochRecord) -> Paid:
        """What two epochs that the halt lay over paid, beside the last one before it."""
        recorded = next(r for r in (await self._market.ledger.brake()).orders if r.order == halt.raw)
        tempo = self._nodes.chain.tempo
        first = (await self._market.records(SEALED))[-1].epoch
        while True:
            records = await self._market.records(SEALED)
            over = [r for r in records if r.height - tempo > recorded.height]
            if len(over) >= 2:
                break
            await self._market.until_epoch(first + 1)
            first += 1
        uids = await self._market.uids(SEALED)
        halted = [uids[self._good], uids[self._rogue]]
        return Paid(
            before=before.miners[halted[0]] / sum(before.miners),
            halted=sum(r.miners[u] for r in over for u in halted),
            withheld=1 - min(sum(r.miners) for r in over) / sum(before.miners),
            epochs=len(over),
        )

    async def _lift(self, halt: Given, model: ModelId) -> tuple[Given, float]:
        """Lift it with four of five; how many seconds later the gateway's users get it again."""
        # The convicted rogue obeys nothing and attests nothing: whoever tells it waits in vain.
        self._write_book(await self._graph(), without=self._nodes.hotkey(self._rogue))
        given: list[Given] = []
        resumed = float("inf")
        async with anyio.create_task_group() as tasks:

            async def lift() -> None:
                given.append(
                    await self._council.give(
                        "lift", halt.id.hex(), reason="four of five lift it", by_hand=BY_HAND, by_book=self._by_book
                    )
                )
                self._market.say(f"four of five lift it: {', '.join(given[0].signers)} signed")

            tasks.start_soon(lift)
            with anyio.move_on_after(60):
                while (await self._users.get(model.hex()))[0] != 200:  # noqa: ASYNC110 - other processes' doing
                    await anyio.sleep(0.2)
                resumed = time.time()
        took = resumed - given[0].signed_at / 1000
        self._market.say(f"{took:.1f} s after they signed, the gateway serves it again")
        return given[0], took

    async def _drill(self, model: ModelId) -> tuple[Given, dict[str, int], int]:
        """Rehearse a halt of the same model; who answers, and the gateway's status meanwhile."""
        given = await self._council.give(
            "keyholder", "drill", "model", model.hex(), reason="the demo's drill", by_hand=BY_HAND[:1],
            by_book=self._by_book,
        )  # fmt: skip
        status, _ = await self._users.get(model.hex())
        return given, await self._until_all_attest(given), status

    def _names(self) -> list[str]:
        """Who must attest: every node, less the outsider, who runs none."""
        return [name for name in self._nodes.keys if name != OUTSIDER]

    async def _graph(self) -> Metagraph:
        return await self._market.ledger.metagraph(SEALED)

    async def _neuron(self, name: str) -> Neuron:
        hotkey = self._nodes.hotkey(name)
        return next(n for n in (await self._graph()).neurons if n.hotkey == hotkey)


def _code(told: Mapping[str, Any]) -> str:
    """Of the error in a gateway's answer."""
    return str(told.get("error", {}).get("code", ""))
