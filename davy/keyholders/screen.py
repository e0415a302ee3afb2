"""The screen: an order as its signer sees it, from the exact bytes that are signed.

Everything on it is computed here from the decoded order: no text of the proposer is shown but the reason, whose digest
is in the order, and which is one line that prints (`reason_digest` refuses control and bidirectional characters). It
stands on a line of its own, so that letters written from the right reorder nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from davy.keyholders.circle import fingerprint
from davy.keyholders.spending import Allowed
from davy.killswitch.clocks import duration, moment
from davy.protocol.encoding import encode
from davy.protocol.limits import (
    ALLOWANCE_MS,
    ALLOWANCE_WINDOW_MS,
    DAY_MS,
    FRESH_MS,
    LEASE_GRACE_MS,
    MAX_SHOWN_ORDERS,
)
from davy.protocol.order import (
    Drill,
    Extend,
    Global,
    GroupKey,
    Halt,
    Heartbeat,
    Install,
    Lease,
    Lift,
    Lower,
    Miner,
    Models,
    Order,
    Raise,
    Subnet,
    Target,
    check_reason,
    order_id,
    signing_key,
)
from davy.protocol.roster import Roster, roster_digest
from davy.protocol.words import KeyRole, PublicKey, key_text

REHEARSAL: Final = "rehearsal"
"""As policies name it, whatever is rehearsed: whoever signs real orders unseen rehearses none so, and the other way."""
_LABEL: Final = 15
_STAYS: Final = "transfers, unbonding, governance and the brake itself go on"
_EVERYWHERE: Final = "on every node of the network"
_RECORDED: Final = f"{_EVERYWHERE}, once the ledger has recorded it"
_ALL_OF_IT: Final = "and, of a model, its descendants and all else of its registrant"
_SYSTEMIC: Final = "a systemic model until it is lifted and leased anew"


class View(NamedTuple):
    """An order, and what its signer knows besides."""

    body: bytes
    order: Order
    reason: str
    roster: Roster
    proposer: str
    """The name of the keyholder who asks, by its key."""
    named: tuple[Order, ...] = ()
    """The orders that this one names."""
    rest: tuple[Order, ...] = ()
    """Of a LIFT, HALTs known here that it leaves in force; of an INSTALL, what it lets end."""
    names: Mapping[PublicKey, str] = {}
    """What keyholders are called here; others are shown by their keys alone."""
    allowed: Allowed | None = None
    """Of a HALT or an EXTEND by the HALT key, how far the allowance lets it last."""


def screen(v: View) -> str:
    """Render an order.

    Raises
    ------
    Malformed, Misdirected
        The reason is not the one that is signed, or does not print.
    """
    check_reason(v.order, v.reason)
    rows = [*_what(v), ("why", ""), *_whose(v)]
    lines = [_title(v.order)]
    for label, text in rows:
        lines.append(f"  {label:<{_LABEL}}{text}".rstrip())
        if label == "why":
            lines.append(f"    {v.reason}")
    return "\n".join(lines)


def rehearsed(real: str, what: str = "NOTHING STOPS OR RUNS BY THIS: it rehearses the signing of") -> str:
    """The screen of a rehearsal: every line of it says so."""
    lines = [what, *real.splitlines()]
    return "\n".join(f"REHEARSAL | {line}" for line in lines)


def target_lines(target: Target) -> list[str]:
    """Say in full what a target covers: every identifier to its last digit."""
    match target:
        case Global():
            return ["EVERYTHING on the network"]
        case Subnet(netuid=netuid):
            return [f"subnet {netuid}, all of it"]
        case Miner(hotkey=hotkey):
            return [f"the miner {key_text(KeyRole.HOTKEY, hotkey)}, whatever it serves"]
        case Models():
            return _models(target)


def _models(m: Models) -> list[str]:
    lines = [f"model {i.hex()}" for i in m.ids]
    lines += [f"models with the weight file {f.hex()}" for f in m.files]
    return lines + [f"all models of {key_text(KeyRole.COLDKEY, r)}" for r in m.registrants]


def _title(o: Order) -> str:
    match o.action:
        case Halt(authority=authority):
            return "HALT: stop this" + (", by the LIFT key beyond the allowance" if authority is GroupKey.LIFT else "")
        case Extend():
            return "EXTEND: keep this stopped for longer"
        case Drill():
            return "DRILL: a rehearsal; nothing stops"
        case Raise():
            return "RAISE: make these models systemic"
        case Heartbeat():
            return "HEARTBEAT: we are here"
        case Lift():
            return "LIFT: let this run again"
        case Lease():
            return "LEASE: let these systemic models run"
        case Lower():
            return "LOWER: make these models ordinary"
        case Install():
            return "INSTALL: new keys and keyholders in the place of today's"


def _labelled(label: str, lines: list[str]) -> list[tuple[str, str]]:
    return [(label if n == 0 else "", line) for n, line in enumerate(lines)]


def _until(o: Order) -> list[tuple[str, str]]:
    return [("until", f"{moment(o.end)} ({duration(o.end - o.issued)})")]


def _what(v: View) -> list[tuple[str, str]]:
    match v.order.action:
        case Halt() | Extend() | Drill() | Raise():
            return _stopping(v)
        case Install(roster=roster):
            return _succession(v, roster)
        case _:
            return _permitting(v)


def _stopping(v: View) -> list[tuple[str, str]]:
    """What the HALT key can do without anybody's consent."""
    o = v.order
    match o.action:
        case Halt(target=target):
            rows = [*_labelled("stops", target_lines(target)), ("", _ALL_OF_IT), ("where", _EVERYWHERE), *_until(o)]
            costs = "answers break off; what is stopped earns nothing and is not slashed"
            return [*rows, ("", _SYSTEMIC), *_allowance(v), ("costs", costs), ("goes on", _STAYS)]
        case Extend(previous_end=previous_end):
            rows = [row for halt in v.named for row in _labelled("stopped", _halted(halt))]
            rows += [("", _ALL_OF_IT), ("where", _EVERYWHERE), ("ended", moment(previous_end)), *_until(o)]
            rows += [("", f"in all {duration(o.end - halt.issued)} since that HALT") for halt in v.named]
            costs = "it gives no answers and earns nothing for so much longer; it is not slashed"
            return [*rows, ("", _SYSTEMIC), *_allowance(v), ("costs", costs), ("goes on", _STAYS)]
        case Drill(target=target):
            rows = [*_labelled("rehearses", target_lines(target)), ("where", _EVERYWHERE), *_until(o)]
            return [*rows, ("costs", "nothing stops; every node answers, and the ledger keeps the answers")]
        case Raise(models=models):
            rows = [*_labelled("models", _models(models)), ("", "and their descendants"), ("where", _EVERYWHERE)]
            rows.append(("until", "a LOWER ends it: it takes the LIFT key"))
            return [*rows, ("costs", "without a LEASE they stop; HALTs of them no longer end by themselves")]
        case _:
            return []


