"""What a guard keeps on disk beside the orders themselves."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from davy.protocol.encoding import Wire
from davy.protocol.order import OrderId
from davy.protocol.words import ChainId, Height, UnixMillis


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
