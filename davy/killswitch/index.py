"""What a guard keeps on disk beside the orders themselves."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import replace

from davy.killswitch.brake import BrakeState
from davy.killswitch.clocks import moment
from davy.protocol.chain import Head
from davy.protocol.encoding import Wire, decode
from davy.protocol.errors import Misconfigured, Refused, StoreFailed
from davy.protocol.limits import FRESH_MS, MAX_STORED_BYTES
from davy.protocol.order import OrderId
from davy.protocol.words import ChainId, Height, UnixMillis

INDEX: Final = b"brake/index"
"""Where it is kept."""
ORDER: Final = b"brake/order/"
"""Before an order's id, where that is."""


class Recorded(Wire):
    """When the ledger recorded an order."""

    id: OrderId
    time: UnixMillis


class Index(Wire):
    """What a guard keeps beside the orders themselves: which there are, and marks that only rise."""

    version: Annotated[int, Meta(ge=1, le=1)]
    chain: ChainId
    orders: tuple[OrderId, ...]
    recorded: tuple[Recorded, ...]
    own: UnixMillis
    block: UnixMillis
    height: Height
    """0 before the first verified block, and then `block` says nothing."""


def read_index(raw: bytes) -> Index:
    """Decode what a guard kept.

    Raises
    ------
    StoreFailed
        It cannot be read.
    """
    try:
        return decode(raw, Index, limit=MAX_STORED_BYTES)
    except Refused as e:
        raise StoreFailed(f"the brake's index in the store cannot be read ({e}); restore the store") from None


def clock_mended(kept: Index, known: BrakeState, now: UnixMillis, block: Head) -> Index:
    """What a guard should keep whose clock was ahead once: all of it, and the time as it is.

    Nothing becomes permitted by it that the ledger's time does not permit: an earlier own clock ends no HALT sooner,
    and a LEASE that has lapsed by the blocks' time stays so.

    Parameters
    ----------
    known
        Its orders; what permits must stand on the ledger (`davy.killswitch.brake.on_record`).
    now
        The machine's clock.
    block
        The ledger's newest header, verified.

    Raises
    ------
    Misconfigured
        Clock and ledger do not agree, the ledger is behind what the node has seen, the kept time is not ahead, or a
        HALT is dated ahead: by the kept time it has begun.
    """
    if block.height < kept.height:
        raise Misconfigured(f"the ledger stands at {block.height}, and this node has seen {kept.height}; ask another")
    if abs(now - block.time) > FRESH_MS:
        seconds = abs(now - block.time) // 1000
        raise Misconfigured(
            f"this machine's clock and the ledger's newest block are {seconds} s apart; set the clock first, and see "
            "that the ledger makes blocks"
        )
    if kept.own - now <= FRESH_MS:
        raise Misconfigured("the time that this node has kept is not ahead; nothing has to be mended")
    own = max(now, kept.block)
    if later := [h.begins for h in known.book.halts if h.lifted is None and own < h.begins <= kept.own]:
        raise Misconfigured(
            f"a HALT that this node knows stops everywhere from {moment(max(later))} on, and here already; mend the "
            "clock after that, or have it lifted"
        )
    return replace(kept, own=own)
