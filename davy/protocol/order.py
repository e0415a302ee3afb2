"""What keyholders sign: an order's canonical bytes, and the signatures of group keys over exactly these.

==========  ==========  ==================================================================================
action      signed by   carries, besides reason, issued, end and nonce
==========  ==========  ==================================================================================
Halt        HALT        a target. Signed by LIFT instead (`authority`), it is not counted in the allowance
Extend      HALT        a HALT's id and its end until then
Drill       HALT        a target; runs the whole path and changes nothing
Raise       HALT        models whose class becomes systemic
Heartbeat   HALT        the signers' brake head; fresh for a minute, never kept
Lift        LIFT        ids of the HALTs it ends
Lease       LIFT        ids of the systemic models that may run until its end
Lower       LIFT        ids of models whose class becomes ordinary, ids of the Raises it ends
Install     LIFT        the next roster, the digest of the one before, ids of the orders that outlive it;
                        signed by the old LIFT, the new HALT and the new LIFT key, in this order
==========  ==========  ==================================================================================

`end` is 0 where nothing ends by itself. Lists are sorted, each entry once, so that one will has one form.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, NamedTuple, TypeAlias

from msgspec import Meta

from davy.protocol.encoding import Wire, decode
from davy.protocol.errors import BadSignature, Expired, Malformed, Misdirected
from davy.protocol.limits import (
    HALT_TERM_MS,
    LEASE_TERM_MS,
    MAX_GROUP_EPOCH,
    MAX_NAMED_ORDERS,
    MAX_ORDER_BYTES,
    MAX_REASON_BYTES,
    MAX_SIGNED_ORDER_BYTES,
    MAX_TARGET_MODELS,
    NONCE_BYTES,
    SIGNER_SKEW_MS,
)
from davy.protocol.roster import GroupEpoch, Roster, check_roster, roster_digest
from davy.protocol.signing import Domain, digest, verify
from davy.protocol.words import ChainId, Coldkey, Digest, Hotkey, ModelId, Netuid, Signature, UnixMillis

OrderId: TypeAlias = Digest
"""SHA-256 of an order's canonical bytes in the domain ORDER; signatures do not enter."""


class GroupKey(StrEnum):
    """The two keys of a roster."""

    HALT = "halt"
    LIFT = "lift"


class Global(Wire, tag="global"):
    """Everything."""


class Subnet(Wire, tag="subnet"):
    """All that one subnet does."""

    netuid: Netuid


class Miner(Wire, tag="miner"):
    """One node, whatever it serves."""

    hotkey: Hotkey


class Models(Wire, tag="models"):
    """Models, by any of: id, digest of a weight file, registrant."""

    ids: Annotated[tuple[ModelId, ...], Meta(max_length=MAX_TARGET_MODELS)]
    files: Annotated[tuple[Digest, ...], Meta(max_length=MAX_TARGET_MODELS)]
    registrants: Annotated[tuple[Coldkey, ...], Meta(max_length=MAX_TARGET_MODELS)]


Target: TypeAlias = Global | Subnet | Miner | Models


class Halt(Wire, tag="halt"):
    """Stop the target until the order's end; a systemic model until it is lifted."""

    target: Target
    authority: GroupKey


class Extend(Wire, tag="extend"):
    """Let `halt` last until this order's end instead of `previous_end`; issued no later than that."""

    halt: OrderId
    previous_end: UnixMillis


class Drill(Wire, tag="drill"):
    """A HALT that stops nothing: it is delivered, checked and attested like one."""

    target: Target


class Raise(Wire, tag="raise"):
    """The class of these models, and of their declared descendants, becomes systemic."""

    models: Models


class Heartbeat(Wire, tag="heartbeat"):
    """The keyholders are there and know `head`: freshness for a node that does not see the ledger."""

    head: Digest


class Lift(Wire, tag="lift"):
    """End these HALTs, and no other."""

    halts: Annotated[tuple[OrderId, ...], Meta(min_length=1, max_length=MAX_NAMED_ORDERS)]


