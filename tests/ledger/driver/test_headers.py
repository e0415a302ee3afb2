"""What makes a header one of this chain, case by case."""

from typing import Any

import pytest

from davy.ledger.headers import Authority, check_follows, open_header, origin
from davy.protocol.chain import Head, Header, SignedHeader, header_hash
from davy.protocol.encoding import encode
from davy.protocol.errors import BadSignature, Malformed, Misdirected, Refused, TooLarge, Unauthorised
from davy.protocol.signing import Domain
from davy.protocol.words import KeyRole


def signed(of: Any, /, by: Any = None, **changes: Any) -> bytes:
    by = by or of.producer
    fields = {
        "version": 1, "chain": of.id, "height": 5, "time": 1_000, "previous": b"p" * 32, "app_hash": b"a" * 32,
        "txs": b"t" * 32, "producer": by.public(),
    }  # fmt: skip
    body = encode(Header(**(fields | changes)))
    return encode(SignedHeader(1, body, by.sign(KeyRole.PRODUCER, Domain.HEADER, body)))


@pytest.fixture
def authority(chain: Any) -> Authority:
    return Authority.of(chain.genesis)


def test_the_producer_s_own_is_taken(chain: Any, authority: Authority) -> None:
    opened = open_header(signed(chain), authority)
    assert opened.head == Head(5, 1_000, opened.hash, b"a" * 32)
    assert opened.raw == signed(chain)
    assert opened.hash == header_hash(encode(opened.header))


def test_every_other_is_refused(chain: Any, authority: Authority) -> None:
    good, alice = signed(chain), chain.people[0]
    for bad, error in [
        (signed(chain, chain=bytes(32)), Misdirected),
        (signed(chain, by=alice), Unauthorised),
        (signed(chain, by=alice, producer=chain.producer.public()), BadSignature),
        (good[:-1] + bytes([good[-1] ^ 1]), BadSignature),
        (good + b"x", Malformed),
        (b"", Malformed),
        (bytes(3_000), TooLarge),
    ]:
        with pytest.raises(error):
            open_header(bad, authority)


def test_only_the_next_one_of_the_same_history_follows(chain: Any, authority: Authority) -> None:
    before = Head(4, 999, b"p" * 32, bytes(32))
    check_follows(before, open_header(signed(chain), authority))
    for change in ({"height": 4}, {"height": 6}, {"previous": b"q" * 32}, {"time": 999}, {"time": 0}):
        with pytest.raises(Refused):
            check_follows(before, open_header(signed(chain, **change), authority))


def test_the_first_one_follows_the_origin(chain: Any, authority: Authority) -> None:
    first = open_header(signed(chain, height=1, previous=bytes(32), time=chain.genesis.time + 1), authority)
    check_follows(origin(chain.genesis), first)
