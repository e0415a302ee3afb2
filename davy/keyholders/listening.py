"""Nodes that the ledger names: an order goes straight to them as well, and they are remembered for when it is down.

Anybody who pays for a UID writes an address on the ledger, and a ledger can lie. So they are bounded in number and
time, are reached by a transport of their own, and come after the address book, which they hold up as little as the
ledger. Only what the named hotkey signed counts as its answer, and of each hotkey two addresses are remembered at most.
Nor can a ledger push out of memory what it named before: what has been known for longest stays, until it has not been
named for a month.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import islice, zip_longest
from typing import Annotated, Final, Literal, NamedTuple, Protocol, TypeVar

import anyio
import msgspec
from msgspec import Meta

from davy.keyholders.release import Delivery, ToNodes, delivery, rank_of, turn_of
from davy.network.fan_out import Addressee, Spreading, Told, spread
from davy.network.room import Room
from davy.network.strangers import Strangers, Within, is_numeric, lies_within
from davy.protocol.chain import Metagraph, SubnetInfo
from davy.protocol.errors import DavyError, Malformed, Misconfigured
from davy.protocol.limits import DAY_MS, MAX_HOST_CHARS
from davy.protocol.order import VerifiedOrder
from davy.protocol.ports import Clock, Entropy, Transport
from davy.protocol.transaction import Endpoint
from davy.protocol.words import ChainId, Hotkey, Netuid, UnixMillis

T = TypeVar("T")

Address = tuple[str, int]

MAX_LISTENING: Final = 4_096
"""Nodes that are remembered, and as many that the ledger names besides."""
_ENOUGH: Final = 16 * MAX_LISTENING
"""Addresses that are read before some are drawn from them."""
_MONTH_MS: Final = 30 * DAY_MS
_EVERY_MS: Final = 600_000
_ASKING_MS: Final = 10_000
_ASKING_AT_LEISURE_MS: Final = 60_000
_ALL_MS: Final = 30_000
_HEAD_START_S: Final = 0.5
_FIRST: Final = Spreading(patience_ms=1_500, attempt_ms=1_500, parallel=224, pause_ms=1_500)
"""Each is asked once, so that those who answer do not wait behind those who do not.

`MAX_LISTENING` that never answer take 28 s. How many connections there are at once, `davy.network.room` says.
"""
_AGAIN: Final = Spreading(patience_ms=3_500, attempt_ms=3_000, parallel=224)
_UNASKED: Final = "there was no time to ask it"
_ANOTHER: Final = "another node answered than the one that the ledger names there"

_log = logging.getLogger(__name__)


class Named(NamedTuple):
    """A node as the ledger names it."""

    node: Hotkey
    host: str
    port: int

    @property
    def address(self) -> Address:
        return self.host, self.port


class Listening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a node listens, and when the ledger named it first and last, by the clock here."""

    node: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    host: Annotated[str, Meta(min_length=1, max_length=MAX_HOST_CHARS, pattern=r"^[A-Za-z0-9.:_-]+\Z")]
    port: Annotated[int, Meta(ge=1, le=65_535)]
    since: UnixMillis
    last: UnixMillis

    @property
    def named(self) -> Named:
        return Named(bytes.fromhex(self.node), self.host, self.port)


class Remembered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The nodes of a chain; a file of the home, never on a wire. `within`: see `davy.network.strangers`."""

    version: Literal[2]
    chain: str
    within: Within
    nodes: Annotated[tuple[Listening, ...], Meta(max_length=MAX_LISTENING)]


class Memory(Protocol):
    """Where they are kept."""

    async def nodes(self) -> bytes | None: ...

    async def keep_nodes(self, told: bytes) -> None: ...


class NamesNodes(Protocol):
    """A ledger, as far as it is asked here."""

    @property
    def chain(self) -> ChainId: ...

    async def subnets(self) -> Sequence[SubnetInfo]: ...

    async def metagraph(self, netuid: Netuid) -> Metagraph: ...


class Source(NamedTuple):
    """A ledger's host, and what opens a client to it."""

    host: str
    ledger: Callable[[], AbstractAsyncContextManager[NamesNodes]]


class Way(NamedTuple):
    """How these nodes are reached: by a transport that takes any certificate, and looks names up by `names`."""

    transport: Transport
    names: Strangers
    clock: Clock
    entropy: Entropy
    room: Room | None = None
    """For connections, where other orders leave from the same process."""