class Lease(Wire, tag="lease"):
    """These systemic models may run until the order's end."""

    models: Annotated[tuple[ModelId, ...], Meta(min_length=1, max_length=MAX_TARGET_MODELS)]


class Lower(Wire, tag="lower"):
    """The class of these models becomes ordinary, whatever their subnet and registrant chose; these Raises end."""

    models: Annotated[tuple[ModelId, ...], Meta(max_length=MAX_TARGET_MODELS)]
    raises: Annotated[tuple[OrderId, ...], Meta(max_length=MAX_NAMED_ORDERS)]


class Install(Wire, tag="install"):
    """The roster after the order's own.

    What is not in `carried` ends with the old roster: what stops after `HALT_TERM_MS`, what permits after
    `LEASE_GRACE_MS`. HALTs in force are to be carried, as every signer knows them.
    """

    roster: Roster
    previous: Digest
    carried: Annotated[tuple[OrderId, ...], Meta(max_length=MAX_NAMED_ORDERS)]


OrderAction: TypeAlias = Halt | Extend | Drill | Raise | Heartbeat | Lift | Lease | Lower | Install


class Order(Wire):
    """What is signed. `roster` binds it to the keys, `epoch` says the same to people."""

    version: Annotated[int, Meta(ge=1, le=1)]
    chain: ChainId
    epoch: GroupEpoch
    roster: Digest
    action: OrderAction
    reason: Digest
    """`reason_digest` of the text that was shown."""
    issued: UnixMillis
    end: UnixMillis
    nonce: Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]


class SignedOrder(Wire):
    """What travels: the order's exact bytes and signatures in the domain ORDER, three for Install, else one."""

    version: Annotated[int, Meta(ge=1, le=1)]
    order: Annotated[bytes, Meta(max_length=MAX_ORDER_BYTES)]
    signatures: Annotated[tuple[Signature, ...], Meta(min_length=1, max_length=3)]


class VerifiedOrder(NamedTuple):
    """An order whose signatures were checked (`verify_order`), with the bytes that prove it to others."""

    id: OrderId
    raw: bytes
    """Of the `SignedOrder`."""
    order: Order


def order_id(order: bytes) -> OrderId:
    """SHA-256 of an order's canonical bytes in the domain ORDER."""
    return digest(Domain.ORDER, order)


def signing_key(action: OrderAction) -> GroupKey:
    """Which key of the order's own roster signs an action (Install: the first of its three)."""
    match action:
        case Halt():
            return action.authority
        case Extend() | Drill() | Raise() | Heartbeat():
            return GroupKey.HALT
        case Lift() | Lease() | Lower() | Install():
            return GroupKey.LIFT


def open_order(raw: bytes) -> tuple[SignedOrder, Order]:
    """Decode a signed order and check its form; no signature is checked.

    Raises
    ------
    TooLarge, Malformed
        See `davy.protocol.encoding.decode` and `check_order`.
    """
    signed = decode(raw, SignedOrder, limit=MAX_SIGNED_ORDER_BYTES)
    order = decode(signed.order, Order, limit=MAX_ORDER_BYTES)
    check_order(order)
    return signed, order


def verify_order(raw: bytes, roster: Roster, chain: ChainId) -> VerifiedOrder:
    """Open a signed order and check that the keys of `roster` signed it, for this chain.

    Raises
    ------
    TooLarge, Malformed
    Misdirected
        For another chain or roster.
    BadSignature
        Not every signature that its action needs, or another key's.
    """
    signed, order = open_order(raw)
    if order.chain != chain:
        raise Misdirected("the order is for another chain; take it there")
    if order.roster != roster_digest(roster) or order.epoch != roster.epoch:
        raise Misdirected(f"the order is not for the roster of group epoch {roster.epoch}; sign it anew for that one")
    keys = [roster.halt if signing_key(order.action) is GroupKey.HALT else roster.lift]
    if isinstance(order.action, Install):
        keys += [order.action.roster.halt, order.action.roster.lift]
    if len(signed.signatures) != len(keys):
        raise BadSignature(f"this order needs {len(keys)} signatures, not {len(signed.signatures)}")
    for key, signature in zip(keys, signed.signatures, strict=True):
        verify(key, Domain.ORDER, signed.order, signature)
    return VerifiedOrder(order_id(signed.order), raw, order)


