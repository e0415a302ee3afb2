"""A header of the engine counts when more than two thirds of the producers signed it, and only then."""

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec.structs import replace
from nacl import bindings

from davy.ledger import commits, zip215
from davy.ledger.commits import BlockId, CommittedHeader, EngineHeader, Vote
from davy.ledger.driver.cometbft import engine
from davy.ledger.headers import Authority, check_follows, open_header
from davy.ledger.rules import upgrades
from davy.ledger.zip215 import verifies
from davy.protocol.chain import Head, Header, SignedHeader, Succession
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import BadSignature, Malformed, Refused, Unauthorised
from davy.protocol.signing import Domain, sign, verify_raw

CHAIN = bytes(range(32))
SECRETS = [bindings.crypto_sign_seed_keypair(bytes([n]) * 32)[1] for n in range(1, 129)]
PRIME, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493


def public(secret: bytes) -> bytes:
    return secret[32:]


def made(
    voters: int,
    of: int = 4,
    height: int = 7,
    round_: int = 1,
    data: bytes = commits.merkle_root([]),
    following: bytes = b"",
) -> CommittedHeader:
    """A header of the first `of` producers, signed by the first `voters` of them in the engine's order."""
    keys = {public(s): s for s in SECRETS[:of]}
    order = commits.in_order(keys)
    names = commits.producers_hash(keys, CHAIN)
    header = EngineHeader(
        *(11, 1, height, 1_700_000_000, 123_456_789, BlockId(b"\7" * 32, 1, b"\10" * 32)),
        *(
            b"\1" * 32,
            data,
            names,
            following or names,
            b"\2" * 32,
            b"\3" * 32,
            b"",
            b"\4" * 32,
            commits.address(order[0]),
        ),
    )
    block = BlockId(commits.committed_hash(header, CHAIN), 1, b"\11" * 32)
    votes: list[Vote] = []
    for n, key in enumerate(order):
        vote = Vote(2 if n < voters else 1, 1_700_000_001 + n if n < voters else 0, 0, b"")
        if n < voters:
            message = commits.vote_bytes(block, height, round_, vote, CHAIN)
            vote = replace(vote, signature=bindings.crypto_sign(message, keys[key])[:64])
        votes.append(vote)
    return CommittedHeader(2, header, round_, 1, b"\11" * 32, tuple(votes))


def authority(of: int = 4, chain: bytes = CHAIN) -> Authority:
    return Authority(chain, frozenset(map(public, SECRETS[:of])))


@pytest.mark.parametrize(("of", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5)])
def test_more_than_two_thirds_are_needed(of: int, needed: int) -> None:
    assert open_header(encode(made(needed, of)), authority(of)).committed
    with pytest.raises(BadSignature, match=rf"by {needed - 1} producers of {needed} needed"):
        open_header(encode(made(needed - 1, of)), authority(of))


def test_what_the_engine_made_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, Any] = json.loads((Path(__file__).parent / "headers.json").read_text())
    monkeypatch.setattr(upgrades, "CHAINS", dict.fromkeys((bytes.fromhex(known["chain"]), bytes(32)), (0, 0, 0, 0)))
    a = Authority(bytes.fromhex(known["chain"]), frozenset(map(bytes.fromhex, known["producers"])))
    one, two, late = (open_header(bytes.fromhex(h), a) for h in known["headers"])
    assert (one.header.height, one.header.previous, late.header.height) == (1, bytes(32), 24)
    check_follows(one.head, two)
    assert one.names([])
    with pytest.raises(BadSignature):
        open_header(two.raw, a._replace(chain=bytes(32)))
    with pytest.raises(Unauthorised):
        open_header(two.raw, a._replace(producers=frozenset(list(a.producers)[:3])))


def told_by(times: list[int], each: int) -> int:
    """The engine's `WeightedMedian`, for votes that count the same."""
    left = len(times) * each // 2
    for time in sorted(times):
        if left <= each:
            return time
        left -= each
    raise AssertionError("no votes")


@pytest.mark.parametrize("count", range(1, 20))
def test_the_votes_of_a_commit_tell_the_middle_time(count: int) -> None:
    assert told_by(list(range(count)), commits.power(CHAIN)) == (count - 1) // 2


