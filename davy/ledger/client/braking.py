"""What a client makes of the ledger's answers about the brake: whether the orders it was told are all there are."""

from __future__ import annotations

from collections.abc import Iterable

from davy.protocol.order import Drill, Order, OrderId, open_order, order_id
from davy.protocol.recorded import BrakeRecord, OrderRecord, RecordedBrake, recorded_digest


def gather(height: int, brake: BrakeRecord, rows: Iterable[OrderRecord]) -> RecordedBrake:
    """Put orders and drills in order, each once.

    Raises
    ------
    TooLarge, Malformed
        One of them is no order.
    """
    by_number = {row.number: row for row in rows}
    orders: list[OrderRecord] = []
    drills: list[OrderRecord] = []
    for _, row in sorted(by_number.items()):
        (drills if isinstance(_opened(row)[1].action, Drill) else orders).append(row)
    return RecordedBrake(height, brake, tuple(orders), tuple(drills))


def are_all(told: RecordedBrake, proved: BrakeRecord) -> bool:
    """Whether a proved record of the brake stands for exactly these orders, with these blocks."""
    rows = [(_opened(row)[0], row.height, row.time) for row in told.orders]
    return len(rows) == proved.orders and recorded_digest(rows) == proved.recorded


def _opened(row: OrderRecord) -> tuple[OrderId, Order]:
    signed, order = open_order(row.order)
    return order_id(signed.order), order
