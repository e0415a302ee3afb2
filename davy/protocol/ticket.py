"""Tickets: how much a consumer may ask, across all miners, without a server between them.

A budget on the ledger holds a number of tickets. A request spends one: the consumer signs its number, the miner and the
request. Two tickets of one number that differ in either are a proof that anybody can hand in, and cost the deposit.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.limits import MAX_TICKET_BYTES, MAX_TICKETS
from davy.protocol.signing import Domain, digest, verify
from davy.protocol.words import ChainId, Coldkey, Digest, Hotkey, Nonce, PublicKey, Signature


class Ticket(Wire):
    """What the consumer signs: `request` is the digest of the request's signature base, as in a receipt."""

    version: Annotated[int, Meta(ge=1, le=1)]
    chain: ChainId
    budget: Digest
    index: Annotated[int, Meta(ge=0, le=MAX_TICKETS - 1)]
    miner: Hotkey
    request: Digest


class SignedTicket(Wire):
    """A ticket's exact bytes and the consumer's signature in the domain TICKET."""

    version: Annotated[int, Meta(ge=1, le=1)]
    ticket: Annotated[bytes, Meta(max_length=MAX_TICKET_BYTES)]
    signature: Signature


def read_ticket(raw: bytes) -> tuple[SignedTicket, Ticket]:
    """Decode a signed ticket; its signature is not checked, since the budget it names says whose it must be.

    Raises
    ------
    TooLarge, Malformed
    """
    signed = decode(raw, SignedTicket, limit=MAX_TICKET_BYTES)
    return signed, decode(signed.ticket, Ticket, limit=MAX_TICKET_BYTES)


def verify_ticket(signed: SignedTicket, consumer: PublicKey) -> None:
    """Check that the consumer of a ticket's budget signed it.

    Raises
    ------
    BadSignature
    """
    verify(consumer, Domain.TICKET, signed.ticket, signed.signature)


class _Budget(Wire):
    version: int
    chain: ChainId
    owner: Coldkey
    nonce: Nonce


def budget_id(chain: ChainId, owner: Coldkey, nonce: Nonce) -> Digest:
    """A budget's id, in the domain BUDGET: who opened it, and the nonce of the transaction that did."""
    return digest(Domain.BUDGET, encode(_Budget(1, chain, owner, nonce)))
