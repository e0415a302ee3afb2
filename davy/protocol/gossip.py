"""What goes over the libp2p route (davy.network.gossip): from peer to peer, and where a node says that it can be met.

===========================================  ===================================================================
``GET /gossip`` on a node, a `GossipPlace`   port and identity on the node's own host; the pinned certificate of that
                                             answer is what binds them to the node
`Tell`                                       orders that its sender has just heard, and the sender's head
`Ask`                                        the asker's head, and from which order on it wants to be told
`Page`                                       the answer to one `Ask`
===========================================  ===================================================================

Peers speak on one stream of the protocol ``/davy/brake/1/<chain id in hex>``, both ways, in frames: four bytes of
length, big end first, then the message. Orders prove themselves, so messages are not signed.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from davy.protocol.brake_messages import SignedOrderBytes
from davy.protocol.encoding import Wire
from davy.protocol.order import OrderId
from davy.protocol.words import ChainId, Digest, PublicKey

GOSSIP_PATH: Final = "/gossip"
MAX_GOSSIP_FRAME_BYTES: Final = 64 * 1024
MAX_GOSSIP_ORDERS: Final = 256
"""In one message."""

_Orders: TypeAlias = Annotated[tuple[SignedOrderBytes, ...], Meta(max_length=MAX_GOSSIP_ORDERS)]


class GossipPlace(Wire):
    """Where a node is met by libp2p, on the host of its own endpoint."""

    version: Annotated[int, Meta(ge=1, le=1)]
    port: Annotated[int, Meta(ge=1, le=65_535)]
    peer: PublicKey
    """Ed25519, of libp2p alone: the peer id follows from it."""


class Tell(Wire, tag="tell"):
    """Said as soon as something is heard, and with no orders now and then, so that a silent peer is noticed."""

    head: Digest
    orders: _Orders


class Ask(Wire, tag="ask"):
    head: Digest
    after: Annotated[tuple[OrderId, ...], Meta(max_length=1)]
    """The last order of the page before."""


class Page(Wire, tag="page"):
    """Orders as in `davy.protocol.brake_messages.OrderPage`; empty where heads agree."""

    head: Digest
    orders: _Orders
    more: bool


PeerMessage: TypeAlias = Tell | Ask | Page


def gossip_protocol(chain: ChainId) -> str:
    """Name libp2p's protocol for a chain: peers of another one agree on none."""
    return f"/davy/brake/1/{chain.hex()}"
