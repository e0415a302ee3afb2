"""What a chain starts from. Its digest is the chain id, so two networks can never be mistaken for each other."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from davy.protocol.encoding import Wire, encode
from davy.protocol.limits import EMISSION_PARTS, MAX_NAME_CHARS, MAX_SUBNETS, ChainParameters, Hyperparameters
from davy.protocol.roster import Roster
from davy.protocol.signing import Domain, digest
from davy.protocol.words import Amount, ChainId, Coldkey, Netuid, PublicKey, UnixMillis


class Allocation(Wire):
    """Tokens that exist from the start; they count as issued."""

    owner: Coldkey
    amount: Amount


class GenesisSubnet(Wire):
    """A subnet that exists from the start; `share` millionths of each block's reward go to it."""

    netuid: Netuid
    owner: Coldkey
    task: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
    mechanism: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
    hyperparameters: Hyperparameters
    share: Annotated[int, Meta(ge=0, le=EMISSION_PARTS)]


class Genesis(Wire):
    """The first word. `producers` sign blocks of the embedded engine (exactly one there).

    `keyholders` is the first roster, of group epoch 0, from which all later ones follow by INSTALL; empty on a chain
    that nobody can halt.
    """

    version: Annotated[int, Meta(ge=1, le=1)]
    note: Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
    time: UnixMillis
    parameters: ChainParameters
    producers: Annotated[tuple[PublicKey, ...], Meta(min_length=1, max_length=128)]
    allocations: Annotated[tuple[Allocation, ...], Meta(max_length=10_000)]
    subnets: Annotated[tuple[GenesisSubnet, ...], Meta(max_length=MAX_SUBNETS)]
    keyholders: Annotated[tuple[Roster, ...], Meta(max_length=1)]


def chain_id(g: Genesis) -> ChainId:
    """SHA-256 of the genesis' canonical bytes, in its own domain."""
    return digest(Domain.GENESIS, encode(g))
