"""What keyholders sign: forms that are refused, signatures, ids, reasons."""

import hashlib
import sys
from pathlib import Path

import pytest
from nacl import bindings
from nacl.signing import VerifyKey

from davy.protocol import limits
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import BadSignature, Expired, Malformed, Misdirected, Refused, TooLarge
from davy.protocol.order import (
    Drill,
    Extend,
    Global,
    GroupKey,
    Halt,
    Heartbeat,
    Install,
    Lease,
    Lift,
    Lower,
    Models,
    Order,
    OrderAction,
    Raise,
    SignedOrder,
    check_issued,
    check_order,
    check_reason,
    open_order,
    order_id,
    reason_digest,
    signing_key,
    verify_order,
)

# tests/twins is no test: importlib mode, rightly, makes nothing importable by accident
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.twins.keyholders import Keyholders

CHAIN = hashlib.sha256(b"chain").digest()
NOW = 1_800_000_000_000
A, B = bytes(32), b"\x01" * 32
OLD, NEW = Keyholders(), Keyholders(1)
ONE = Models((A,), (), ())

GOOD: list[tuple[OrderAction, int]] = [
    (Halt(Global(), GroupKey.HALT), limits.HALT_TERM_MS),
    (Halt(Models((), (A, B), (A,)), GroupKey.LIFT), 1),
    (Extend(A, NOW), 1),
    (Extend(A, NOW + limits.HALT_TERM_MS - 1), limits.HALT_TERM_MS),
    (Drill(ONE), 1),
    (Lease((A, B), ), limits.LEASE_TERM_MS),
    (Raise(ONE), 0),
    (Heartbeat(A), 0),
    (Lift((A, B)), 0),
    (Lower((A,), ()), 0),
    (Lower((), (A,)), 0),
    (Install(NEW.roster, OLD.digest, (A, B)), 0),
]  # fmt: skip

BAD: list[tuple[OrderAction, int]] = [
    (Halt(Global(), GroupKey.HALT), limits.HALT_TERM_MS + 1),
    (Halt(Global(), GroupKey.LIFT), limits.HALT_TERM_MS + 1),
    (Halt(Global(), GroupKey.HALT), 0),
    (Halt(Models((B, A), (), ()), GroupKey.HALT), 1),
    (Halt(Models((), (A, A), ()), GroupKey.HALT), 1),
    (Halt(Models((), (), (B, A)), GroupKey.HALT), 1),
    (Halt(Models((), (), ()), GroupKey.HALT), 1),
    (Drill(Models((), (), ())), 1),
    (Drill(ONE), limits.HALT_TERM_MS + 1),
    (Extend(A, NOW - 1), 1),
    (Extend(A, NOW + 5), 5),
    (Extend(A, NOW + 5), limits.HALT_TERM_MS + 1),
    (Lease((A,)), limits.LEASE_TERM_MS + 1),
    (Lease((B, A)), 1),
    (Raise(Models((), (), ())), 0),
    (Lift((B, A)), 0),
    (Lower((), ()), 0),
    (Lower((B, A), ()), 0),
    (Lower((), (A, A)), 0),
    (Install(NEW.roster, A, ()), 0),
    (Install(NEW.roster, OLD.digest, (B, A)), 0),
    (Install(Keyholders(2).roster, OLD.digest, ()), 0),
    (Install(OLD.roster, OLD.digest, ()), 0),
]


def made(action: OrderAction, term: int, by: Keyholders = OLD) -> Order:
    return by.order(CHAIN, action, NOW, NOW + term if term else 0)


@pytest.mark.parametrize(("action", "term"), GOOD)
def test_a_good_order_is_signed_sent_and_verified(action: OrderAction, term: int) -> None:
    o = made(action, term)
    check_order(o)
    raw = OLD.sign(o, NEW)
    v = verify_order(raw, OLD.roster, CHAIN)
    assert (v.order, v.raw, v.id) == (o, raw, order_id(encode(o)))


