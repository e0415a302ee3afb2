"""The gates for points, scalars and identifiers, and the edges of libsodium for which they are there."""

import copy
import pickle  # noqa: TID251 (shown to refuse)

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings
from rich.pretty import pretty_repr

from davy.killswitch.dkg import Round2Share, Terms, part1
from davy.killswitch.frost import Nonces, commit
from davy.killswitch.group import (
    IDENTITY,
    ZERO,
    L,
    Secret,
    add_points,
    add_scalars,
    ascending,
    draw,
    hash_to_scalar,
    identifier,
    is_point,
    is_scalar,
    multiply,
    multiply_base,
    multiply_scalars,
    named,
    nonzero,
    number,
    point,
    reduce,
    subtract_scalars,
)
from davy.killswitch.sharing import Polynomial
from davy.protocol.errors import Malformed, Misconfigured
from tests.killswitch import wrong
from tests.twins import SeededEntropy
from tests.twins.dealer import ListedEntropy, deal

integers = st.integers(0, L - 1)
ONE = identifier(1)


def le(n: int) -> bytes:
    return n.to_bytes(32, "little")


@pytest.mark.parametrize("name", wrong.POINTS)
def test_what_is_no_point_is_refused_and_multiplied_by_nothing(name: str) -> None:
    bad = wrong.POINTS[name]
    assert not is_point(bad)
    with pytest.raises(Malformed, match="here is not a point"):
        point(bad, "here")
    for k in (ONE, identifier(8), identifier(L - 1)):
        with pytest.raises(Malformed, match="prime-order group"):
            multiply(k, bad)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_wrong_lengths_are_refused(length: int) -> None:
    assert not is_point((wrong.BASE * 2)[:length])
    assert not is_scalar((ONE * 2)[:length])


@given(integers.filter(bool))
def test_multiples_of_the_base_are_points(k: int) -> None:
    p = multiply_base(le(k))
    assert is_point(p)
    assert point(p, "") == multiply(le(k), wrong.BASE) == p


def test_libsodium_adds_what_is_no_point() -> None:
    """Why every received point is gated: `add` does not refuse these."""
    for name in ("identity", "order 2", "order 4", "order 8", "mixed order", "y = p", "y = p + 1"):
        assert len(add_points(wrong.BASE, wrong.POINTS[name])) == 32
    assert bindings.crypto_core_ed25519_sub(wrong.BASE, wrong.BASE) == IDENTITY
    assert add_points(wrong.BASE, IDENTITY) == wrong.BASE


@given(integers)
def test_libsodium_reduces_what_is_no_scalar(k: int) -> None:
    """Why every received scalar is gated: s + L passes for s."""
    assert add_scalars(le(k + L), ZERO) == le(k)
    for bad in wrong.scalars(le(k)).values():
        assert not is_scalar(bad)
        with pytest.raises(Malformed, match="here is zero or no scalar"):
            nonzero(bad, "here")


@given(integers, integers)
def test_scalars_are_the_integers_mod_l(a: int, b: int) -> None:
    assert is_scalar(le(a))
    assert add_scalars(le(a), le(b)) == le((a + b) % L)
    assert subtract_scalars(le(a), le(b)) == le((a - b) % L)
    assert multiply_scalars(le(a), le(b)) == le(a * b % L)
    assert reduce((a * L + b).to_bytes(64, "little")) == le(b)


def test_zero_and_the_identity_are_refused() -> None:
    assert is_scalar(ZERO)
    with pytest.raises(Malformed, match="zero"):
        nonzero(ZERO, "a share")
    with pytest.raises(Malformed, match="zero"):
        multiply_base(ZERO)
    with pytest.raises(Malformed, match="identity"):
        multiply(ZERO, wrong.BASE)


def test_hashes_are_of_the_parts_one_after_the_other() -> None:
    assert hash_to_scalar(b"ab", b"c") == hash_to_scalar(b"abc") != hash_to_scalar(b"abd")
    assert is_scalar(hash_to_scalar(b"abc"))


def test_identifiers() -> None:
    assert [identifier(n)[:2] for n in (1, 255, 256, 257)] == [b"\1\0", b"\xff\0", b"\0\1", b"\1\1"]
    assert number(identifier(L - 1)) == L - 1
    for n in (0, -1, L, L + 1, 2 * L):
        with pytest.raises(Malformed, match="not an identifier"):
            identifier(n)
    assert named([identifier(2)]) == "keyholder 2"
    assert named([identifier(2), identifier(300)]) == "keyholders 2, 300"
    assert named([identifier(L - 1)]) == f"keyholder {L - 1:064x}"


@pytest.mark.parametrize(
    "names",
    [
        (0, 1),
        (1, 1),
        (2, 1),
        (1, L),
        (1, L + 1),
        (256, 1),
        (1, 2**256 - 1),
    ],
)
def test_lists_of_identifiers_ascend(names: tuple[int, ...]) -> None:
    with pytest.raises(Malformed, match="the list must name"):
        ascending(tuple(map(le, names)), "the list")


def test_an_ascending_list_is_numeric_not_of_bytes() -> None:
    ascending(tuple(map(identifier, (1, 2, 255, 256, 257, 2**200, L - 1))), "the list")
    with pytest.raises(Malformed):
        ascending((identifier(1)[:31],), "the list")


@pytest.mark.parametrize("draws", [[b"a" * 8, b"a" * 8], [b"a" * 8, b"b" * 7], [b"", b""]])
def test_a_broken_source_of_randomness_is_noticed(draws: list[bytes]) -> None:
    class Broken:
        def bytes(self, n: int) -> bytes:
            return draws.pop(0)

    with pytest.raises(Misconfigured, match="randomness is broken"):
        draw(Broken(), 8, 2)


def secrets() -> list[Secret]:
    group = deal(2, 3)
    key = group.some(1)[0]
    terms = Terms(2, tuple(group.keys))
    dealt, _ = part1(terms, key.identifier, SeededEntropy())
    share = Round2Share(1, b"", key.identifier, identifier(2), dealt.polynomial.at(identifier(2)))
    return [key, commit(key, SeededEntropy())[0], dealt, dealt.polynomial, share]


@pytest.mark.parametrize("secret", secrets(), ids=lambda s: type(s).__name__)
def test_a_secret_shows_nothing_and_is_neither_copied_nor_pickled(secret: Secret) -> None:
    name = type(secret).__name__
    assert repr(secret) == str(secret) == f"{secret}" == f"{name}(…)"
    assert pretty_repr(secret) == f"{name}()"
    for escape in (copy.copy, copy.deepcopy, pickle.dumps, lambda s: s.__getstate__(), lambda s: pickle.dumps([s])):
        with pytest.raises(TypeError, match=f"{name} is secret"):
            escape(secret)
    with pytest.raises((TypeError, AttributeError)):
        vars(secret)


def test_nonces_and_coefficients_from_given_scalars_are_gated() -> None:
    for bad in (ZERO, *wrong.scalars(ONE).values(), ONE[:31]):
        for pair in ((bad, ONE), (ONE, bad)):
            with pytest.raises(Malformed, match="a nonce"):
                Nonces(*pair)
            with pytest.raises(Malformed, match="a coefficient"):
                Polynomial(pair)


def test_the_twin_gives_what_it_lists() -> None:
    with pytest.raises(AssertionError):
        ListedEntropy([b"ab"]).bytes(3)
