"""The brake: a join over a set of verified orders.

Merging is commutative, associative and idempotent: any node may learn orders in any order, by any route, any number of
times. Whether an order is valid depends on its bytes and signatures, never on the receiver's clock; what it means at
some time is for `davy.killswitch.verdict`.

The set is bounded, and no HALT that can count is dropped to make room: of each roster at most `MAX_BRAKE_ORDERS` are
kept, and with one more everything stops until the LIFT key installs the next roster. Only group keys can get there. Of
a roster whose place another has taken on the ledger nothing is kept but its INSTALL: so a LIFT key that was stolen once
fills no brake for longer than it takes the ledger to record who follows.

LEASEs are apart, as the only orders whose loss lets nothing run: they fill no brake. Of as many others those that end
last are kept. So a LEASE that lapsed can be forgotten, and refused when it comes again, and no verdict becomes another:
whoever remembers it has room for all that has not lapsed, and as much for everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from davy.killswitch.book import Book, read
from davy.killswitch.clocks import Clocks
from davy.killswitch.naming import Naming
from davy.killswitch.roster import FOREVER, PERMITS, RosterChain, admit, follow
from davy.protocol.errors import Expired, Misdirected, Refused, UnknownRoster
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import (
    ALLOWANCE_WINDOW_MS,
    FRESH_MS,
    HALT_TERM_MS,
    LEASE_GRACE_MS,
    MAX_BRAKE_ORDERS,
    MAX_RIVAL_ROSTERS,
    SIGNER_SKEW_MS,
)
from davy.protocol.order import (
    Drill,
    Heartbeat,
    Install,
    Lease,
    Order,
    OrderId,
    VerifiedOrder,
    open_order,
    order_id,
)
from davy.protocol.receipt import EMPTY_BRAKE_HEAD
from davy.protocol.roster import Roster, check_roster, roster_digest
from davy.protocol.signing import Domain, digest
from davy.protocol.words import ChainId, Digest, UnixMillis

Orders = Mapping[OrderId, VerifiedOrder]


@dataclass(frozen=True)
class BrakeState:
    """The orders a node knows. Made by `first_state`; `take`, `merge`, `join`, `record` and `forget` make the next."""

    chain: ChainId
    first: Roster | None
    """The genesis' roster; None on a chain that nobody can halt."""
    orders: Orders = field(default_factory=dict[OrderId, VerifiedOrder])
    recorded: Mapping[OrderId, UnixMillis] = field(default_factory=dict[OrderId, UnixMillis])
    """Orders that stand on the ledger, with the times of their blocks."""
    replaced_at_issue: bool = False
    """Whether an INSTALL replaces the roster before it when it was issued, as the ledger's rules once had it."""
    leases_fill: bool = False
    """Whether LEASEs stand among the orders that fill a brake, as the ledger's rules once had it."""

    @cached_property
    def rosters(self) -> dict[Digest, Roster]:
        """Every roster whose orders can be verified, in office or not."""
        known = [] if self.first is None else [self.first]
        known += [install.roster for _, install in _installs(self.orders)]
        return {roster_digest(r): r for r in known}

    @cached_property
    def succession(self) -> RosterChain:
        """The rosters in office."""
        times = dict.fromkeys(self.recorded, 0) if self.replaced_at_issue else self.recorded
        return follow(self.first, self.orders.values(), times)

    @cached_property
    def book(self) -> Book:
        """What counts of the orders, and when."""
        return read(self.orders.values(), self.succession, self.recorded)

    @cached_property
    def naming(self) -> Naming:
        """The same by the names that orders give."""
        return Naming(self.book)

    @cached_property
    def overflows(self) -> dict[Digest, VerifiedOrder]:
        """Rosters whose keys signed more than is kept, each with one of the orders."""
        groups = _groups(self.orders, self.rosters.keys(), leases_apart=not self.leases_fill)
        full = [(r, ids[0]) for (r, leases), ids in groups.items() if len(ids) > MAX_BRAKE_ORDERS and not leases]
        return {r: self.orders[i] for r, i in full}

    @property
    def room(self) -> int:
        """How many orders more the roster in office can sign before it fills its brake; INSTALLs and LEASEs aside."""
        links = self.succession.links
        group = (links[-1].roster if links else b"", False)
        kept = _groups(self.orders, self.rosters.keys(), leases_apart=not self.leases_fill).get(group, ())
        return max(0, MAX_BRAKE_ORDERS - len(kept))


class Taken(NamedTuple):
    """What became of bytes from outside. `orders` verified: drills and heartbeats too, known ones too."""

    state: BrakeState
    orders: tuple[VerifiedOrder, ...]
    refused: tuple[tuple[bytes, Refused], ...]


def first_state(g: Genesis) -> BrakeState:
    """Return the brake of a chain before any order.

    Raises
    ------
    Malformed
        `check_roster` refuses the genesis' keyholders.
    """
    for r in g.keyholders:
        check_roster(r)
    return BrakeState(chain_id(g), g.keyholders[0] if g.keyholders else None)


