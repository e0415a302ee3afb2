"""What a block may hold: orders of keyholders first, each once, then transactions that may be included; nothing else.

Pure functions of the state after the last block. The proposer picks by them and every other producer checks by them, so
a block with anything else in it finds no majority.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from davy.ledger.rules.coldkeys import signs_for
from davy.ledger.rules.machine import Machine, Verdict
from davy.ledger.rules.transactions import known_sender
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.limits import MAX_BLOCK_BYTES, MAX_BLOCK_ORDERS, MAX_BLOCK_TXS, MAX_TX_BYTES
from davy.protocol.transaction import is_brake_order


def prepare(machine: Machine, orders: Iterable[bytes], txs: Iterable[bytes], room: int) -> list[bytes]:
    """Pick what goes into the next block.

    Parameters
    ----------
    orders
        The proposer's own, which need not have come by the engine.
    txs
        What waits, in the order of arrival. A sender's are taken in the order of their nonces without a gap; one that
        came too early waits on.
    room
        Bytes, as the engine counts them.
    """
    taken: list[bytes] = []
    waiting = list(txs)
    first = [*orders, *filter(is_brake_order, waiting)]
    for raw in (*_orders(machine, first), *_in_turn(machine, [t for t in waiting if not is_brake_order(t)])):
        size = framed(raw)
        if len(taken) == MAX_BLOCK_TXS or size > room:
            break
        taken.append(raw)
        room -= size
    return taken


def may_be_a_block(machine: Machine, txs: Sequence[bytes]) -> bool:
    """Whether a proposed block is one that `prepare` could have picked."""
    if len(txs) > MAX_BLOCK_TXS or sum(map(framed, txs)) > MAX_BLOCK_BYTES:
        return False
    orders = [raw for raw in txs if is_brake_order(raw)]
    rest = list(txs[len(orders) :])
    if any(is_brake_order(raw) for raw in rest):
        return False
    return list(_orders(machine, orders)) == orders and list(_in_turn(machine, rest)) == rest


def framed(raw: bytes) -> int:
    """What a transaction takes in a block: its bytes, its length before them, and a tag."""
    return len(raw) + 1 + max(1, (len(raw).bit_length() + 6) // 7)


def _orders(machine: Machine, orders: Iterable[bytes]) -> Iterator[bytes]:
    """Those that would change the state, each once, as many as a block looks at."""
    seen: set[bytes] = set()
    for raw in orders:
        verdict = _verdict(machine, raw)
        if verdict is not None and verdict.order not in seen:
            seen.add(verdict.order)
            yield raw
            if len(seen) == MAX_BLOCK_ORDERS:
                return


def _in_turn(machine: Machine, txs: Iterable[bytes]) -> Iterator[bytes]:
    """Those whose nonce is next of who they are signed for; one that was early comes after the one it waited for."""
    due: dict[bytes, int] = {}
    early: dict[tuple[bytes, int], bytes] = {}
    for raw in txs:
        verdict = _verdict(machine, raw)
        if verdict is None:
            continue
        try:
            sender = signs_for(machine.state, verdict.sender)
            due.setdefault(sender, known_sender(machine.state, sender))
        except TxFailed:
            continue
        early.setdefault((sender, verdict.nonce), raw)
        while (next_one := early.pop((sender, due[sender]), None)) is not None:
            due[sender] += 1
            yield next_one


def _verdict(machine: Machine, raw: bytes) -> Verdict | None:
    """The verdict on what may be included; None for anything else."""
    if len(raw) > MAX_TX_BYTES:
        return None
    try:
        verdict = machine.check_tx(raw, at_door=False)
    except TxFailed:
        return None
    return verdict if verdict.code is TxCode.OK else None