class _Run(NamedTuple):
    """One release: what came of each address, who signed there, and whom the ledger names there."""

    asked: dict[Address, Delivery]
    signer: dict[Address, Hotkey]
    named: dict[Address, set[Hotkey]]
    """More than one where somebody claims another's address, who is not to lose its answer by it."""


class ToListening:
    """Straight to the nodes that the ledger names, and to those that it named before.

    Parameters
    ----------
    source
        None where there is no ledger.
    book
        The nodes of the address book, which are told first and not twice.
    """

    name = "named"

    def __init__(self, source: Source | None, memory: Memory, way: Way, book: ToNodes | None = None) -> None:
        self._source, self._memory, self._way, self._book = source, memory, way, book

    async def release(self, order: VerifiedOrder) -> Sequence[Delivery]:
        """Deliver an order to each, twice at most; only who signs as the ledger names it is reached."""
        run = _Run({}, {}, {})
        if self._book is not None:
            with anyio.move_on_after(_HEAD_START_S):
                await self._book.released.wait()
        with anyio.move_on_after(_ALL_MS / 1000):
            before = await remembered(self._memory, order.order.chain)
            if before is not None:
                self._way.names.within = before.within
            async with anyio.create_task_group() as tasks:
                if before is not None:
                    tasks.start_soon(self._tell, order, [n.named for n in before.nodes], run)
                tasks.start_soon(self._tell_named, order, run)
        return [
            d._replace(reached=False, told=_ANOTHER) if d.reached and run.signer[a] not in run.named[a] else d
            for a, d in run.asked.items()
        ]

    async def _tell_named(self, order: VerifiedOrder, run: _Run) -> None:
        if self._source is None:
            return
        found = await ask(self._source, order.order.chain, self._way.entropy, patience_ms=_ASKING_MS)
        if found is None:
            return
        named, within = found
        self._way.names.within = max(self._way.names.within, within)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(remember, self._memory, order.order.chain, named, within, self._way.clock.now())
            tasks.start_soon(self._tell, order, named, run)

    async def _tell(self, order: VerifiedOrder, to: Sequence[Named], run: _Run) -> None:
        for n in to:
            run.named.setdefault(n.address, set()).add(n.node)
        in_book = frozenset[Address]() if self._book is None else self._book.addresses
        there = dict.fromkeys(n.address for n in to)
        new = [a for a in there if a not in run.asked and a not in in_book and self._way.names.admits(a[0])]
        run.asked.update({a: Delivery(self.name, f"{a[0]}:{a[1]}", False, _UNASKED) for a in new})

        def note(t: Told) -> None:
            a = t.to.endpoint.host, t.to.endpoint.port
            run.asked[a] = delivery(self.name, t)
            if t.is_reached:
                run.signer[a] = t.attested[0].attestation.node

        way, turn = self._way, turn_of(self._way.room, order)

        async def tell(to: Sequence[Address], *limits: anyio.CapacityLimiter) -> None:
            left = [Addressee(Endpoint(*a, bytes(32), b"")) for a in to]
            for how, limit in zip((_FIRST, _AGAIN), limits, strict=True):
                async with limit:
                    told = await spread([order.raw], left, way.transport, way.clock, how=how, tell=note, turn=turn)
                left = [t.to for t in told if t.head is None]

        async def look_up_and_tell(a: Address) -> None:
            try:
                await self._way.names.find(a[0], rank_of(order))
            except OSError as e:
                run.asked[a] = Delivery(self.name, f"{a[0]}:{a[1]}", False, f"its name is not found ({e})")
                return
            await tell([a], first, again)

        # Whoever's server never tells its name holds up none of the others, nor who is there by an address.
        first, again = (anyio.CapacityLimiter(how.parallel) for how in (_FIRST, _AGAIN))
        async with anyio.create_task_group() as tasks:
            numeric = [a for a in new if is_numeric(a[0])]
            tasks.start_soon(tell, numeric, anyio.CapacityLimiter(1), anyio.CapacityLimiter(1))
            for a in new:
                if not is_numeric(a[0]):
                    tasks.start_soon(look_up_and_tell, a)


async def keep_remembering(source: Source, memory: Memory, chain: ChainId, clock: Clock, entropy: Entropy) -> None:
    """Ask the ledger now and then which nodes there are, so that they are known when it is down; until cancelled."""
    while True:
        found = await ask(source, chain, entropy, patience_ms=_ASKING_AT_LEISURE_MS)
        if found is not None:
            await remember(memory, chain, *found, clock.now())
        await clock.sleep_until(clock.now() + _EVERY_MS)