def take(
    s: BrakeState, raws: Iterable[bytes], go_on: Callable[[], bool] = lambda: True, at: Clocks | None = None
) -> Taken:
    """Verify orders from outside and merge those that are good; the others are reported. Nothing raises.

    INSTALLs are looked at first, so orders may come together with those that they need, in any sequence.

    Parameters
    ----------
    go_on
        Asked after each signature that does not verify; False leaves the rest unseen, and unreported.
    at
        Where it is given, what `forget` would drop is not taken: a LEASE that has lapsed is Expired, before anybody
        looks at its signature.
    """
    opened: list[tuple[bool, int, bytes, OrderId]] = []
    refused: list[tuple[bytes, Refused]] = []
    for raw in dict.fromkeys(raws):
        try:
            signed, order = open_order(raw)
        except Refused as e:
            refused.append((raw, e))
            continue
        if at is not None and has_lapsed(order, at):
            refused.append((raw, Expired("this LEASE has lapsed and permits nothing any more; sign a new one")))
        else:
            opened.append((not isinstance(order.action, Install), order.epoch, raw, order_id(signed.order)))
    rosters = dict(s.rosters)
    orders: list[VerifiedOrder] = []
    for _, _, raw, i in sorted(opened):
        known = s.orders.get(i)
        try:
            v = known if known is not None and known.raw == raw else admit(raw, rosters, s.chain)
        except UnknownRoster as e:  # which is found out before any signature is looked at
            refused.append((raw, e))
        except Refused as e:
            refused.append((raw, e))
            if not go_on():
                break
        else:
            orders.append(v)
            if isinstance(v.order.action, Install):
                rosters[roster_digest(v.order.action.roster)] = v.order.action.roster
    merged = merge(s, orders)
    return Taken(merged if at is None or merged is s else forget(merged, at), tuple(orders), tuple(refused))


def merge(s: BrakeState, orders: Iterable[VerifiedOrder]) -> BrakeState:
    """Return the union of what is known and `orders`, within the bounds; never drills and heartbeats.

    Orders are one by id; of two signatures for one the smaller bytes are kept, so that all nodes keep the same.
    """
    union = dict(s.orders)
    for v in orders:
        if not isinstance(v.order.action, Drill | Heartbeat) and v.order.chain == s.chain:
            union[v.id] = min(v, union.get(v.id, v), key=lambda one: one.raw)
    kept = s.orders if union == s.orders else _bounded(union, s)
    return s if kept == s.orders else replace(s, orders=kept)


def join(a: BrakeState, b: BrakeState) -> BrakeState:
    """Return the least state that knows all that either knows.

    Raises
    ------
    Misdirected
        The states are of different chains.
    """
    if (a.chain, a.first) != (b.chain, b.first):
        raise Misdirected("two chains' brakes cannot be joined; keep a state for each chain")
    return merge(record(a, b.recorded), b.orders.values())


def record(s: BrakeState, blocks: Mapping[OrderId, UnixMillis]) -> BrakeState:
    """Note orders that stand on the ledger, as verified headers prove, each with its block's time; the first counts.

    Only the ledger shows when an order came into the world: whoever holds a group key can date it at will. So the
    allowance counts from there on, and of rival INSTALLs the recorded one wins.
    """
    known = replace(s, recorded={**blocks, **{i: min(t, blocks.get(i, t)) for i, t in s.recorded.items()}})
    settles = any(v.id in blocks and v.id not in s.recorded for v, _ in _installs(s.orders))
    return replace(known, orders=_bounded(s.orders, known)) if settles else known


def by_id(recorded: Mapping[bytes, UnixMillis]) -> dict[OrderId, UnixMillis]:
    """The block times of signed orders by their ids, from those by their bytes; what is none is left out."""
    found: dict[OrderId, UnixMillis] = {}
    for raw, time in recorded.items():
        try:
            found[order_id(open_order(raw)[0].order)] = time
        except Refused:
            continue  # `take` says why
    return found


def on_record(s: BrakeState) -> BrakeState:
    """Return what a node may act on: of what permits only what stands on the ledger, of what stops everything.

    A node that served by a LIFT that the ledger has not seen could be convicted for it (docs/invariants.md, B3).
    """
    kept = {i: v for i, v in s.orders.items() if i in s.recorded or not isinstance(v.order.action, PERMITS)}
    return s if len(kept) == len(s.orders) else replace(s, orders=kept)


def head(s: BrakeState) -> Digest:
    """SHA-256 over all ids, sorted, in the domain BRAKE_HEAD; zeros while there are none.

    Peers whose heads differ exchange their sets.
    """
    return digest(Domain.BRAKE_HEAD, b"".join(sorted(s.orders))) if s.orders else EMPTY_BRAKE_HEAD


def heartbeat(s: BrakeState, v: VerifiedOrder, own: UnixMillis) -> UnixMillis | None:
    """When a heartbeat was issued, if it shows freshness now; a node keeps the newest for `Clocks`.

    It must be of the roster in office, undisputed: the keys of a replaced one would keep a node running that is cut off
    from all others. And it must lie within `FRESH_MS` of the own clock, so that one dated ahead does not hide the rest.
    """
    links, rivals = s.succession
    if not isinstance(v.order.action, Heartbeat) or rivals or not links or v.order.roster != links[-1].roster:
        return None
    return v.order.issued if abs(own - v.order.issued) <= FRESH_MS else None