@pytest.mark.parametrize(("action", "term"), BAD)
def test_a_bad_form_is_refused_whoever_signed_it(action: OrderAction, term: int) -> None:
    with pytest.raises(Malformed):
        verify_order(OLD.sign(made(action, term), NEW), OLD.roster, CHAIN)


@pytest.mark.parametrize("action", [a for a, term in GOOD if term == 0], ids=lambda a: type(a).__name__)
def test_what_does_not_end_by_itself_says_so(action: OrderAction) -> None:
    with pytest.raises(Malformed, match="its end is 0"):
        check_order(made(action, 5))


def test_an_end_before_the_issue_is_refused() -> None:
    with pytest.raises(Malformed, match="ends -5 ms after"):
        check_order(made(Halt(Global(), GroupKey.HALT), -5))


def test_after_the_last_group_epoch_comes_none() -> None:
    last = Keyholders(limits.MAX_GROUP_EPOCH)
    o = made(Install(last.roster, last.digest, ()), 0, by=last)
    with pytest.raises(Malformed, match="after group epoch 255"):
        check_order(o)


@pytest.mark.parametrize(
    ("action", "key"),
    [
        (Halt(Global(), GroupKey.HALT), GroupKey.HALT),
        (Halt(Global(), GroupKey.LIFT), GroupKey.LIFT),
        (Extend(A, NOW), GroupKey.HALT),
        (Drill(ONE), GroupKey.HALT),
        (Raise(ONE), GroupKey.HALT),
        (Heartbeat(A), GroupKey.HALT),
        (Lift((A,)), GroupKey.LIFT),
        (Lease((A,)), GroupKey.LIFT),
        (Lower((A,), ()), GroupKey.LIFT),
        (Install(NEW.roster, OLD.digest, ()), GroupKey.LIFT),
    ],
)
def test_which_key_signs_what(action: OrderAction, key: GroupKey) -> None:
    assert signing_key(action) is key
    o = made(action, {Halt: 5, Extend: 5, Drill: 5, Lease: 5}.get(type(action), 0))
    verify_order(OLD.sign(o, NEW), OLD.roster, CHAIN)
    other = GroupKey.LIFT if key is GroupKey.HALT else GroupKey.HALT
    swapped = Keyholders()
    swapped.secrets = {key: OLD.secrets[other], other: OLD.secrets[key]}
    with pytest.raises(BadSignature):
        verify_order(swapped.sign(o, NEW), OLD.roster, CHAIN)


def test_another_chain_roster_or_epoch_is_refused() -> None:
    o = made(Halt(Global(), GroupKey.HALT), 5)
    raw = OLD.sign(o)
    with pytest.raises(Misdirected, match="another chain"):
        verify_order(raw, OLD.roster, A)
    with pytest.raises(Misdirected, match="group epoch 1"):
        verify_order(raw, NEW.roster, CHAIN)
    false = Order(o.version, o.chain, 3, o.roster, o.action, o.reason, o.issued, o.end, o.nonce)
    with pytest.raises(Misdirected, match="group epoch 0"):
        verify_order(OLD.sign(false), OLD.roster, CHAIN)


def test_an_id_does_not_depend_on_the_signatures() -> None:
    o = made(Halt(Global(), GroupKey.HALT), 5)
    body = encode(o)
    plain = hashlib.sha256(b"davy/brake-order\0" + body).digest()
    assert order_id(body) == plain == verify_order(OLD.sign(o), OLD.roster, CHAIN).id
    assert order_id(encode(made(Halt(Global(), GroupKey.HALT), 5))) != plain, "the nonce makes each its own"


def test_a_stranger_verifies_with_plain_ed25519() -> None:
    """Given the roster of a genesis: the halt key's 32 bytes, and the prefix."""
    signed, _ = open_order(OLD.sign(made(Halt(Global(), GroupKey.HALT), 5)))
    VerifyKey(OLD.roster.halt).verify(b"davy/brake-order\0" + signed.order, signed.signatures[0])


