"""Keys and names of the brake's records, and the anchor in a request: each has one form."""

import pytest

from davy.ledger.rules.records import ACCOUNTS, BRAKE, CONVICTIONS, DRILLS, HALTED, ORDERS, TABLES
from davy.protocol import recorded
from davy.protocol.errors import Malformed
from davy.protocol.order import Global, Miner, Models, Subnet
from davy.protocol.receipt import Anchor, request_anchor
from davy.protocol.signing import Domain, digest

A, B = b"a" * 32, b"b" * 32


def test_the_keys_that_a_client_proves_are_those_of_the_ledger_s_tables() -> None:
    keys = {
        BRAKE.tag: recorded.BRAKE_KEY,
        HALTED.tag: recorded.halted_key(recorded.GLOBAL_NAME),
        CONVICTIONS.tag: recorded.conviction_key(A),
        ACCOUNTS.tag: recorded.account_key(A),
        ORDERS.tag: recorded.order_keys(A)[0],
        DRILLS.tag: recorded.order_keys(A)[1],
    }
    for tag, key in keys.items():
        assert key[:1] == tag
        assert len(key) == 1 + TABLES[tag].width


def test_no_name_is_another_s() -> None:
    names = [
        recorded.GLOBAL_NAME, recorded.subnet_name(0), recorded.miner_name(A), recorded.model_name(A),
        recorded.file_name(A), recorded.registrant_name(A), recorded.subnet_name(65_535),
    ]  # fmt: skip
    assert len(set(names)) == len(names)
    assert {len(name) for name in names} == {33}


def test_a_target_s_names() -> None:
    assert list(recorded.target_names(Global())) == [recorded.GLOBAL_NAME]
    assert list(recorded.target_names(Subnet(3))) == [recorded.subnet_name(3)]
    assert list(recorded.target_names(Miner(A))) == [recorded.miner_name(A)]
    assert list(recorded.target_names(Models((A,), (A, B), (B,)))) == [
        recorded.model_name(A), recorded.file_name(A), recorded.file_name(B), recorded.registrant_name(B),
    ]  # fmt: skip


def test_the_digest_of_all_orders_knows_no_sequence_and_misses_nothing() -> None:
    rows = [(A, 1, 10), (B, 2, 20)]
    whole = recorded.recorded_digest(rows)
    assert recorded.recorded_digest(reversed(rows)) == whole
    for other in ([(A, 1, 10)], [(A, 1, 10), (B, 2, 21)], [(A, 1, 10), (B, 3, 20)], []):
        assert recorded.recorded_digest(other) != whole


def base(*lines: bytes) -> tuple[bytes, bytes]:
    joined = b"\n".join(lines)
    return joined, digest(Domain.REQUEST, joined)


def test_the_anchor_of_a_request() -> None:
    line = b'"davy-anchor": 42:' + A.hex().encode()
    assert request_anchor(*base(b'"@method": POST', line, b'"davy-brake-head": 00')) == Anchor(42, A)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b'"davy-anchor": 42'],
        [b'"davy-anchor": 042:' + b"0" * 64],
        [b'"davy-anchor": 42:' + b"0" * 64 + b" "],
        [b'"davy-anchor": 42:' + b"A" * 64],
        [b'"davy-anchor": 9999999999999999999:' + b"0" * 64],
        [b'"davy-anchor": 42:' + b"0" * 64] * 2,
        [b' "davy-anchor": 42:' + b"0" * 64],
    ],
)
def test_what_is_no_anchor(lines: list[bytes]) -> None:
    with pytest.raises(Malformed):
        request_anchor(*base(*lines))


def test_another_request_s_anchor_is_none() -> None:
    with pytest.raises(Malformed, match="another request"):
        request_anchor(base(b'"davy-anchor": 42:' + b"0" * 64)[0], A)