def forget(s: BrakeState, at: Clocks) -> BrakeState:
    """Drop what can matter no more at these or later clocks, whatever arrives: no verdict becomes another.

    That is a LEASE that lapsed, and what a replaced roster signed and was not carried, once it can neither last nor
    count in the allowance. So a tombstone goes no sooner than the HALTs that it ends. INSTALLs never go. The
    ledger records INSTALLs in their order: one that it holds stands, with all before it, and others may be replaced.
    """

    def matters(v: VerifiedOrder) -> bool:
        place = s.succession.place(v.order.roster)
        if isinstance(v.order.action, Install) or place is None:
            return True
        later = s.succession.after(place)
        left = min((link.since for link in later if v.id not in link.carried), default=FOREVER)
        if left < FOREVER:
            return at.behind < left + SIGNER_SKEW_MS + HALT_TERM_MS + ALLOWANCE_WINDOW_MS
        return not has_lapsed(v.order, at) or (s.leases_fill and v.order.roster in s.overflows)

    gone = {i for i, v in s.orders.items() if not matters(v)}
    if not gone:
        return s
    return replace(
        s,
        orders={i: v for i, v in s.orders.items() if i not in gone},
        recorded={i: t for i, t in s.recorded.items() if i not in gone},
    )


def has_lapsed(o: Order, at: Clocks) -> bool:
    """Whether it is a LEASE that permits nothing at these clocks, nor at later ones."""
    return isinstance(o.action, Lease) and at.ahead >= o.end + LEASE_GRACE_MS


def _installs(orders: Orders) -> list[tuple[VerifiedOrder, Install]]:
    return [(v, v.order.action) for v in orders.values() if isinstance(v.order.action, Install)]


def _groups(orders: Orders, known: Iterable[Digest], *, leases_apart: bool) -> dict[tuple[Digest, bool], list[OrderId]]:
    """The ids of the orders that are bounded in number, by roster, LEASEs for themselves; of unknown rosters together.

    Those that are kept come first. INSTALLs have their own bound, and so have the orders that they carry.
    """
    carried = {i for _, install in _installs(orders) for i in install.carried}
    rosters = frozenset(known)
    groups: dict[tuple[Digest, bool], list[OrderId]] = {}
    for i in sorted(orders.keys() - carried):
        o = orders[i].order
        if not isinstance(o.action, Install):
            leases = leases_apart and isinstance(o.action, Lease)
            groups.setdefault((o.roster if o.roster in rosters else b"", leases), []).append(i)
    for (_, leases), ids in groups.items():
        if leases:
            ids.sort(key=lambda i: -orders[i].order.end)
    return groups


def _bounded(union: Orders, s: BrakeState) -> Orders:
    """Keep of each roster the smallest ids, one more than its bound; of each epoch a few INSTALLs; of no dead one more.

    Smallest of a union are smallest of the parts' smallest, so this is a join too. `s` says of whose orders.
    """
    first, recorded = s.first, s.recorded
    kept = dict(union)
    rivals: dict[int, dict[Digest, OrderId]] = {}
    for v, install in sorted(_installs(union), key=lambda pair: (pair[0].id not in recorded, pair[0].id)):
        rivals.setdefault(v.order.epoch, {}).setdefault(roster_digest(install.roster), v.id)
    chosen: set[OrderId] = set()
    for by_roster in rivals.values():
        ranked = sorted(by_roster.items(), key=lambda pair: (pair[1] not in recorded, pair[0]))
        chosen |= {i for _, i in ranked[:MAX_RIVAL_ROSTERS]}
    for v, _ in _installs(union):
        if v.id not in chosen:
            del kept[v.id]
    for i in _dead(kept, first, recorded):
        del kept[i]
    known = {roster_digest(install.roster) for _, install in _installs(kept)}
    known |= set() if first is None else {roster_digest(first)}
    for ids in _groups(kept, known, leases_apart=not s.leases_fill).values():
        for i in ids[MAX_BRAKE_ORDERS + 1 :]:
            del kept[i]
    return kept


def _dead(orders: Orders, first: Roster | None, recorded: Mapping[OrderId, UnixMillis]) -> list[OrderId]:
    """What rosters signed that come into office no more: the ledger gave their place, or one before it, to another."""
    links = follow(first, orders.values(), recorded).links
    settled = max((place for place, link in enumerate(links) if link.recorded is not None), default=-1)
    in_place = {link.roster for link in links[: settled + 1]}
    dead: set[Digest] = set()

    def is_dead(o: Order) -> bool:
        return o.roster in dead or (o.epoch <= settled and o.roster not in in_place)

    for v, install in sorted(_installs(orders), key=lambda pair: pair[0].order.epoch):
        if is_dead(v.order):
            dead.add(roster_digest(install.roster))
    return [i for i, v in orders.items() if is_dead(v.order) and not isinstance(v.order.action, Install)]
