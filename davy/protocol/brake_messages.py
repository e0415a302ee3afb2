"""What the brake's routes carry between nodes. Orders prove themselves, so none of these is signed.

=================================================  ================================================================
``POST /brake``, an `OrderSet`                     a `BrakeReply`, when everything that the orders stop has stopped
``GET /brake?head=<hex>``, ``&after=<hex>``        a `OrderPage`: what the node knows, empty where heads agree
=================================================  ================================================================

Both are taken from anybody. Bodies are canonical (`davy.protocol.encoding`), content type ``application/octet-stream``;
errors are JSON as everywhere.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from davy.protocol.encoding import Wire
from davy.protocol.limits import MAX_ORDER_SET, MAX_RECEIPT_BYTES, MAX_SIGNED_ORDER_BYTES
from davy.protocol.order import OrderId
from davy.protocol.words import Digest, UnixMillis

SignedOrderBytes = Annotated[bytes, Meta(max_length=MAX_SIGNED_ORDER_BYTES)]


class OrderSet(Wire):
    """Signed orders, in any sequence; INSTALLs that the others need may be among them."""

    version: Annotated[int, Meta(ge=1, le=1)]
    orders: Annotated[tuple[SignedOrderBytes, ...], Meta(min_length=1, max_length=MAX_ORDER_SET)]


class RefusedOrder(Wire):
    """Why one of the orders was not taken. `order` is its place in the set."""

    order: Annotated[int, Meta(ge=0, le=MAX_ORDER_SET - 1)]
    code: Annotated[str, Meta(max_length=32)]
    message: Annotated[str, Meta(max_length=500)]


class BrakeReply(Wire):
    """The node's head after the orders, and its signed attestations (`davy.protocol.attestation`) of those it took."""

    version: Annotated[int, Meta(ge=1, le=1)]
    head: Digest
    attestations: Annotated[
        tuple[Annotated[bytes, Meta(max_length=MAX_RECEIPT_BYTES)], ...], Meta(max_length=MAX_ORDER_SET)
    ]
    refused: Annotated[tuple[RefusedOrder, ...], Meta(max_length=MAX_ORDER_SET)]


class OrderPage(Wire):
    """Orders that a node knows: INSTALLs first, by epoch, then the others by id. Version 1 did not tell `seen`."""

    version: Annotated[int, Meta(ge=2, le=2)]
    head: Digest
    orders: Annotated[tuple[SignedOrderBytes, ...], Meta(max_length=MAX_ORDER_SET)]
    after: Annotated[tuple[OrderId, ...], Meta(max_length=1)]
    """Where the next page begins; empty after the last."""
    pulled: bool
    """Whether this node has itself pulled since it began: one that has not may lack what it once knew."""
    seen: UnixMillis
    """Time of the newest block or heartbeat that it verified; 0 before the first, and while its clock makes it stale.

    One that sees neither is stale.
    """
