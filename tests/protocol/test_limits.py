"""The one table of bounds: complete, consistent, and refusing what lies outside it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from davy.protocol import limits
from davy.protocol.chain import Proof, ProofStep
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import Malformed, Misconfigured
from davy.protocol.limits import ChainParameters, Hyperparameters, chain_parameters, describe, hyperparameters
from davy.protocol.words import INT63

TABLES = [(ChainParameters, chain_parameters), (Hyperparameters, hyperparameters)]


@pytest.mark.parametrize(("kind", "build"), TABLES)
def test_every_field_is_described_with_its_default_in_range(kind: type[Wire], build: Callable[..., Wire]) -> None:
    rows = describe(kind)
    assert tuple(r.name for r in rows) == kind.__struct_fields__
    for row in rows:
        assert row.low <= row.default <= row.high <= INT63, row
        assert row.unit or row.name == "version", row
        assert row.changed_by == ("governance" if kind is ChainParameters else "subnet owner")
    assert [getattr(build(), r.name) for r in rows] == [r.default for r in rows]


@pytest.mark.parametrize(("kind", "build"), TABLES)
def test_both_ends_are_taken_and_one_beyond_is_not(kind: type[Wire], build: Callable[..., Wire]) -> None:
    for row in describe(kind):
        for value in (row.low, row.high):
            made = build(**{row.name: value})
            assert decode(encode(made), kind, limit=4096) == made
        for value in (row.low - 1, row.high + 1):
            with pytest.raises(Misconfigured, match=f"{row.name} must lie between {row.low} and {row.high}"):
                build(**{row.name: value})
            fields = [value if r.name == row.name else r.default for r in describe(kind)]
            if value < 2**64:
                with pytest.raises(Malformed):
                    decode(encode(kind(*fields)), kind, limit=4096)


def test_one_change_moves_a_hyperparameter_a_bounded_way() -> None:
    rows = {r.name: r for r in describe(Hyperparameters)}
    assert rows["tempo"].reach(360) == (180, 720)
    assert rows["tempo"].reach(2) == (2, 4)
    assert rows["max_validators"].reach(5) == (3, 10), "half of them stay, rounded up"
    assert rows["max_validators"].reach(3) == (2, 6)
    assert rows["max_validators"].reach(1) == (1, 2)
    assert rows["max_uids"].reach(limits.MAX_UIDS) == (limits.MAX_UIDS // 2, limits.MAX_UIDS)
    assert rows["immunity"].reach(0) == (0, 100)
    assert rows["kappa"].reach(32_767) == (32_767 - limits.TENTH, 32_767 + limits.TENTH)
    assert rows["kappa"].reach(1) == (0, 1 + limits.TENTH)
    assert rows["version"].reach(1) == (1, 1)
    assert [r.name for r in rows.values() if r.step < 1] == ["version"]
    assert not any(r.step for r in describe(ChainParameters)), "these are governance's"


def test_the_page_for_owners_has_this_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "subnet.md").read_text()
    told = [[c.strip() for c in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `")]
    named = {limits.TENTH: "a tenth", limits.TOKEN: "a token"}
    assert told == [
        [f"`{r.name}`", r.unit, str(r.default), f"{r.low} – {limits.MAX_SUPPLY if r.high > 10**9 else r.high}",
         f"{named.get(r.step, r.step)}{', or half to double' if r.doubles else ''}"]
        for r in describe(Hyperparameters) if r.step
    ]  # fmt: skip


def test_an_unknown_name_is_refused_with_the_names() -> None:
    with pytest.raises(Misconfigured, match=r"no parameter 'temp'; the names are: .*tempo"):
        hyperparameters(temp=5)


def test_bounds_fit_into_each_other() -> None:
    assert limits.MAX_TX_BYTES <= limits.MAX_BLOCK_BYTES
    assert limits.MAX_TX_BYTES * 4 // 3 < limits.MAX_RPC_BODY_BYTES, "a transaction travels as base64"
    assert limits.MAX_MANIFEST_BYTES < limits.MAX_TX_BYTES
    assert limits.MAX_QUERY_BYTES < limits.MAX_RPC_BODY_BYTES
    assert limits.MAX_EVENT_BYTES <= limits.MAX_RESPONSE_BYTES
    assert all(value > 0 for name, value in vars(limits).items() if name.startswith("MAX_"))


def test_the_largest_proof_fits_into_an_answer() -> None:
    largest = Proof(1, bytes(256), bytes(32), (ProofStep(65_535, bytes(32)),) * 2_048)
    assert len(encode(largest)) < limits.MAX_RESULT_BYTES


def test_evidence_runs_out_before_any_stake_is_free() -> None:
    for unbonding in (1, 2, 3, 100, 50_400, 10_000_000):
        assert 0 <= chain_parameters(unbonding=unbonding).evidence_window < unbonding
    assert chain_parameters().evidence_window > 100 * limits.CONVICTION_GRACE


def test_a_page_of_orders_fits_into_an_answer() -> None:
    assert limits.MAX_BRAKE_PAGE * limits.MAX_SIGNED_ORDER_BYTES < limits.MAX_RESULT_BYTES
    assert limits.MAX_SIGNED_ORDER_BYTES < limits.MAX_TX_BYTES
    assert limits.MAX_BLOCK_ORDERS <= limits.MAX_BLOCK_TXS
    assert limits.MAX_BLOCK_ORDERS <= limits.MAX_PENDING_ORDERS