def _permitting(v: View) -> list[tuple[str, str]]:
    """What lets something run."""
    o = v.order
    match o.action:
        case Heartbeat(head=head):
            rows = [("keeps running", "systemic models that are leased and that nothing halts")]
            rows.append(("where", "on the nodes that it reaches and that see no blocks of the ledger"))
            rows.append(("until", f"{moment(o.issued + FRESH_MS)} ({FRESH_MS // 1000} seconds)"))
            costs = "they run on there though the ledger is not seen: what only the ledger has halted runs on, too"
            return [*rows, ("brake head", head.hex()), ("costs", costs)]
        case Lift():
            rows = [row for halt in v.named for row in _labelled("frees", _halted(halt))] + _stays(v)
            rows += [("where", _RECORDED), ("until", "another HALT stops it: this has no end by itself")]
            rows.append(("costs", "it is in use again, with whatever it was halted for"))
            return [*rows, ("", "a systemic model stays stopped until it has a LEASE that is newer than its HALT")]
        case Lease(models=models):
            rows = [*_labelled("models", [f"model {i.hex()}" for i in models]), ("where", _RECORDED)]
            rows += [("", "and only while they see blocks or heartbeats"), *_until(o)]
            grace = moment(o.end + LEASE_GRACE_MS)
            rows.append(("", f"and {duration(LEASE_GRACE_MS)} of grace: without another LEASE they stop {grace}"))
            return [*rows, ("costs", "they are in use until then; a HALT voids this LEASE, and no LIFT renews it")]
        case Lower(models=models):
            rows = _labelled("models", [f"model {i.hex()}" for i in models])
            for raised in v.named:
                if isinstance(raised.action, Raise):
                    ended = [f"raised by {order_name(raised)}", *_models(raised.action.models)]
                    rows += _labelled("no longer", ended)
            rows += [("where", _RECORDED), ("until", "another RAISE makes them systemic again")]
            return [*rows, ("costs", "HALTs of them end by themselves, and they run without a LEASE")]
        case _:
            return []


