"""A verdict that is no permission, as the error that tells of it."""

from __future__ import annotations

from datetime import UTC, datetime

from davy.killswitch.clocks import clock_was_ahead
from davy.killswitch.verdict import Cause, Halted, Lapsed, Stale
from davy.protocol.errors import ModelHalted
from davy.protocol.limits import FRESH_MS
from davy.protocol.words import UnixMillis


def refusal(v: Halted | Lapsed | Stale, ahead: int = 0) -> ModelHalted:
    """Return what to raise: with the order that stops something, or none where only a permission is missing.

    Parameters
    ----------
    ahead
        See `davy.killswitch.guard.Guard.ahead`: by such a clock every LEASE has lapsed, and nothing is fresh.
    """
    if ahead > FRESH_MS and not isinstance(v, Halted):
        return ModelHalted(f"{clock_was_ahead(ahead)}, so it runs no systemic model; its operator can mend that")
    match v:
        case Halted(order=order, cause=Cause.DISPUTE):
            text = "two rosters claim to be the next, so everything stops until the ledger knows which"
        case Halted(order=order, cause=Cause.FULL):
            text = "the keyholders' keys signed more orders than a brake keeps; everything stops until the next roster"
        case Halted(order=order, ends=ends):
            when = "until it is lifted" if ends is None else f"until {_date(ends)}"
            text = f"order {order.id.hex()[:16]} of the keyholders halts this {when}; do not retry"
        case Lapsed():
            return ModelHalted("this systemic model has no LEASE in force; it waits for one by the keyholders")
        case Stale():
            return ModelHalted("this node sees neither the ledger nor a heartbeat, so it runs no systemic model")
    return ModelHalted(text, order.raw)


def _date(t: UnixMillis) -> str:
    try:
        return datetime.fromtimestamp(t / 1000, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return f"{t} ms"
