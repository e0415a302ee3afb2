"""The guard: the one object of a node that every edge asks before it serves, challenges, scores, loads or commits.

======================  ==============================================================================
`Guard.permit`          may this be done now? A look-up in memory; raises ModelHalted
`Guard.running`         the same for what lasts: an answer is ended within one token
`Guard.receive`         an order, by whatever route; answers with the node's signed attestation
`Guard.at_block`        what the ledger says after a block
`Guard.pulled`          another node's whole set was taken in
======================  ==============================================================================

What stops acts in memory at once and is then persisted; what permits is persisted first. No order is classified for
that: until the newest state is on disk, what any state since the last one there stops stays stopped. So a full disk
disables no halt, and undoes none.

At boot nothing is permitted until the brake's state was pulled, from the ledger or from `sources` other nodes: a
restored backup cannot undo a halt. A ledger behind a block that this node has seen does not count.

Times: the own clock is a maximum, written every half minute; the ledger's comes with `at_block`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Annotated, Final, NamedTuple, Self

import anyio
from msgspec import Meta

from davy.killswitch.brake import BrakeState, head, heartbeat, record, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.scope import Subject, covers
from davy.killswitch.verdict import Halted, Lapsed, Permitted, Stale, verdict
from davy.protocol.attestation import Attestation, SignedAttestation
from davy.protocol.chain import Head
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import Busy, DavyError, ModelHalted, Refused, StoreFailed
from davy.protocol.limits import MAX_SERVED_MODELS
from davy.protocol.order import Drill, Extend, Halt, OrderId, Raise, Target, VerifiedOrder, open_order, order_id
from davy.protocol.ports import Clock, KeyStore, Store
from davy.protocol.signing import Domain
from davy.protocol.words import ChainId, Digest, Height, Hotkey, KeyRole, UnixMillis

_log = logging.getLogger(__name__)

SOURCES: Final = 3
"""Other nodes whose sets a guard takes in at boot where the ledger does not answer."""
_TICK_MS: Final = 1_000
_MARKS_MS: Final = 30_000
_MAX_CACHED: Final = 4_096
_MAX_ATTESTED: Final = 1_024
_INDEX: Final = b"brake/index"
_ORDER: Final = b"brake/order/"
_MAX_INDEX_BYTES: Final = 16 * 1024 * 1024


class Recorded(Wire):
    """When the ledger recorded an order."""

    id: OrderId
    time: UnixMillis


class Index(Wire):
    """What a guard keeps beside the orders themselves: which there are, and marks that only rise."""

    version: Annotated[int, Meta(ge=1, le=1)]
    orders: tuple[OrderId, ...]
    recorded: tuple[Recorded, ...]
    own: UnixMillis
    block: UnixMillis
    height: Height
    """0 before the first verified block, and then `block` says nothing."""


class Received(NamedTuple):
    """What became of bytes from outside: orders that verified, known ones too, and why others were refused."""

    orders: tuple[VerifiedOrder, ...]
    refused: tuple[tuple[bytes, DavyError], ...]


class _View(NamedTuple):
    """What verdicts are made from; replaced as a whole, so that a thread never mixes two."""

    held: tuple[BrakeState, ...]
    """Every state since the last on disk, oldest first; what any of them stops is stopped."""
    block: UnixMillis | None
    beat: UnixMillis | None
    until: dict[Subject, UnixMillis]
    """Permitted subjects, and the moment of the own clock from which they must be judged again."""


@dataclass
class _Obeyed:
    """An order, and what it ended."""

    order: VerifiedOrder
    received: UnixMillis
    subjects: Sequence[Subject]
    broken: list[Running] = field(default_factory=list["Running"])
    signed: bytes = b""


class Running:
    """Something that lasts, made by `Guard.running`; enter it in the task that does it, and do it inside.

    A halt cancels what is inside, at its next checkpoint. Leaving then raises ModelHalted, also where the work had just
    ended or ended early because `stopped` said so: what a halt met is never taken for a normal end. A cancellation from
    outside stays one. Never enter it in an asynchronous generator around a ``yield`` (PEP 789).

    Raises
    ------
    ModelHalted
        On entering, and on leaving.
    Busy
        On entering: see `Guard.permit`.
    """

    def __init__(self, guard: Guard, subject: Subject) -> None:
        self.subject = subject
        self.ended = anyio.Event()
        self.ended_at: UnixMillis = 0
        self._guard = guard
        self._scope = anyio.CancelScope()
        self._halt: DavyError | None = None

    def stopped(self) -> bool:
        """Whether no more may be made; ask before each token, from any thread, before entering too."""
        if self._halt is None:
            try:
                self._guard.permit(self.subject)
            except (ModelHalted, Busy) as e:
                self._halt = e
        return self._halt is not None

    def cancel(self) -> None:
        """End it; in the event loop's thread, once `stopped`."""
        self._scope.cancel()

    async def __aenter__(self) -> Self:
        self._guard.permit(self.subject)
        self._scope.__enter__()
        self._guard.began(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            swallowed = bool(self._scope.__exit__(kind, error, trace))
        finally:
            self._guard.left(self)
        if self._halt is None or error is self._halt:
            return swallowed
        if error is None or swallowed or isinstance(error, Exception):
            raise self._halt from (error if isinstance(error, Exception) else None)
        return False


class Guard:
    """A node's guard. Everything but `permit` and `Running.stopped` belongs to the event loop's thread.

    Parameters
    ----------
    first
        The brake before any order (`davy.killswitch.brake.first_state` of the genesis).
    keys
        With an open hotkey, which signs attestations.
    sources
        So many other nodes must have been pulled before anything is permitted without the ledger.
    """

    def __init__(
        self, first: BrakeState, *, keys: KeyStore, clock: Clock, store: Store, sources: int = SOURCES
    ) -> None:
        self._keys, self._clock, self._store, self._sources = keys, clock, store, sources
        self._view = _View((first,), None, None, {})
        self._own: UnixMillis = 0
        self._height: Height = 0
        self._pulled: set[Hotkey] = set()
        self._open = first.first is None
        self._runs: set[Running] = set()
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
        raw = await self._store.get(_INDEX)
        if raw is None:
            return
        try:
            index = decode(raw, Index, limit=_MAX_INDEX_BYTES)
        except Refused as e:
            raise StoreFailed(f"the brake's index on this disk cannot be read ({e}); restore it, or delete it") from None
        found = {i: await self._store.get(_ORDER + i) for i in index.orders}
        self._on_disk = {i: order for i, order in found.items() if order}
        taken = take(self.state, self._on_disk.values())
        if len(taken.state.orders) < len(index.orders):
            # What is missing was there once; the pull at boot brings it back, and nothing is permitted before.
            _log.error("%d orders of the brake are lost on this disk", len(index.orders) - len(taken.state.orders))
        state = record(taken.state, {r.id: r.time for r in index.recorded})
        self._own = index.own
        self._height = index.height
        self._view = _View((state,), index.block if index.height else None, None, {})

    async def run(self) -> None:
        """Notice what ends by time alone, and keep the marks on disk; until cancelled."""
        told = False
        while True:
            await self._clock.sleep_until(self._clock.now() + _TICK_MS)
            self._enforce()
            if len(self._view.held) > 1 or self.now() - self._written >= _MARKS_MS:
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
        return head(self.state)

    @property
    def is_open(self) -> bool:
        """Whether the brake's state was pulled since this process began."""
        return self._open

    def now(self) -> UnixMillis:
        """The own clock, which never goes back."""
        now = self._clock.now()
        if now > self._own:
            self._own = now
        return self._own

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

    def running(self, subject: Subject) -> Running:
        """Return the context in which to do something that lasts; nothing is asked before it is entered."""
        return Running(self, subject)

    async def receive(self, raw: bytes) -> bytes:
        """Take one order in; return the signed attestation once everything that the order stops has ended.

        Raises
        ------
        Refused
            No valid order of this chain's keyholders (`davy.killswitch.brake.take`).
        StoreFailed
            It permits something, and cannot be persisted.
        """
        received = await self.receive_all([raw])
        for _, error in received.refused:
            raise error
        return await self.attestation(received.orders[0])

    async def receive_all(
        self, raws: Iterable[bytes], recorded: Mapping[OrderId, UnixMillis] | None = None
    ) -> Received:
        """Take orders in, in any sequence: what they stop is being stopped when this returns, and is persisted.

        Parameters
        ----------
        recorded
            Block times of orders that stand on the ledger.
        """
        ...

    async def attestation(self, order: VerifiedOrder) -> bytes:
        """Wait until all that an order stopped has ended; return a signed attestation of it."""
        ...

    async def at_block(self, block: Head, orders: Iterable[bytes], recorded: Mapping[OrderId, UnixMillis]) -> None:
        """Take in what a verified ledger says of the brake after a block.

        The block's time counts, and so does its word for the start, only now: whoever has seen a block has seen the
        orders in it.
        """
        ...

    def pulled(self, source: Hotkey) -> None:
        """Note that all orders of another node were taken in."""
        ...

    async def change(self) -> None:
        """Wait for the next change: an order, a block, the end of the boot pull."""
        await self._changed.wait()
