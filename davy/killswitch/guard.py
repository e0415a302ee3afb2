"""The guard: the one object of a node that every edge asks before it serves, challenges, scores, loads or commits.

======================  ==============================================================================
`Guard.permit`          may this be done now? A look-up in memory; raises ModelHalted
`Guard.running`         the same for what lasts: an answer is ended within one token
`Guard.receive`         an order, by whatever route; answers with the node's signed attestation
`Guard.at_block`        what the ledger says after a block
`Guard.pulled`          another node's whole set was taken in
======================  ==============================================================================

What stops acts in memory at once and is then persisted. What permits must be persisted, and stand on the ledger, before
it acts: a node that served by a LIFT that the ledger never saw could be convicted for it. So verdicts are asked of
several states, and what any of them stops is stopped: every one since the last on disk, and the newest without what
only others told that it permits. A full disk disables no halt, and undoes none.

At boot nothing is permitted until the brake's state was pulled, from the ledger or from `sources` other nodes: a
restored backup cannot undo a halt. A ledger behind a block that this node has seen does not count.

What can matter no more is forgotten by the ledger's time, which is the same on all nodes, and not taken again: a brake
that lives for ever fills with nothing that is over.

Times: the own clock is a maximum, written every half minute; the ledger's comes with `at_block`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import anyio

from davy.killswitch.brake import BrakeState, Taken, by_id, forget, head, heartbeat, on_record, record, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.index import INDEX, ORDER, Index, Recorded, read_index
from davy.killswitch.refusal import refusal
from davy.killswitch.roster import FOREVER
from davy.killswitch.running import Running
from davy.killswitch.scope import Subject, covers, target_of
from davy.killswitch.verdict import Permitted, verdict
from davy.protocol.attestation import Attestation, sign_attestation
from davy.protocol.chain import Head
from davy.protocol.encoding import encode
from davy.protocol.errors import Busy, DavyError, Expired, ModelHalted, StoreFailed
from davy.protocol.limits import FRESH_MS, MAX_SERVED_MODELS
from davy.protocol.order import (
    Drill,
    Extend,
    Halt,
    Heartbeat,
    OrderId,
    Raise,
    VerifiedOrder,
)
from davy.protocol.ports import Clock, KeyStore, Store
from davy.protocol.words import ChainId, Digest, Height, Hotkey, KeyRole, ModelId, UnixMillis

_log = logging.getLogger(__name__)

SOURCES: Final = 3
"""Other nodes whose sets a guard takes in at boot where the ledger does not answer."""
_TICK_MS: Final = 1_000
_MARKS_MS: Final = 30_000
_FORGET_MS: Final = 60_000
"""Of block time, between two looks at what can matter no more."""
_MAX_CACHED: Final = 4_096
_MAX_ATTESTED: Final = 1_024
_ACT_UNSAVED: Final = (Halt, Extend, Raise, Drill, Heartbeat)
"""Orders that permit nothing, and so are obeyed on a full disk."""


class Received(NamedTuple):
    """What became of bytes from outside: orders that verified, known ones too, and why others were refused."""

    orders: tuple[VerifiedOrder, ...]
    refused: tuple[tuple[bytes, DavyError], ...]


class _View(NamedTuple):
    """What verdicts are made from; replaced as a whole, so that a thread never mixes two."""

    held: tuple[BrakeState, ...]
    """Every state since the last on disk, oldest first."""
    recorded: BrakeState
    """`davy.killswitch.brake.on_record` of the newest."""
    block: UnixMillis | None
    beat: UnixMillis | None
    until: dict[Subject, UnixMillis]
    """Permitted subjects, and the moment of the own clock from which they must be judged again."""


@dataclass
class _Obeyed:
    """What an order ended, and what of it still goes on."""

    order: VerifiedOrder
    received: UnixMillis
    models: tuple[ModelId, ...]
    streams: int
    ending: list[Running]
    signed: bytes = b""


class Guard:
    """A node's guard. Everything but `permit` and `Running.stopped` belongs to the event loop's thread.

    Parameters
    ----------
    first
        The brake before any order (`davy.killswitch.brake.first_state` of the genesis).
    keys
        With an open hotkey, which signs attestations.
    clock
        Read by any thread that asks.
    sources
        So many other nodes must have been pulled before anything is permitted without the ledger.
    """

    def __init__(
        self, first: BrakeState, *, keys: KeyStore, clock: Clock, store: Store, sources: int = SOURCES
    ) -> None:
        self._keys, self._clock, self._store, self._sources = keys, clock, store, sources
        self._view = _View((first,), first, None, None, {})
        self._seen: BrakeState = first
        self._head = head(first)
        self._own: UnixMillis = 0
        self._height: Height = 0
        self._pulled: set[Hotkey] = set()
        self._heard: set[bytes] = set()
        """Orders that leave no trace in the state, such as drills."""
        self._over: frozenset[bytes] = frozenset()
        """Those that the ledger still shows, and that can matter no more."""
        self._forgot: UnixMillis = 0
        self.is_open = first.first is None
        """Whether the brake's state was pulled since this process began."""
        self._runs: dict[Running, None] = {}
        self._obeyed: OrderedDict[OrderId, _Obeyed] = OrderedDict()
        self._on_disk: dict[OrderId, bytes] = {}
        self._saving = anyio.Lock()
        self._written: UnixMillis = 0
        self._changed = anyio.Event()
        self.serving: tuple[Subject, ...] = ()
        """What this node serves; attestations name the models of it that an order covers."""

    async def open(self) -> None:
        """Read what an earlier process left; comes before everything else.

        Raises
        ------
        StoreFailed
            It cannot be read.
        """
        raw = await self._store.get(INDEX)
        if raw is None:
            return
        index = read_index(raw)
        if index.chain != self.chain:
            return
        found = {i: await self._store.get(ORDER + i) for i in index.orders}
        self._on_disk = {i: order for i, order in found.items() if order}
        state = self._taken(self._on_disk.values(), {r.id: r.time for r in index.recorded}).state
        if len(state.orders) < len(index.orders):
            # What is missing was there once; the pull at boot brings it back, and nothing is permitted before.
            _log.error("%d orders of the brake are missing", len(index.orders) - len(state.orders))
        self._own = index.own
        self._height = index.height
        self._look_at(_View((state,), state, index.block if index.height else None, None, {}))

    async def run(self) -> None:
        """Notice what ends by time alone, and keep the marks on disk; until cancelled."""
        if self.state.first is None:
            await anyio.sleep_forever()  # nobody can halt this chain
        told = False
        while True:
            await self._clock.sleep_until(self._clock.now() + _TICK_MS)
            self._enforce()
            if len(self._view.held) > 1 or abs(self._clock.now() - self._written) >= _MARKS_MS:
                try:
                    await self._save()
                    told = False
                except StoreFailed as e:
                    if not told:
                        _log.error("the brake cannot be written; what is stopped stays stopped: %s", e)
                    told = True

    @property
    def state(self) -> BrakeState:
        """All that is known."""
        return self._view.held[-1]

    @property
    def chain(self) -> ChainId:
        return self.state.chain

    @property
    def head(self) -> Digest:
        """Of the newest state: what requests and receipts carry."""
        return self._head

    @property
    def clocks(self) -> Clocks:
        """What verdicts are asked at, now."""
        return Clocks(self.now(), self._view.block, self._view.beat)

    @property
    def obeyed(self) -> tuple[VerifiedOrder, ...]:
        """The orders that this process took in, as far as it remembers, oldest first."""
        return tuple(o.order for o in self._obeyed.values())

    def now(self) -> UnixMillis:
        """The own clock, which never goes back."""
        now = self._clock.now()
        if now > self._own:
            self._own = now
        return self._own

    @property
    def ahead(self) -> int:
        """By how much the own clock is later than the machine's, in milliseconds: that was ahead once."""
        return self.now() - self._clock.now()

    @property
    def seen(self) -> UnixMillis:
        """What this node tells others of `Clocks.seen`: 0 too where that is no use to it, as its clock was ahead."""
        return 0 if self.ahead > FRESH_MS else self.clocks.seen

    def permit(self, subject: Subject) -> None:
        """Return if this may be done now. May be asked by any thread.

        Raises
        ------
        ModelHalted
            With the order that stops it; without one where a LEASE or freshness is missing.
        Busy
            The brake's state was not yet pulled.
        """
        now = self._clock.now()
        if now > self._own:
            self._own = now
        else:
            now = self._own
        view = self._view
        if now >= view.until.get(subject, 0):
            self._judge(subject, view, now)

    def running(self, *subjects: Subject, now: Callable[[], tuple[Subject, ...]] = tuple) -> Running:
        """Return the context in which to do something that lasts, and for which all of `subjects` must be permitted.

        Nothing is asked before it is entered. `now` says, in any thread, what has been learnt of them since.
        """
        return Running(self, subjects, now)

    async def receive(self, raw: bytes) -> bytes:
        """Take one order in; return the signed attestation once everything that the order stops has ended.

        Raises
        ------
        Refused
            No valid order of this chain's keyholders (`davy.killswitch.brake.take`).
        StoreFailed
            It permits something, and cannot be persisted. (And acts only once it stands on the ledger.)
        """
        received = await self.receive_all([raw])
        for _, error in received.refused:
            raise error
        return await self.attestation(received.orders[0])

    async def receive_all(
        self,
        raws: Iterable[bytes],
        recorded: Mapping[bytes, UnixMillis] | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> Received:
        """Take orders in, in any sequence. When this returns, what they stop is being stopped, and they are persisted.

        What stops is in force even where it cannot be persisted; what permits is then among the refused, and in force
        only once the ledger has recorded it.

        Parameters
        ----------
        recorded
            Block times of those that stand on the ledger, by their bytes.
        go_on
            See `davy.killswitch.brake.take`.
        """
        now = self.now()
        taken = self._taken(raws, by_id(recorded or {}), go_on)
        state = taken.state
        view = self._view
        beats = [b for v in taken.orders if (b := heartbeat(state, v, now)) is not None]
        beat = max((*beats, *([] if view.beat is None else [view.beat])), default=None)
        if state is not view.held[-1] or beat != view.beat:
            held = view.held if state is view.held[-1] else (*view.held, state)
            self._look_at(view._replace(held=held, beat=beat))
        broken = self._enforce()
        for v in taken.orders:
            if v.id not in self._obeyed:
                self._obey(v, now, broken)
        refused: list[tuple[bytes, DavyError]] = list(taken.refused)
        if len(self._view.held) > 1:
            try:
                await self._save()
            except StoreFailed as e:
                refused += [(v.raw, e) for v in taken.orders if not isinstance(v.order.action, _ACT_UNSAVED)]
        unsaved = {raw for raw, _ in refused}
        return Received(tuple(v for v in taken.orders if v.raw not in unsaved), tuple(refused))

    async def attestation(self, order: VerifiedOrder) -> bytes:
        """Wait until all that an order stopped has ended; return the signed attestation (of `SignedAttestation`)."""
        obeyed = self._obeyed.get(order.id) or self._obey(order, self.now(), [])
        for run in obeyed.ending:
            await run.ended.wait()
        if not obeyed.signed:
            a = Attestation(
                version=1,
                chain=self.chain,
                order=order.id,
                node=self._keys.public(KeyRole.HOTKEY),
                received=obeyed.received,
                stopped=max((run.ended_at for run in obeyed.ending), default=obeyed.received),
                head=self.head,
                models=obeyed.models,
                streams=obeyed.streams,
            )
            obeyed.signed = sign_attestation(self._keys, a)
            obeyed.ending.clear()
        return obeyed.signed

    async def hear(self, raws: Iterable[bytes]) -> None:
        """Take in those orders that are not known yet, and ask no more about them: cheap to call with all, often."""
        known = {v.raw for v in self.state.orders.values()}
        news = [raw for raw in raws if raw not in known and raw not in self._heard and raw not in self._over]
        if news:
            received = await self.receive_all(news)
            self._heard |= {v.raw for v in received.orders if v.id not in self.state.orders}
            if len(self._heard) > _MAX_ATTESTED:
                self._heard.clear()

    async def at_block(self, block: Head, orders: Iterable[tuple[bytes, UnixMillis]]) -> None:
        """Take in what a verified ledger says of the brake after a block: all orders, each with its own block's time.

        Only then does the block count, as time and as a pull: who has seen a block has seen the orders in it.
        """
        shown = dict(orders)
        known = {v.raw: v.id for v in self.state.orders.values()}
        told, over = self.state.recorded, self._over & shown.keys()
        news = {raw: t for raw, t in shown.items() if raw not in over and told.get(known.get(raw, b"")) != t}
        if news:
            received = await self.receive_all(news, news)
            over |= {raw for raw, e in received.refused if isinstance(e, Expired)}
            over |= {v.raw for v in received.orders if v.id not in self.state.orders}
        self._over = over
        if block.height < self._height:
            _log.warning(
                "the ledger stands at %d, and this node has seen %d; it does not count", block.height, self._height
            )
            return  # nor does its time: no halt ends, and nothing is fresh, by a ledger that lost blocks
        view = self._view
        if view.block is None or block.time > view.block:
            self._look_at(view._replace(block=block.time))
        self._height = block.height
        self._forget(block.time)
        self._begin("the ledger")
        self._enforce()

    def pulled(self, source: Hotkey) -> None:
        """Note that everything another node knows was taken in."""
        self._pulled.add(source)
        if len(self._pulled) >= self._sources:
            self._begin(f"{len(self._pulled)} nodes")

    async def change(self) -> None:
        """Wait for the next change: an order, a block, the end of the boot pull."""
        await self._changed.wait()

    async def until_permitted(self, subject: Subject) -> None:
        """Wait until something may be done; time alone ends a halt, too."""
        while True:
            try:
                self.permit(subject)
            except (ModelHalted, Busy):
                await self._clock.sleep_until(self._clock.now() + _TICK_MS)
            else:
                return

    def began(self, run: Running) -> None:
        self._runs[run] = None

    def left(self, run: Running) -> None:
        self._runs.pop(run, None)
        run.ended_at = self.now()
        run.ended.set()

    def _taken(
        self, raws: Iterable[bytes], recorded: Mapping[OrderId, UnixMillis], go_on: Callable[[], bool] = lambda: True
    ) -> Taken:
        """Take orders into the newest state, which is kept where they change nothing.

        What the ledger recorded is known before an order finds its place: it must not lack one for rivals.
        """
        before = self.state
        taken = take(record(before, recorded) if recorded else before, raws, go_on, self._passed)
        times = {i: t for i, t in taken.state.recorded.items() if i in taken.state.orders}
        same = (taken.state.orders, times) == (before.orders, before.recorded)
        return taken._replace(state=before if same else replace(taken.state, recorded=times))

    @property
    def _passed(self) -> Clocks | None:
        """What is certainly past; None before the first block, when nothing is."""
        block = self._view.block
        return None if block is None else Clocks(min(self.now(), block), block)

    def _forget(self, now: UnixMillis) -> None:
        """Drop what can matter no more; no verdict becomes another (`davy.killswitch.brake.forget`)."""
        if (at := self._passed) is not None and now >= self._forgot + _FORGET_MS:
            self._forgot = now
            state = forget(self.state, at)
            if state is not self.state:
                self._look_at(self._view._replace(held=(*self._view.held, state)))

    def _begin(self, by: str) -> None:
        if not self.is_open:
            _log.info("the brake's state was pulled from %s: %d orders", by, len(self.state.orders))
            self.is_open = True
            self._look_at(self._view)

    def _look_at(self, view: _View) -> None:
        newest = view.held[-1]
        if newest is not self._seen:
            self._seen, self._head = newest, head(newest)
            view = view._replace(recorded=on_record(newest))
        self._view = view._replace(until={})
        self._changed.set()
        self._changed = anyio.Event()

    def _judge(self, x: Subject, view: _View, now: UnixMillis) -> None:
        if not self.is_open:
            raise Busy("this node has not yet pulled the state of the brake; ask again in a moment")
        at = Clocks(now, view.block, view.beat)
        until = FOREVER
        for state in (*reversed(view.held), view.recorded):
            v = verdict(state, x, at)
            if not isinstance(v, Permitted):
                raise refusal(v, self.ahead)
            until = min(until, v.until)
        if len(view.until) < _MAX_CACHED:
            view.until[x] = until

    def _enforce(self) -> list[Running]:
        """Cancel what may not go on; return what was not cancelled before."""
        broken = [run for run in self._runs if run.stopped() and not run.cancelled]
        for run in broken:
            run.cancel()
        return broken

    def _obey(self, v: VerifiedOrder, now: UnixMillis, broken: Sequence[Running]) -> _Obeyed:
        target = target_of(v, self.state.orders)
        covered: list[Running] = []
        models: set[ModelId] = set()
        if target is not None:
            covered = [r for r in self._runs if r.cancelled and any(covers(target, x) for x in r.subjects)]
            models = {x.model.id for x in self.serving if x.model and covers(target, x)}
        obeyed = _Obeyed(
            v, now, tuple(sorted(models))[:MAX_SERVED_MODELS], sum(run in broken for run in covered), covered
        )
        self._obeyed[v.id] = obeyed
        if len(self._obeyed) > _MAX_ATTESTED:
            self._obeyed.popitem(last=False)
        return obeyed

    async def _save(self) -> None:
        async with self._saving:
            state = self.state
            for i, v in state.orders.items():
                if self._on_disk.get(i) != v.raw:
                    await self._store.put(ORDER + i, v.raw)
                    self._on_disk[i] = v.raw
            recorded = tuple(Recorded(i, t) for i, t in sorted(state.recorded.items()))
            block = self._view.block or 0
            index = Index(1, self.chain, tuple(sorted(state.orders)), recorded, self.now(), block, self._height)
            await self._store.put(INDEX, encode(index))
            for i in self._on_disk.keys() - state.orders.keys():
                await self._store.put(ORDER + i, b"")
                del self._on_disk[i]
            self._written = self._clock.now()
            view = self._view
            if view.held[0] is not state:
                place = next(n for n, held in enumerate(view.held) if held is state)
                self._look_at(view._replace(held=view.held[place:]))
