"""davy and the Rust crate frost-ed25519 in one ceremony: keys made, refreshed and repaired, and orders signed together.

Every party hands on bytes in the crate's form. Where cargo or the crates are missing, this is skipped and says why.
"""

from collections.abc import Iterator, Mapping, Sequence

import pytest

from davy.killswitch.conformance import postcard
from davy.killswitch.group import Identifier, add_scalars, identifier
from davy.protocol.errors import Malformed, Misbehaved
from davy.protocol.signing import verify_raw
from tests.killswitch.parties import OfCrate, OfDavy, Party
from tests.partner.crate import Crate, CrateRefusedError, NoPartnerError

pytestmark = [pytest.mark.timeout(900)]

MESSAGE = b"stop the model"
Circle = Mapping[Identifier, Party]


@pytest.fixture(scope="module")
def crate() -> Iterator[Crate]:
    try:
        running = Crate()
    except NoPartnerError as e:
        pytest.skip(f"no Rust partner: {e}")
    with running:
        yield running


def seated(kinds: str, crate: Crate, numbers: Sequence[int] = ()) -> dict[Identifier, Party]:
    """A party for each letter: D for davy, C for the crate."""
    ids = map(identifier, numbers or range(1, len(kinds) + 1))
    return {
        i: OfDavy(i, n) if kind == "D" else OfCrate(i, crate)
        for n, (i, kind) in enumerate(zip(ids, kinds, strict=True))
    }


def but(values: Mapping[Identifier, bytes], i: Identifier) -> dict[Identifier, bytes]:
    return {j: value for j, value in values.items() if j != i}


def make(circle: Circle, t: int) -> None:
    first = {i: party.make1(list(circle), t) for i, party in circle.items()}
    second = {i: party.make2(but(first, i)) for i, party in circle.items()}
    for i, party in circle.items():
        party.make3(but(first, i), {j: sent[i] for j, sent in second.items() if j != i})


def refresh(circle: Circle) -> None:
    first = {i: party.refresh1(list(circle)) for i, party in circle.items()}
    second = {i: party.refresh2(but(first, i)) for i, party in circle.items()}
    for i, party in circle.items():
        party.refresh3(but(first, i), {j: sent[i] for j, sent in second.items() if j != i})


def shares(circle: Circle, coordinator: Party) -> tuple[bytes, dict[Identifier, bytes]]:
    package = coordinator.package(MESSAGE, {i: party.commit() for i, party in circle.items()})
    return package, {i: party.share(package, MESSAGE) for i, party in circle.items()}


def sign(circle: Circle, signers: Sequence[Identifier], crate: Crate) -> None:
    """Each of the signers coordinates once; both verifiers take what comes out."""
    some = {i: circle[i] for i in signers}
    for coordinator in some.values():
        signature = coordinator.aggregate(*shares(some, coordinator))
        key = postcard.to_key(coordinator.key).group_key
        verify_raw(key, MESSAGE, signature)
        crate.ask("sign", "verify", key.hex(), MESSAGE.hex(), signature.hex())


def repair(circle: Circle, lost: Identifier, helpers: Sequence[Identifier]) -> None:
    shown = {i: circle[i].split(lost, helpers) for i in helpers}
    sigmas = {i: circle[i].gather(shown) for i in helpers}
    circle[lost].restore(sigmas, shown, circle[helpers[0]].public)


def agree(circle: Circle) -> bytes:
    (public,) = {party.public for party in circle.values()}
    return public


@pytest.mark.parametrize(
    ("kinds", "t", "numbers"),
    [
        ("DC", 2, ()),
        ("CDC", 2, ()),
        ("DCDCD", 3, ()),
        ("CCCDD", 4, (1, 127, 128, 255, 256)),
        ("DDCCDCC", 5, (3, 257, 65_535, 65_536, 2**31, 2**63, 2**252)),
        ("DCDCDCDCDC", 7, ()),
    ],
)
def test_a_key_made_together_signs_together(crate: Crate, kinds: str, t: int, numbers: Sequence[int]) -> None:
    circle = seated(kinds, crate, numbers)
    make(circle, t)
    assert postcard.from_public(postcard.to_public(agree(circle))) == agree(circle)
    sign(circle, list(circle)[:t], crate)
    sign(circle, list(circle)[-t:], crate)