def check_order(o: Order) -> None:
    """Check what the bounds of the fields cannot say; no clock is asked.

    Raises
    ------
    Malformed
        A term that is empty or too long, an end where nothing ends, an EXTEND issued after the end it extends or that
        does not extend, a list unsorted or with an entry twice, no model named, a roster that does not follow.
    """
    match o.action:
        case Halt(target=target) | Drill(target=target):
            _check_term(o, HALT_TERM_MS)
            if isinstance(target, Models):
                _check_models(target)
        case Extend(previous_end=previous_end):
            _check_term(o, HALT_TERM_MS)
            if not o.issued <= previous_end < o.end:
                raise Malformed("an EXTEND is issued before the HALT ends and ends after it; halt anew instead")
        case Lease(models=models):
            _check_term(o, LEASE_TERM_MS)
            _check_list("models", models)
        case _:
            if o.end != 0:
                raise Malformed("this order does not end by itself; its end is 0")
            _check_lasting(o)


def _check_lasting(o: Order) -> None:
    match o.action:
        case Raise(models=models):
            _check_models(models)
        case Lift(halts=halts):
            _check_list("HALTs", halts)
        case Lower(models=models, raises=raises):
            _check_list("models", models)
            _check_list("Raises", raises)
            if not models and not raises:
                raise Malformed("the order names neither a model nor a Raise; name one")
        case Install():
            _check_install(o, o.action)
        case _:
            pass


def _check_install(o: Order, install: Install) -> None:
    if o.epoch == MAX_GROUP_EPOCH or install.roster.epoch != o.epoch + 1:
        raise Malformed(f"after group epoch {o.epoch} comes {o.epoch + 1}, up to {MAX_GROUP_EPOCH}; number it so")
    if install.previous != o.roster:
        raise Malformed("the roster before is not the one that signs; name its digest")
    check_roster(install.roster)
    _check_list("carried orders", install.carried)


def _check_term(o: Order, longest: int) -> None:
    if not 0 < o.end - o.issued <= longest:
        raise Malformed(f"the order ends {o.end - o.issued} ms after it was issued; choose 1 to {longest}")


def _check_models(m: Models) -> None:
    for name, entries in (("model ids", m.ids), ("file digests", m.files), ("registrants", m.registrants)):
        _check_list(name, entries)
    if not (m.ids or m.files or m.registrants):
        raise Malformed("the order names no model; name an id, a file or a registrant")


def _check_list(name: str, entries: tuple[bytes, ...]) -> None:
    if any(a >= b for a, b in pairwise(entries)):
        raise Malformed(f"the {name} are not sorted, or one is there twice; sort them")


def check_issued(o: Order, now: UnixMillis) -> None:
    """Check, as a signer, that an order was issued now: the difference does not exceed `SIGNER_SKEW_MS`.

    Receivers never ask this: no receiver's clock decides whether an order is valid.

    Raises
    ------
    Expired
    """
    if abs(o.issued - now) > SIGNER_SKEW_MS:
        raise Expired(f"the order says {o.issued} and this clock {now}; set the clock, or propose the order anew")


def reason_digest(text: str) -> Digest:
    """SHA-256 of a reason as people read it, in its own domain.

    Raises
    ------
    Malformed
        Longer than `MAX_REASON_BYTES`, or with a character that does not print, such as a line feed or one that
        changes the direction of writing: what is shown must be what is signed.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise Malformed("the reason holds half a character; write it anew") from None
    if len(data) > MAX_REASON_BYTES or not text.isprintable():
        raise Malformed(f"a reason is one line of at most {MAX_REASON_BYTES} bytes that all print; write it so")
    return digest(Domain.REASON, data)


def check_reason(o: Order, text: str) -> None:
    """Check that an order was signed for this reason.

    Raises
    ------
    Malformed
    Misdirected
        The order was signed for another one.
    """
    if reason_digest(text) != o.reason:
        raise Misdirected("the order was signed for another reason; do not show this one with it")