def _allowance(v: View) -> list[tuple[str, str]]:
    """How far the allowance goes: it bounds what the HALT key stops of ordinary models, once the ledger recorded it."""
    if signing_key(v.order.action) is GroupKey.LIFT:
        return [("allowance", "none is used: what the LIFT key stops is not bounded by it")]
    whole = f"{ALLOWANCE_MS // DAY_MS} days of any {ALLOWANCE_WINDOW_MS // DAY_MS} for an ordinary model"
    if v.allowed is None:
        return [("allowance", f"{whole}; what is left of it is not known here")]
    rows = [("allowance", f"{whole}; by the orders known here {duration(v.allowed.used)} are used before this")]
    if v.allowed.until < v.order.end:
        rows.append(
            ("ENDS SOONER", f"{moment(v.allowed.until)} of an ordinary model; beyond it only the LIFT key halts")
        )
    return rows


def _halted(o: Order) -> list[str]:
    lines = target_lines(o.action.target) if isinstance(o.action, Halt) else []
    return [*lines, f"halted {moment(o.issued)} until {moment(o.end)} by {order_name(o)}"]


def _stays(v: View) -> list[tuple[str, str]]:
    if not v.rest:
        return [("STILL STOPPED", "nothing else that was halted from here")]
    rows = [row for o in v.rest[:MAX_SHOWN_ORDERS] for row in _labelled("STILL STOPPED", _halted(o))]
    return rows + _labelled("STILL STOPPED", _more(v.rest))


def _more(orders: Sequence[Order]) -> list[str]:
    """What is not shown one by one: whoever stole a key can sign more than anybody reads."""
    left = len(orders) - MAX_SHOWN_ORDERS
    return [f"and {left} more"] if left > 0 else []


def _succession(v: View, new: Roster) -> list[tuple[str, str]]:
    n = len(new.members)
    stay = [k for k in new.members if k in v.roster.members]
    come = [k for k in new.members if k not in v.roster.members]
    go = [k for k in v.roster.members if k not in new.members]
    rows = [("group epoch", f"{new.epoch}, after {v.roster.epoch}"), ("to halt", f"{new.halt_threshold} of {n} sign")]
    rows += [("to lift", f"{new.lift_threshold} of {n} sign"), ("new HALT key", new.halt.hex())]
    rows += [("new LIFT key", new.lift.hex()), ("new roster", fingerprint(roster_digest(new)))]
    for label, keys in (("stays", stay), ("COMES", come), ("GOES", go)):
        rows += _labelled(label, [_holder(v, k) for k in keys] or ["nobody"])
    goes_on = [line for o in v.named for line in _carried(o)]
    rows += _labelled("goes on", goes_on or ["no order: nothing that is stopped is known here"])
    stops = [o for o in v.rest if isinstance(o.action, Halt | Raise)]
    permits = [o for o in v.rest if not isinstance(o.action, Halt | Raise)]
    for label, ends in (("ENDS in 7 days", stops), ("ENDS in 3 days", permits)):
        rows += _labelled(label, [line for o in ends[:MAX_SHOWN_ORDERS] for line in _carried(o)] + _more(ends))
    rows += [
        ("where", "on every node of the network, from the block on that records it"),
        ("until", "the next INSTALL"),
    ]
    return [*rows, ("costs", "today's keys sign nothing any more, and there is no way back but by the new ones")]


def _holder(v: View, key: PublicKey) -> str:
    name = v.names.get(key)
    return f"{name}: {key_text(KeyRole.KEYHOLDER, key)}" if name else key_text(KeyRole.KEYHOLDER, key)


def _carried(o: Order) -> list[str]:
    match o.action:
        case Halt():
            return ["HALT", *(f"  {line}" for line in _halted(o))]
        case Raise(models=models):
            lines = _models(models)
        case Lease(models=ids) | Lower(models=ids):
            lines = [f"model {i.hex()}" for i in ids]
        case _:
            lines = []
    until = f" until {moment(o.end)}" if o.end else ""
    return [f"{type(o.action).__name__.upper()}{until} by {order_name(o)}", *(f"  {line}" for line in lines)]


def order_name(o: Order) -> str:
    """The first digits of an order's id."""
    return f"order {order_id(encode(o)).hex()[:16]}"


def _whose(v: View) -> list[tuple[str, str]]:
    key = signing_key(v.order.action)
    n = len(v.roster.members)
    t = v.roster.halt_threshold if key is GroupKey.HALT else v.roster.lift_threshold
    i = order_id(v.body)
    signers = f"{key.value.upper()}: {t} of {n} keyholders sign; {t - 1} besides you"
    if isinstance(v.order.action, Install):
        signers = f"LIFT: {t} of today's {n} keyholders sign, and both new keys"
    return [
        ("issued", moment(v.order.issued)),
        ("key", signers),
        ("asked by", v.proposer),
        ("chain", v.order.chain.hex()),
        ("order", f"{i.hex()}"),
        ("", fingerprint(i)),
    ]
