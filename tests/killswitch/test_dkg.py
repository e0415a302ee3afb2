"""Making a key: all members get the same one, any t of them sign with it, and nobody gets a share before all agree."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from davy.killswitch import dkg, echo
from davy.killswitch.dkg import Checked, Round1Package, Terms
from davy.killswitch.echo import Echo, Session, SignedEcho, SignedRound1
from davy.killswitch.group import L, identifier, multiply_base
from davy.killswitch.keys import KeyPackage, check_key, check_public
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Misconfigured
from davy.protocol.limits import MAX_CEREMONY_BYTES, MAX_KEYHOLDERS
from davy.protocol.signing import Domain, prefix, verify
from tests.killswitch.ceremony import Circle, deal_out, plain
from tests.twins.dealer import sign_with

MESSAGE = prefix(Domain.ORDER) + b"stop the model"


@settings(max_examples=40)
@given(st.data())
def test_all_get_one_key_and_any_t_sign_with_it(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 6))
    t = data.draw(st.integers(2, n))
    numbers = data.draw(st.lists(st.integers(1, 300) | st.integers(1, L - 1), min_size=n, max_size=n, unique=True))
    terms = Terms(t, tuple(identifier(x) for x in sorted(numbers)))
    made = plain(terms, data.draw(st.integers(0, 2**32))).finish()
    (public,) = {encode(p): p for _, p in made.values()}.values()
    check_public(public)
    assert (public.threshold, tuple(public.shares())) == (t, terms.members)
    for i, (key, _) in made.items():
        assert key.identifier == i
        check_key(key, public)
    keys: list[KeyPackage] = [key for key, _ in made.values()]
    signers = data.draw(st.permutations(keys))[:t]
    verify(public.group_key, Domain.ORDER, b"stop the model", sign_with(signers, public, MESSAGE))


def test_a_session_of_five_makes_a_key() -> None:
    circle = Circle(3, 5)
    received = circle.round1()
    confirmed = {
        m.identifier: circle.confirm(m.identifier, received, circle.echoes(m.identifier)) for m in circle.members
    }
    assert len({echo.transcript(c.checked) for c in confirmed.values()}) == 1
    parts = deal_out([secret for secret, _ in circle.begun.values()], confirmed[identifier(1)])
    made = parts.finish()
    keys, (public, *others) = [key for key, _ in made.values()], [p for _, p in made.values()]
    assert all(other == public for other in others)
    verify(public.group_key, Domain.ORDER, b"stop the model", sign_with(keys[2:], public, MESSAGE))


def test_order_of_arrival_does_not_matter() -> None:
    circle, me = Circle(2, 4), identifier(3)
    received, echoes = circle.round1(), circle.echoes(me)
    assert circle.confirm(me, received[::-1], echoes[::-1]) == circle.confirm(me, received, echoes)


def test_a_session_s_context_is_of_every_field() -> None:
    circle = Circle(2, 3)
    session = circle.session
    m = circle.members[1]
    others = [
        replace(session, purpose="lift"),
        replace(session, threshold=3),
        echo.MendingSession(1, session.purpose, session.threshold, session.members, bytes(32)),
        replace(session, members=circle.members[:2]),
        *(
            replace(session, members=(circle.members[0], replace(m, **{field: bytes(32)}), circle.members[2]))
            for field in ("identifier", "key", "salt")
        ),
    ]
    assert len({echo.context(s) for s in (session, *others)}) == 8


def test_the_transcript_is_of_every_package_and_not_of_its_signature() -> None:
    checked = plain(Terms(2, tuple(map(identifier, (1, 2, 3))))).secrets[identifier(1)].confirmed.checked
    digests = {echo.transcript(checked)}
    for place in range(3):
        packages = list(checked.packages)
        packages[place] = replace(packages[place], proof=bytes(64))
        digests.add(echo.transcript(Checked(checked.terms, tuple(packages))))
    digests.add(echo.transcript(Checked(Terms(2, checked.terms.members, bytes(32)), checked.packages)))
    assert len(digests) == 5


def test_the_plain_form_and_a_session_s_prove_different_things() -> None:
    args = (identifier(1), multiply_base(identifier(2)), multiply_base(identifier(3)))
    plainly = hashlib.sha512(b"FROST-ED25519-SHA512-v1dkg" + b"".join(args)).digest()
    assert dkg.proof_challenge(*args, b"") == (int.from_bytes(plainly, "little") % L).to_bytes(32, "little")
    assert dkg.proof_challenge(*args, bytes(32)) != dkg.proof_challenge(*args, b"")


def test_a_broken_source_of_randomness_deals_nothing() -> None:
    class Stuck:
        def bytes(self, n: int) -> bytes:
            return b"\7" * n

    with pytest.raises(Misconfigured):
        dkg.part1(Terms(2, (identifier(1), identifier(2))), identifier(1), Stuck())


def test_the_largest_of_each_fits_into_the_bounds() -> None:
    heard = tuple(echo.Heard(identifier(n), bytes(32), bytes(64)) for n in range(1, MAX_KEYHOLDERS + 1))
    members = tuple(echo.Member(identifier(n), bytes(32), bytes(32)) for n in range(1, MAX_KEYHOLDERS + 1))
    package = Round1Package(1, bytes(32), identifier(1), (bytes(32),) * MAX_KEYHOLDERS, bytes(64))
    said = Echo(1, bytes(32), identifier(1), heard)
    session = Session(1, "x" * 64, MAX_KEYHOLDERS, members)
    for value in (
        session,
        package,
        SignedRound1(1, encode(package), bytes(64)),
        said,
        SignedEcho(1, encode(said), bytes(64)),
    ):
        assert decode(encode(value), type(value), limit=MAX_CEREMONY_BYTES) == value