def test_a_signer_refuses_a_clock_that_is_five_minutes_off() -> None:
    o = made(Lift((A,)), 0)
    for off in (-limits.SIGNER_SKEW_MS, 0, limits.SIGNER_SKEW_MS):
        check_issued(o, NOW + off)
    for off in (-limits.SIGNER_SKEW_MS - 1, limits.SIGNER_SKEW_MS + 1):
        with pytest.raises(Expired, match="set the clock"):
            check_issued(o, NOW + off)


def test_a_reason_can_be_checked_against_its_text() -> None:
    o = OLD.order(CHAIN, Lift((A,)), NOW, reason="Gewichte geleakt – stop")
    check_reason(o, "Gewichte geleakt – stop")
    with pytest.raises(Misdirected, match="another reason"):
        check_reason(o, "Gewichte geleakt - stop")


@pytest.mark.parametrize(
    "text",
    ["two\nlines", "tab\t", "bell\a", "\u202egnipmuj", "\u2066isolate", "zero\u200bwidth", "half \ud800", "é" * 501],
)
def test_a_reason_that_does_not_show_what_it_says_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        reason_digest(text)


def test_a_reason_of_the_full_length_is_taken() -> None:
    assert reason_digest("é" * 500) != reason_digest("")
    assert reason_digest("توقف")


@pytest.mark.parametrize("size", [limits.MAX_SIGNED_ORDER_BYTES + 1, 10**6])
def test_too_many_bytes_are_not_parsed(size: int) -> None:
    with pytest.raises(TooLarge):
        open_order(b"\x93" + bytes(size))


def test_the_longest_order_fits() -> None:
    members = tuple(n.to_bytes(32, "big") for n in range(1, limits.MAX_KEYHOLDERS + 1))
    r = NEW.roster
    longest = type(r)(1, 1, r.halt, r.lift, 128, 255, members)
    carried = tuple(n.to_bytes(32, "big") for n in range(limits.MAX_NAMED_ORDERS))
    raw = OLD.sign(OLD.order(CHAIN, Install(longest, OLD.digest, carried), 2**63 - 1), NEW)
    assert limits.MAX_ORDER_BYTES * 0.8 < len(raw) <= limits.MAX_SIGNED_ORDER_BYTES
    assert verify_order(raw, OLD.roster, CHAIN).raw == raw
    assert len(raw) < limits.MAX_BRAKE_BODY_BYTES < 2**21


def test_more_names_than_the_bound_are_refused() -> None:
    many = tuple(n.to_bytes(32, "big") for n in range(limits.MAX_NAMED_ORDERS + 1))
    o = made(Lift(many), 0)
    with pytest.raises(Malformed):
        open_order(OLD.sign(o))


def test_no_bit_of_an_order_can_change() -> None:
    raw = OLD.sign(made(Halt(ONE, GroupKey.HALT), 5))
    for n in range(0, 8 * len(raw), 3):
        flipped = bytearray(raw)
        flipped[n // 8] ^= 1 << n % 8
        with pytest.raises(Refused):
            verify_order(bytes(flipped), OLD.roster, CHAIN)


def test_a_signature_in_another_domain_or_form_is_refused() -> None:
    o = made(Halt(Global(), GroupKey.HALT), 5)
    body = encode(o)
    bare = bindings.crypto_sign(body, OLD.secrets[GroupKey.HALT])[:64]
    for signatures in ((bare,), (bytes(64),), ()):
        with pytest.raises((BadSignature, Malformed)):
            verify_order(encode(SignedOrder(1, body, signatures)), OLD.roster, CHAIN)


@pytest.mark.parametrize("kind", [Global, Heartbeat, Lift])
def test_the_union_is_closed(kind: type[Wire]) -> None:
    assert encode(Global()) == b"\x91\xa6global"
    with pytest.raises(Malformed):
        decode(b"\x91\xa5glob2", kind, limit=100)