def test_on_a_chain_of_an_older_edition_votes_count_one_and_three_tell_the_earliest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = commits.producers_hash([public(SECRETS[0])], CHAIN)
    monkeypatch.setattr(upgrades, "CHAINS", {CHAIN: (0, 0, 0, 0, 9)})
    assert told_by([0, 1, 2], commits.power(CHAIN)) == 0
    assert commits.producers_hash([public(SECRETS[0])], CHAIN) != before


def vote(c: CommittedHeader, **changes: Any) -> CommittedHeader:
    return replace(c, votes=(replace(c.votes[0], **changes), *c.votes[1:]))


CHANGES: dict[str, Callable[[CommittedHeader], CommittedHeader]] = {
    **{
        name: lambda c, name=name: replace(c, header=replace(c.header, **{name: b"\x55" * 32}))
        for name in ("last_commit", "data", "next_validators", "consensus", "app_hash", "last_results", "evidence")
    },
    "height": lambda c: replace(c, header=replace(c.header, height=8)),
    "time": lambda c: replace(c, header=replace(c.header, nanos=1)),
    "before": lambda c: replace(c, header=replace(c.header, last_block=BlockId(b"\5" * 32, 1, b"\10" * 32))),
    "round": lambda c: replace(c, round=2),
    "no round": lambda c: replace(c, round=0),
    "parts": lambda c: replace(c, parts_hash=b"\12" * 32),
    "vote's time": lambda c: vote(c, nanos=1),
    "vote for nothing": lambda c: vote(c, flag=3),
    "a vote twice": lambda c: replace(c, votes=(c.votes[1], *c.votes[1:])),
    "a key signs for another": lambda c: replace(c, votes=(c.votes[1], c.votes[0], *c.votes[2:])),
    "empty": lambda c: vote(c, signature=b""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_no_part_can_be_changed(name: str) -> None:
    with pytest.raises(BadSignature):
        open_header(encode(CHANGES[name](made(3))), authority())


OTHER = b"\x66" * 32
SAID: dict[str, tuple[BlockId | None, int, int, int, bytes]] = {
    "nil": (None, 2, 7, 1, CHAIN),
    "a prevote": (BlockId(b"", 1, b"\11" * 32), 1, 7, 1, CHAIN),
    "another block": (BlockId(OTHER, 1, b"\11" * 32), 2, 7, 1, CHAIN),
    "the block in other parts": (BlockId(b"", 2, b"\11" * 32), 2, 7, 1, CHAIN),
    "another height": (BlockId(b"", 1, b"\11" * 32), 2, 6, 1, CHAIN),
    "another round": (BlockId(b"", 1, b"\11" * 32), 2, 7, 2, CHAIN),
    "another chain": (BlockId(b"", 1, b"\11" * 32), 2, 7, 1, OTHER),
}
"""What a producer truly signed: for which block (an empty hash: this one), as what, and height, round and chain."""


@pytest.mark.parametrize("name", SAID)
def test_what_was_signed_for_something_else_is_no_vote(name: str) -> None:
    """Whatever flag it is shown with."""
    block, kind, height, round_, chain = SAID[name]
    c = made(3)
    here = commits.committed_hash(c.header, CHAIN)
    named = None if block is None else replace(block, hash=block.hash or here)
    v, secrets = c.votes[0], {public(s): s for s in SECRETS[:4]}
    whole = commits.vote_bytes(named or BlockId(b"", 0, b""), height, round_, v, chain)
    body = bytes([8, kind]) + whole[whole.index(b"\x08\x02\x11") + 2 :]
    if named is None:
        body = body.replace(b"\x22\x02\x12\x00", b"")  # a vote for no block has no such field
    first = commits.in_order(secrets)[0]
    signature = bindings.crypto_sign(commits._varint(len(body)) + body, secrets[first])[:64]
    with pytest.raises(BadSignature, match="by 2 producers of 3 needed"):
        open_header(encode(vote(c, signature=signature)), authority())
    fourth = made(4)
    rest = replace(fourth, votes=(replace(v, signature=signature), *fourth.votes[1:]))
    assert open_header(encode(rest), authority()).header.height == 7, "three others are enough"


def test_the_test_signs_as_producers_do() -> None:
    """Else all of the above would be refused for another reason."""
    c = made(3)
    here = BlockId(commits.committed_hash(c.header, CHAIN), 1, b"\11" * 32)
    whole = commits.vote_bytes(here, 7, 1, c.votes[0], CHAIN)
    body = whole[whole.index(b"\x08\x02\x11") :]
    assert commits._varint(len(body)) + body == whole
    assert b"\x22\x02\x12\x00" in commits.vote_bytes(BlockId(b"", 0, b""), 7, 1, c.votes[0], CHAIN)


def test_of_these_producers_or_not_at_all() -> None:
    c = made(3)
    for changed in (
        replace(c, header=replace(c.header, validators=commits.producers_hash([public(SECRETS[5])], CHAIN))),
        replace(c, votes=c.votes[:3]),
        replace(c, votes=(*c.votes, c.votes[0])),
    ):
        with pytest.raises(Unauthorised):
            open_header(encode(changed), authority())
    with pytest.raises(Malformed):  # signed by three, and proposed by nobody
        open_header(
            encode(replace(c, header=replace(c.header, proposer=bytes(20)))), authority(), check_signature=False
        )


def test_one_producer_of_several_cannot_sign_alone() -> None:
    header = encode(Header(1, CHAIN, 7, 1, bytes(32), bytes(32), bytes(32), public(SECRETS[0])))
    raw = encode(SignedHeader(1, header, sign(SECRETS[0], Domain.HEADER, header)))
    assert open_header(raw, authority(1)).header.height == 7
    with pytest.raises(Unauthorised):
        open_header(raw, authority(4))


@pytest.mark.parametrize("count", range(6))
def test_a_header_names_its_transactions_in_order(count: int) -> None:
    hashes = [bytes([n]) * 32 for n in range(count)]
    opened = open_header(encode(made(3, data=commits.merkle_root(hashes))), authority())
    assert opened.names(hashes)
    for others in (hashes[:-1], hashes[::-1], [*hashes, bytes(32)]):
        assert opened.names(others) is (others == hashes)


def test_time_must_rise_and_history_be_one() -> None:
    opened = open_header(encode(made(3)), authority())
    before = Head(6, opened.header.time - 1, b"\7" * 32, bytes(32))
    check_follows(before, opened)
    for other in (
        Head(6, opened.header.time, b"\7" * 32, bytes(32)),
        Head(6, 1, b"\6" * 32, bytes(32)),
        Head(5, 1, b"\7" * 32, bytes(32)),
    ):
        with pytest.raises(Refused):
            check_follows(other, opened)


def test_more_bytes_than_a_header_has_are_not_read() -> None:
    raw = encode(made(3))
    for cut in range(2, len(raw), 7):
        with pytest.raises(Malformed):
            open_header(raw[:cut], authority())
    assert decode(raw, CommittedHeader, limit=len(raw)) == made(3)


def small_order() -> list[bytes]:
    """All 14 encodings of the eight points whose order divides eight, six of them not canonical."""
    root = pow(2, (PRIME - 1) // 4, PRIME)
    d = -121665 * pow(121666, -1, PRIME) % PRIME
    found = {0, 1, PRIME - 1, PRIME, PRIME + 1}  # y of orders 4, 1, 2, and the first two once more
    for sign_ in (1, -1):  # order 8: x² = y² · −1 or the like; y solves d·y⁴ + 2y² − 1 = 0 for x² = y²·(−1)
        half = (-1 + sign_ * pow(1 + d, (PRIME + 3) // 8, PRIME) * (1 if _square(1 + d) else root)) * pow(d, -1, PRIME)
        for y in _roots(half % PRIME, root):
            found.add(y)
    return [(y | s << 255).to_bytes(32, "little") for y in sorted(found) for s in (0, 1)]


def _square(a: int) -> bool:
    x = pow(a, (PRIME + 3) // 8, PRIME)
    return x * x % PRIME == a % PRIME


def _roots(a: int, root: int) -> list[int]:
    x = pow(a, (PRIME + 3) // 8, PRIME)
    x = x if x * x % PRIME == a else x * root % PRIME
    return [x, PRIME - x] if x * x % PRIME == a else []


def test_small_order_counts_as_it_does_for_the_engine() -> None:
    """ZIP-215's table: with s = 0, every pair of encodings of small order is valid for every message."""
    points = small_order()
    assert len(points) == 14
    for a in points:
        for r in points:
            assert verifies(a, b"Zcash", r + bytes(32))
    assert not verifies(points[0], b"Zcash", points[0] + b"\1" + bytes(31))


def test_honest_signatures_count_and_forged_ones_do_not() -> None:
    key, message = public(SECRETS[0]), b"a vote"
    signature = bindings.crypto_sign(message, SECRETS[0])[:64]
    assert verifies(key, message, signature)
    high = (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")
    assert not verifies(key, message, signature[:32] + high)
    assert not verifies(key, b"another", signature)
    assert not verifies(public(SECRETS[1]), message, signature)
    assert not verifies(key, message, signature[:63])
    assert not verifies((2).to_bytes(32, "little"), message, signature)  # no point has this y


def test_a_signature_that_only_the_cofactor_saves_is_valid() -> None:
    """R with a point of order two added: libsodium refuses it, the engine does not."""
    scalar = 12345
    a = zip215._times(scalar, zip215._BASE)
    two = zip215._point((PRIME - 1).to_bytes(32, "little"))
    assert two is not None
    r = zip215._add(zip215._times(99, zip215._BASE), two)
    key, first = (_encoded(p) for p in (a, r))
    k = int.from_bytes(hashlib.sha512(first + key + b"m").digest(), "little") % ORDER
    signature = first + ((99 + k * scalar) % ORDER).to_bytes(32, "little")
    assert verifies(key, b"m", signature)
    with pytest.raises(BadSignature):
        verify_raw(key, b"m", signature)
    assert not verifies(key, b"n", signature)


def _encoded(p: tuple[int, int, int, int]) -> bytes:
    z = pow(p[2], -1, PRIME)
    x, y = p[0] * z % PRIME, p[1] * z % PRIME
    return (y | (x & 1) << 255).to_bytes(32, "little")


FIRST, LAST = -62_135_596_800, 253_402_300_799
TIMES = {
    "0001-01-01T00:00:00Z": (FIRST, 0),  # Go's zero time, which the engine also writes where there is no vote
    "1900-01-01T00:00:00.5Z": (-2_208_988_800, 500_000_000),
    "1969-12-31T23:59:59.999999999Z": (-1, 999_999_999),
    "1970-01-01T00:00:00Z": (0, 0),
    "2026-11-26T02:11:33.123456789Z": (1_795_659_093, 123_456_789),
    "9999-12-31T23:59:59.999999999Z": (LAST, 999_999_999),
}


def told(v: Vote, timestamp: str) -> Vote:
    """As it is read from the engine, which writes the times of votes as Go does."""
    return engine._vote(engine._Signature(2, timestamp, base64.b64encode(v.signature).decode()))


@pytest.mark.parametrize("timestamp", TIMES)
def test_a_vote_counts_whatever_time_it_bears(timestamp: str) -> None:
    """The engine bounds no vote's time: were this one void, one producer in four could freeze every client."""
    seconds, nanos = TIMES[timestamp]
    c, secrets = made(3), {public(s): s for s in SECRETS[:4]}
    odd = Vote(2, seconds, nanos, b"")
    here = BlockId(commits.committed_hash(c.header, CHAIN), 1, b"\11" * 32)
    message = commits.vote_bytes(here, 7, 1, odd, CHAIN)
    assert commits._field(5, Timestamp(seconds=seconds, nanos=nanos).SerializeToString()) in message
    signature = bindings.crypto_sign(message, secrets[commits.in_order(secrets)[0]])[:64]
    read = told(replace(odd, signature=signature), timestamp)
    assert read == replace(odd, flag=2, signature=signature)
    raw = encode(replace(c, votes=(read, *c.votes[1:])))
    assert open_header(raw, authority()).header.height == 7
    for other in (FIRST, 0, seconds - 1, seconds + 1):
        if FIRST <= other <= LAST and other != seconds:
            with pytest.raises(BadSignature, match="by 2 producers of 3 needed"):
                open_header(encode(replace(c, votes=(replace(read, seconds=other), *c.votes[1:]))), authority())


SIGNED_BY_GO = {
    (-62_135_596_800, 0): "6e 2a0b088092b8c398feffffff01",
    (-2_208_988_800, 500_000_000): "74 2a11088083d6e2f7ffffffff011080cab5ee01",
    (-1, 999_999_999): "74 2a1108ffffffffffffffffff0110ff93ebdc03",
    (0, 0): "63 2a00",
    (253_402_300_799, 999_999_999): "70 2a0d08ff82d1ffaf0710ff93ebdc03",
}
"""Length and time of what `types.VoteSignBytes` of CometBFT 0.38.26 makes of `DECIDED` and these moments."""
DECIDED = f"080211070000000000000019010000000000000022480a20{'07' * 32}122408011220{'09' * 32}"


@pytest.mark.parametrize("moment", SIGNED_BY_GO)
def test_what_is_signed_is_what_the_engine_signs(moment: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "engine_chain_id", lambda _: "a")
    length, time = SIGNED_BY_GO[moment].split()
    block = BlockId(b"\7" * 32, 1, b"\11" * 32)
    assert commits.vote_bytes(block, 7, 1, Vote(2, *moment, b""), CHAIN).hex() == f"{length}{DECIDED}{time}320161"


@pytest.mark.parametrize("timestamp", ["0000-12-31T23:59:59Z", "10000-01-01T00:00:00Z", "-001-01-01T00:00:00Z", "now"])
def test_a_time_that_no_engine_can_sign_makes_its_vote_void_and_spoils_no_other(timestamp: str) -> None:
    read = told(made(1).votes[0], timestamp)
    assert read == Vote(1, 0, 0, b"")
    assert decode(encode(read), Vote, limit=1_000) == read


def test_no_block_is_of_before_1970() -> None:
    c = made(3)
    with pytest.raises(Malformed):
        open_header(encode(replace(c, header=replace(c.header, seconds=-1))), authority())


def changed(voters: int, to: int = 5) -> Succession:
    """Of four producers, to more; signed by so many of the four."""
    later = list(map(public, SECRETS[:to]))
    return Succession(encode(made(voters, following=commits.producers_hash(later, CHAIN))), tuple(later))


def test_a_change_of_the_producers_is_believed_when_those_before_signed_it() -> None:
    first = authority()
    known = first.after(changed(3))
    assert known.at(7) == first.producers
    assert known.at(8) == authority(5).producers
    assert open_header(encode(made(4, 5, height=8)), known).header.height == 8
    with pytest.raises(Unauthorised):
        open_header(encode(made(4, 5, height=8)), first)
    with pytest.raises(Unauthorised, match="other producers"):
        open_header(encode(made(4, height=8)), known)  # those before, at a height that is not theirs any more
    with pytest.raises(BadSignature):
        first.after(changed(2))
    with pytest.raises(Unauthorised):
        first.after(Succession(changed(3).header, tuple(map(public, SECRETS[:6]))))
    with pytest.raises(Unauthorised, match="does not make"):
        first.after(Succession(encode(made(3)), tuple(first.producers)))
    with pytest.raises(Refused):
        known.after(changed(3))


def test_a_wrong_vote_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """128 wrong votes took most of a second: the slow way is gone until the first that is wrong, and only if needed."""
    slow: list[bytes] = []
    monkeypatch.setattr(zip215, "_cofactored", lambda *said: bool(slow.append(said[0])))
    c = made(4)
    wrong = tuple(replace(v, signature=bytes(64)) for v in c.votes)
    with pytest.raises(BadSignature):
        open_header(encode(replace(c, votes=wrong)), authority())
    assert len(slow) == 1
    open_header(encode(replace(c, votes=(wrong[0], *c.votes[1:]))), authority())
    assert len(slow) == 1, "three are enough"
    with pytest.raises(BadSignature):
        open_header(encode(replace(made(3), votes=(wrong[0], *made(2).votes[1:]))), authority())
    assert len(slow) == 1, "they could not be enough"
