"""Shares, commitments and Lagrange's coefficients against plain integers mod L."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.killswitch.group import Identifier, L, identifier, multiply_base
from davy.killswitch.keys import interpolate
from davy.killswitch.sharing import Polynomial, committed, is_share, lagrange, sum_of_commitments
from davy.protocol.errors import Malformed
from tests.killswitch import wrong

coefficients = st.integers(1, L - 1)
identifiers = st.one_of(st.integers(1, 300), st.integers(1, L - 1)).map(identifier)


def le(n: int) -> bytes:
    return (n % L).to_bytes(32, "little")


def integer(scalar: bytes) -> int:
    return int.from_bytes(scalar, "little")


@given(st.lists(coefficients, min_size=1, max_size=4), identifiers)
def test_a_share_is_the_polynomial_s_value_and_its_commitment_knows(a: list[int], x: Identifier) -> None:
    polynomial = Polynomial([le(each) for each in a])
    share = polynomial.at(x)
    assert integer(share) == sum(each * integer(x) ** k for k, each in enumerate(a)) % L
    commitment = polynomial.commitment()
    if any(share):
        assert committed(commitment, x) == multiply_base(share)
        assert is_share(share, commitment, x)
    assert not is_share(le(integer(share) + 1), commitment, x)


def test_second_forms_zero_and_shares_for_others_are_wrong() -> None:
    polynomial = Polynomial([le(3), le(5)])
    commitment, x = polynomial.commitment(), identifier(7)
    share = polynomial.at(x)
    assert is_share(share, commitment, x)
    assert not is_share(polynomial.at(identifier(8)), commitment, x)
    for bad in (*wrong.scalars(share).values(), bytes(32), b"", share[:31], share + b"\0"):
        assert not is_share(bad, commitment, x)
    # f(x) = 3 − x has the share 0 at 3: such a share opens nothing, and is refused from whoever sends it
    assert not is_share(bytes(32), Polynomial([le(3), le(-1)]).commitment(), identifier(3))


@given(st.lists(coefficients, min_size=2, max_size=4), st.data())
def test_t_shares_give_the_secret_and_fewer_do_not(a: list[int], data: st.DataObject) -> None:
    polynomial = Polynomial([le(each) for each in a])
    xs = data.draw(st.lists(identifiers, min_size=len(a), max_size=len(a), unique=True))
    shares = {x: integer(polynomial.at(x)) for x in xs}

    def at_zero(some: list[Identifier]) -> int:
        return sum(integer(lagrange(x, some)) * shares[x] for x in some) % L

    assert at_zero(xs) == a[0]
    assert at_zero(xs[:-1]) != a[0]
    if all(shares.values()):
        assert interpolate({x: multiply_base(le(y)) for x, y in shares.items()}) == multiply_base(le(a[0]))


def test_lagrange_is_of_distinct_identifiers() -> None:
    one, two, three = map(identifier, (1, 2, 3))
    assert lagrange(one, [one, three]) == le(3 * pow(2, -1, L))
    assert lagrange(three, [one, three]) == le(-pow(2, -1, L))
    for of, among in [
        (two, [one, three]),
        (one, [one, one]),
        (one, [one, two, two]),
        (one, []),
        (two, [one, two, two]),
    ]:
        with pytest.raises(Malformed, match="distinct"):
            lagrange(of, among)
    with pytest.raises(Malformed, match="distinct"):
        lagrange(one, [one, (L + 1).to_bytes(32, "little")])


@given(st.lists(st.tuples(coefficients, coefficients), min_size=1, max_size=4))
def test_commitments_add_up(rows: list[tuple[int, int]]) -> None:
    total = [sum(column) % L for column in zip(*rows, strict=True)]
    if all(total):
        added = sum_of_commitments([Polynomial([le(a), le(b)]).commitment() for a, b in rows])
        assert added == Polynomial([le(t) for t in total]).commitment()


def test_commitments_of_different_lengths_do_not_add_up() -> None:
    two, three = Polynomial([le(1), le(2)]).commitment(), Polynomial([le(1), le(2), le(3)]).commitment()
    with pytest.raises(ValueError, match="zip"):
        sum_of_commitments([two, three])
