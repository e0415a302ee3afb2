"""A hotkey's take: what its owner keeps of the dividends of who stakes on it. It falls at once and rises slowly."""

from __future__ import annotations

from msgspec.structs import replace

from davy.ledger.rules.records import HOTKEYS, HotkeyRecord
from davy.ledger.rules.state import State
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.limits import TAKE_STEP
from davy.protocol.transaction import SetTake
from davy.protocol.words import Moment


def may_raise(s: State, h: HotkeyRecord) -> int:
    """The height from which on a take may be raised: whoever does not like the last raise has gone by then."""
    return h.raised + s.parameters.unbonding


def set_take(s: State, at: Moment, sender: bytes, x: SetTake) -> None:
    """Change what a hotkey's owner keeps, from the next payment on.

    Raises
    ------
    TxFailed
        NOT_FOUND; NOT_OWNER; EXISTS: it is so already. OUT_OF_RANGE: a raise by more than TAKE_STEP. WRONG_TIME: a
        raise less than `unbonding` blocks after the last one, or after the hotkey was first registered.
    """
    h = s.need(HOTKEYS, x.hotkey, "the ledger does not know this hotkey; register it first")
    if h.owner != sender:
        raise TxFailed(TxCode.NOT_OWNER, "only a hotkey's owner sets its take")
    if x.take == h.take:
        raise TxFailed(TxCode.EXISTS, "the take is that already")
    if x.take < h.take:
        s.put(HOTKEYS, x.hotkey, replace(h, take=x.take))
        return
    if x.take > h.take + TAKE_STEP:
        raise TxFailed(
            TxCode.OUT_OF_RANGE,
            f"a take rises by {TAKE_STEP} of 65535 at a time, and is {h.take} now; raise it less",
        )
    if at.height < may_raise(s, h):
        raise TxFailed(TxCode.WRONG_TIME, f"this take may rise again at height {may_raise(s, h)}; wait until then")
    s.put(HOTKEYS, x.hotkey, replace(h, take=x.take, raised=at.height))
