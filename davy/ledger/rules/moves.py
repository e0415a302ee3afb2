"""Stake that changes its hotkey without unbonding, and what it still answers for."""

from __future__ import annotations

from msgspec.structs import replace

from davy.ledger.rules.records import HOTKEYS, MOVES, STAKES, MovesRecord, Pledge
from davy.ledger.rules.stake import change_position, join, leave
from davy.ledger.rules.state import State
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.limits import MAX_MOVES
from davy.protocol.transaction import MoveStake
from davy.protocol.words import Moment, tokens


def move_stake(s: State, at: Moment, sender: bytes, x: MoveStake) -> None:
    """Stake changes its hotkey at once. In the running epochs it counts on neither: it was held on none all over.

    Who owns the origin is answerable for it with that stake, as if it unbonded: so it moves to hotkeys of its own only,
    stays there for `unbonding` blocks, and is burned there if the origin is convicted meanwhile.

    Raises
    ------
    TxFailed
        OUT_OF_RANGE: both hotkeys are one, less than minimum_stake, or what `leave` refuses; NOT_FOUND; INSUFFICIENT;
        BARRED: the destination was convicted; WRONG_TIME: see `leave`. NOT_OWNER: the sender owns the origin and not
        the destination. FULL: `pledge`, or `join`.
    """
    if x.origin == x.destination:
        raise TxFailed(TxCode.OUT_OF_RANGE, "both hotkeys are one; name another to move to")
    if x.amount < s.parameters.minimum_stake:
        raise TxFailed(
            TxCode.OUT_OF_RANGE, f"at least {tokens(s.parameters.minimum_stake)} tokens are moved at once; move more"
        )
    leave(s, at, x.origin, sender, x.amount)
    change_position(s, x.origin, sender, -x.amount)
    join(s, at, x.destination, sender, x.amount)
    if s.need(HOTKEYS, x.origin, "a position without its hotkey").owner == sender:
        pledge(s, at, sender, x)


def pledge(s: State, at: Moment, owner: bytes, x: MoveStake) -> None:
    """Write down, on both sides, that moved stake answers for its origin for `unbonding` blocks.

    Raises
    ------
    TxFailed
        NOT_OWNER; FULL: MAX_MOVES from the origin or to the destination answer already.
    """
    if s.need(HOTKEYS, x.destination, "a position without its hotkey").owner != owner:
        raise TxFailed(
            TxCode.NOT_OWNER, "what you staked on a hotkey of yours moves to your own hotkeys only; remove it instead"
        )
    key = x.destination + owner
    position = s.need(STAKES, key, "a move without a position")
    standing = tuple(p for p in position.pledges if p.due > at.height)
    places = {p for p in moved_from(s, x.origin) if any(m.due > at.height for m in pledges(s, p, owner, x.origin))}
    places.add(x.destination)
    if len(standing) >= MAX_MOVES or len(places) > MAX_MOVES:
        raise TxFailed(TxCode.FULL, f"{MAX_MOVES} moves are answered for still; wait, or move more at once")
    added = Pledge(x.origin, x.amount, at.height + s.parameters.unbonding)
    s.put(STAKES, key, replace(position, pledges=(*standing, added)))
    s.put(MOVES, x.origin, MovesRecord(tuple(sorted(places))))


def moved_from(s: State, origin: bytes) -> tuple[bytes, ...]:
    """Hotkeys whose owner may have stake on them that answers for `origin`."""
    moves = s.get(MOVES, origin)
    return () if moves is None else moves.destinations


def pledges(s: State, hotkey: bytes, owner: bytes, origin: bytes) -> list[Pledge]:
    """What was moved from `origin` to a position, past its height or not."""
    position = s.get(STAKES, hotkey + owner)
    return [] if position is None else [p for p in position.pledges if p.origin == origin]


def release(s: State, hotkey: bytes, owner: bytes, origin: bytes) -> None:
    """Drop what a position answers for another hotkey with: it was called in."""
    position = s.need(STAKES, hotkey + owner, "a move without a position")
    left = tuple(p for p in position.pledges if p.origin != origin)
    s.put(STAKES, hotkey + owner, replace(position, pledges=left))