async def ask(
    source: Source, chain: ChainId, entropy: Entropy, *, patience_ms: int
) -> tuple[list[Named], Within] | None:
    """Ask a ledger where nodes listen, and which network it is in; None where it does not tell."""
    with anyio.move_on_after(2 * patience_ms / 1000):
        try:
            async with source.ledger() as ledger:
                if ledger.chain == chain:
                    return await where_named(ledger, entropy, patience_ms=patience_ms), await lies_within(source.host)
        except DavyError as e:
            _log.info("the ledger does not tell where nodes listen: %s", e)
        except Exception:  # an order may be on its way to those who are remembered
            _log.exception("the ledger could not be asked where nodes listen")
    return None


async def where_named(ledger: NamesNodes, entropy: Entropy, *, patience_ms: int) -> list[Named]:
    """Where nodes listen, as far as the ledger says so in time: of each subnet as many, in no order of anybody's.

    Each hotkey is named once.

    Raises
    ------
    DavyError
        It does not even name its subnets.
    """
    by_subnet: list[list[Named]] = []
    with anyio.move_on_after(patience_ms / 1000):
        for s in _shuffled(await ledger.subnets(), entropy):
            try:
                m = await ledger.metagraph(s.netuid)
            except DavyError as e:
                _log.info("the ledger does not show subnet %d: %s", s.netuid, e)
                continue
            there = [Named(n.hotkey, e.host.lower(), e.port) for n in m.neurons for e in n.endpoint]
            by_subnet.append(_shuffled(there, entropy))
            if sum(map(len, by_subnet)) >= _ENOUGH:
                break
    in_turn = (n for turn in zip_longest(*by_subnet) for n in turn if n is not None)
    by_node: dict[Hotkey, Named] = {}
    for n in in_turn:
        by_node.setdefault(n.node, n)
    return list(islice(by_node.values(), MAX_LISTENING))


async def remembered(memory: Memory, chain: ChainId) -> Remembered | None:
    """What was kept of a chain; None where that is nothing, or cannot be read."""
    try:
        raw = await memory.nodes()
        return None if raw is None else read_remembered(raw, chain)
    except (Misconfigured, Malformed) as e:
        _log.warning("the nodes that the ledger named before are left out: %s", e)
        return None


async def remember(memory: Memory, chain: ChainId, named: Iterable[Named], within: Within, now: UnixMillis) -> None:
    """Keep where nodes listen; a disk that takes nothing holds up no order."""
    before = await remembered(memory, chain)
    try:
        await memory.keep_nodes(msgspec.json.encode(merged(before, chain, named, within, now)) + b"\n")
    except Misconfigured as e:
        _log.warning("the nodes that the ledger names are not remembered: %s", e)


def merged(
    before: Remembered | None, chain: ChainId, named: Iterable[Named], within: Within, now: UnixMillis
) -> Remembered:
    """What was remembered, and what is named now: those known for longest first, and no more of the others than fit.

    Of each hotkey two addresses: the one named last, and the one named for longest, which no new lie replaces.
    """
    known = {} if before is None else {n.named: n for n in before.nodes if now - n.last < _MONTH_MS}
    asked = Strangers(within=within)
    for n in named:
        if asked.admits(n.host):
            known[n] = Listening(n.node.hex(), n.host, n.port, known[n].since if n in known else now, now)
    newest, steady = dict[str, Listening](), dict[str, Listening]()
    for each in sorted(known.values(), key=lambda each: each.last):
        newest[each.node] = each
        steady[each.node] = max(steady.get(each.node, each), each, key=lambda each: each.last - each.since)
    kept = sorted({*newest.values(), *steady.values()}, key=lambda each: (each.since, each.node, each.last))
    return Remembered(2, chain.hex(), within, tuple(kept[:MAX_LISTENING]))


def read_remembered(raw: bytes, chain: ChainId) -> Remembered | None:
    """Read what was kept; None where it is of another chain.

    Raises
    ------
    Malformed
    """
    try:
        r = msgspec.json.decode(raw, type=Remembered)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as e:
        raise Malformed(f"what was kept of them cannot be read ({e}); it is written anew") from None
    return r if r.chain == chain.hex() else None


def _shuffled(values: Iterable[T], entropy: Entropy) -> list[T]:
    """In an order that nobody can arrange to be first, or last, in."""
    keyed = [(entropy.bytes(8), n, value) for n, value in enumerate(values)]
    return [value for _, _, value in sorted(keyed, key=lambda each: each[:2])]