@pytest.mark.parametrize(("kinds", "t", "left"), [("CDC", 2, 3), ("DCDCD", 3, 4), ("CDCDCDCDCD", 7, 8)])
def test_shares_refreshed_together_sign_together_and_without_who_was_removed(
    crate: Crate, kinds: str, t: int, left: int
) -> None:
    circle = seated(kinds, crate)
    make(circle, t)
    before = {i: party.key for i, party in circle.items()}
    key = postcard.to_public(agree(circle)).group_key
    stays = {i: circle[i] for i in list(circle)[-left:]}
    refresh(stays)
    new = postcard.to_public(agree(stays))
    assert (new.group_key, tuple(new.shares())) == (key, tuple(stays))
    assert all(party.key != before[i] for i, party in stays.items())
    sign(stays, list(stays)[:t], crate)


@pytest.mark.parametrize(("kinds", "t"), [("DCD", 2), ("CDC", 2), ("DCDCD", 3), ("CDCDCDCDCD", 7)])
@pytest.mark.parametrize("lost", [0, 1])
def test_a_share_repaired_together_is_the_one_that_was_lost(crate: Crate, kinds: str, t: int, lost: int) -> None:
    circle = seated(kinds, crate)
    make(circle, t)
    members = list(circle)
    key, circle[members[lost]].key = circle[members[lost]].key, b""
    helpers = [i for i in members if i != members[lost]][-t:]
    repair(circle, members[lost], helpers)
    assert circle[members[lost]].key == key
    sign(circle, sorted([members[lost], *helpers[1:]], key=members.index), crate)


def test_both_name_the_signer_of_a_wrong_share(crate: Crate) -> None:
    circle = seated("DCDC", crate)
    make(circle, 3)
    one, two, three, four = circle
    for culprit, some in ((two, (one, two, three)), (one, (one, three, four))):
        for coordinator in (one, four if four in some else two):
            package, made = shares({i: circle[i] for i in some}, circle[coordinator])
            made[culprit] = add_scalars(made[culprit], identifier(1))
            with pytest.raises((Misbehaved, CrateRefusedError)) as refused:
                circle[coordinator].aggregate(package, made)
            assert isinstance(refused.value, Misbehaved | CrateRefusedError)
            assert refused.value.culprits == (culprit,)


@pytest.mark.parametrize("kinds", ["DC", "CD"])
@pytest.mark.parametrize("spoil", ["length", "proof", "header"])
def test_both_refuse_a_wrong_package_of_round_one(crate: Crate, kinds: str, spoil: str) -> None:
    reader, writer = seated(kinds, crate).values()
    members = [reader.i, writer.i]
    reader.make1(members, 2)
    package = writer.make1(members, 2)
    match spoil:
        case "length":
            read = postcard.to_round1(package, writer.i)
            package = postcard.HEADER + postcard.varint(1) + read.commitment[0] + postcard.varint(64) + read.proof
        case "proof":
            package = package[:-32] + add_scalars(package[-32:], identifier(1))
        case _:
            package = b"\1" + package[1:]
    with pytest.raises((Malformed, Misbehaved, CrateRefusedError)):
        reader.make2({writer.i: package})


@pytest.mark.parametrize("kinds", ["DC", "CD"])
@pytest.mark.parametrize("step", ["make", "refresh"])
def test_both_refuse_a_wrong_share_of_round_two(crate: Crate, kinds: str, step: str) -> None:
    circle = seated(kinds, crate)
    reader, writer = circle.values()
    if step == "refresh":
        make(circle, 2)
        first = {i: party.refresh1(list(circle)) for i, party in circle.items()}
        second = {i: party.refresh2(but(first, i)) for i, party in circle.items()}
        take = reader.refresh3
    else:
        first = {i: party.make1(list(circle), 2) for i, party in circle.items()}
        second = {i: party.make2(but(first, i)) for i, party in circle.items()}
        take = reader.make3
    share = second[writer.i][reader.i]
    wrong = share[:-32] + add_scalars(share[-32:], identifier(1))
    with pytest.raises((Misbehaved, CrateRefusedError)) as refused:
        take(but(first, reader.i), {writer.i: wrong})
    assert isinstance(refused.value, Misbehaved | CrateRefusedError)
    if kinds == "DC" or step == "make":
        assert refused.value.culprits == (writer.i,)
