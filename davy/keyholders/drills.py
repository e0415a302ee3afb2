"""How long a drill took, as the keyholder that released it saw it; a ledger knows only which of its blocks heard of it.

All times run by the one clock of who released it, from the signature to when a node's signed answer was here. What an
order or a node says of the time counts for nothing: orders are dated ahead, and every node has a clock of its own.
Anybody can have itself named on a ledger, and answer late or never: where there is a book, only its nodes count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from davy.keyholders.listening import ToListening
from davy.keyholders.release import Delivery, ToNodes
from davy.protocol.errors import Malformed
from davy.protocol.order import VerifiedOrder
from davy.protocol.words import ChainId, UnixMillis


class DrillRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of a drill at the nodes that it was sent to; a file of the home, never on a wire."""

    version: Literal[1]
    chain: str
    order: str
    released: UnixMillis
    took: tuple[int, ...]
    """Milliseconds until each that answered had, the fastest first."""
    unreached: tuple[str, ...]
    of: Literal["book", "ledger"] = "book"
    """Whose nodes these are: the book's, or, where there was none, those that the ledger names."""

    @property
    def addressed(self) -> int:
        return len(self.took) + len(self.unreached)

    def percentile(self, q: int) -> int | None:
        """By nearest rank among those that answered; None where nobody did."""
        return self.took[-(-q * len(self.took) // 100) - 1] if self.took else None


def drill_released(v: VerifiedOrder, signed_at: UnixMillis, deliveries: Sequence[Delivery]) -> DrillRelease:
    """Sum up who answered a drill that was signed here at a moment, and who did not."""
    book = [d for d in deliveries if d.route == ToNodes.name]
    nodes = book or [d for d in deliveries if d.route == ToListening.name]
    took = sorted(max(0, d.at - signed_at) for d in nodes if d.reached)
    away = tuple(d.to for d in nodes if not d.reached)
    of = "book" if book or not nodes else "ledger"
    return DrillRelease(1, v.order.chain.hex(), v.id.hex(), signed_at, tuple(took), away, of)


def release_line(r: DrillRelease, most: int = 8) -> str:
    """Who answered and how fast, in a line that names no more than `most` of those that did not."""
    if not r.addressed:
        return "no node was addressed straight from here: give --book"
    more = ", …" if len(r.unreached) > most else ""
    away = f" ({', '.join(r.unreached[:most])}{more})" if r.unreached else ""
    whose = "in the book" if r.of == "book" else "named by the ledger"
    line = f"of the nodes {whose} answered {len(r.took)} of {r.addressed}, unreached {len(r.unreached)}{away}"
    if not r.took:
        return line
    times = "/".join(str(r.percentile(q)) for q in (50, 99, 100))
    return f"{line}, p50/p99/max {times} ms from the signature to the answer, by the clock here (a drill stops nothing)"


def write_release(r: DrillRelease) -> bytes:
    """As it is kept, for `read_release`."""
    return msgspec.json.encode(r) + b"\n"


def read_release(raw: bytes, chain: ChainId) -> DrillRelease | None:
    """Read what was kept; None where it is of another chain.

    Raises
    ------
    Malformed
    """
    try:
        r = msgspec.json.decode(raw, type=DrillRelease)
    except (msgspec.DecodeError, msgspec.ValidationError) as e:
        raise Malformed(f"what was kept of the last drill cannot be read ({e}); the next drill replaces it") from None
    return r if r.chain == chain.hex() else None
