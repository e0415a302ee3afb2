"""Halts, and that there is none, are proved on a chain whose producers changed, by a ledger or a kept proof.

The reader knows the chain's id and nothing else: the genesis names the first producers, and each change is signed by
those before it.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from nacl import bindings

from davy.ledger import commits
from davy.ledger.client import RpcLedger
from davy.ledger.client.answers import (
    GenesisAnswer,
    GenesisDocument,
    HeaderAnswer,
    ProofOp,
    ProofOps,
    QueryAnswer,
    QueryResponse,
    Successions,
)
from davy.ledger.client.saved import check_saved
from davy.ledger.commits import BlockId, CommittedHeader, EngineHeader, Vote
from davy.ledger.headers import Authority
from davy.protocol.chain import SavedProof, Succession
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import BadSignature, DavyError, Malformed, Misdirected, Refused, TxCode, Unauthorised
from davy.protocol.order import Models
from davy.protocol.recorded import HaltedRecord, halted_key, model_name
from tests.ledger.rules.world import World, genesis, keys, pub

pytestmark = pytest.mark.anyio
FIRST, SECOND, THIRD = ("p0", "p1", "p2", "p3"), ("p1", "p2", "p3", "p4", "p5"), ("p4", "p5", "p6")
HALTED, FREE = (halted_key(model_name(bytes([n]) * 32)) for n in (1, 2))
NEWEST = 9
encoded = msgspec.msgpack.encode


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def producers_at(height: int) -> tuple[str, ...]:
    return FIRST if height < 4 else SECOND if height < 7 else THIRD


def hash_of(chain: bytes, names: tuple[str, ...]) -> bytes:
    return commits.producers_hash([pub(name) for name in names], chain)


def header(chain: bytes, height: int, app_hash: bytes, signers: int = 99, by: tuple[str, ...] = ()) -> bytes:
    """A header by the producers of its height, or by others; signed by the first few of them."""
    voters = by or producers_at(height)
    order = commits.in_order([pub(name) for name in voters])
    secrets = {pub(name): keys(name)[1] for name in voters}
    h = EngineHeader(
        *(11, 1, height, 1_700_000_000 + height, 0, BlockId(b"\7" * 32, 1, b"\10" * 32), b"\1" * 32),
        *(
            commits.merkle_root([]),
            hash_of(chain, voters),
            hash_of(chain, producers_at(height + 1)),
            b"\2" * 32,
            app_hash,
        ),
        *(b"", b"\4" * 32, commits.address(order[0])),
    )
    block = BlockId(commits.committed_hash(h, chain), 1, b"\11" * 32)
    votes: list[Vote] = []
    for n, key in enumerate(order):
        vote = Vote(2 if n < signers else 1, 1_700_000_001 if n < signers else 0, 0, b"")
        if n < signers:
            said = commits.vote_bytes(block, height, 0, vote, chain)
            vote = replace(vote, signature=bindings.crypto_sign(said, secrets[key])[:64])
        votes.append(vote)
    return encode(CommittedHeader(2, h, 0, 1, b"\11" * 32, tuple(votes)))


class Ledger:
    """Block 8's state, in which a model is halted, and headers up to the ninth."""

    def __init__(self) -> None:
        self.world = w = World(genesis(producers=FIRST))
        w.halt(Models((bytes([1]) * 32,), (), ()))
        w.block(NEWEST - 2)
        assert w.machine.height == NEWEST - 1
        self.headers = {h: header(w.chain, h, bytes(32)) for h in range(1, NEWEST)}
        self.headers[NEWEST] = header(w.chain, NEWEST, w.machine.app_hash)
        self.changes = {
            h: encode(Succession(self.headers[h - 1], tuple(pub(name) for name in producers_at(h)))) for h in (4, 7)
        }

    async def call(self, method: str, kind: Any, **asked: Any) -> Any:
        match method:
            case "genesis":
                return GenesisAnswer(GenesisDocument(_text(encode(self.world.genesis))))
            case "header":
                return HeaderAnswer(_text(self.headers[int(asked.get("height", NEWEST))]))
            case "succession":
                return Successions([_text(raw) for h, raw in self.changes.items() if h > int(asked["after"])])
            case _:
                value, proof = self.world.machine.prove(bytes.fromhex(asked["data"]))
                shown = ProofOps([ProofOp(_text(encode(proof)))])
                code, height = int(TxCode.OK if value else TxCode.NOT_FOUND), str(self.world.machine.height)
                return QueryAnswer(QueryResponse(code, "", _text(value or b""), height, shown))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def client(ledger: Ledger) -> RpcLedger:
    made = RpcLedger("http://127.0.0.1:1", ledger.world.chain)
    made._rpc.call = ledger.call  # type: ignore[method-assign] # pyright: ignore[reportPrivateUsage]
    return made


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return Ledger()


async def test_a_halt_and_that_there_is_none_are_proved_from_the_genesis_on(ledger: Ledger) -> None:
    halted, none = [await client(ledger).proved(key) for key in (HALTED, FREE)]
    assert halted is not None
    assert decode(halted, HaltedRecord, limit=1_000).until
    assert none is None
    for key, value in ((HALTED, halted), (FREE, None)):
        saved = await client(ledger).saved_proof(key)
        assert len(saved.changes) == 2
        shown = check_saved(encode(saved), ledger.world.chain)
        assert (shown.height, shown.key, shown.value) == (NEWEST - 1, key, value)
        with pytest.raises(Misdirected):
            check_saved(encode(saved), bytes(32))


async def test_votes_show_that_a_chain_has_engines(ledger: Ledger) -> None:
    asked = client(ledger)
    assert not asked.has_engine, "not known yet"
    await asked.head()
    assert asked.has_engine


async def test_a_kept_proof_needs_every_change_in_its_turn(ledger: Ledger) -> None:
    saved = await client(ledger).saved_proof(HALTED)
    first, second = saved.changes
    for changes in ((), (first,), (second,), (second, first), (first, second, first)):
        with pytest.raises(Refused):
            check_saved(encode(replace(saved, changes=changes)), ledger.world.chain)


@pytest.mark.parametrize("key", [HALTED, FREE], ids=["halted", "free"])
async def test_a_kept_proof_says_nothing_else(ledger: Ledger, key: bytes) -> None:
    saved = await client(ledger).saved_proof(key)
    other = await client(ledger).saved_proof(FREE if key == HALTED else HALTED)
    app_hash = ledger.world.machine.app_hash
    lies: list[tuple[SavedProof, type[Exception]]] = [
        (replace(saved, value=other.value), Refused),
        (replace(saved, key=other.key), Refused),
        (replace(saved, header=ledger.headers[NEWEST - 1]), Refused),
        (replace(saved, header=header(ledger.world.chain, NEWEST, app_hash, by=FIRST)), Unauthorised),
        (replace(saved, header=header(ledger.world.chain, NEWEST, app_hash, by=SECOND)), Unauthorised),
        (replace(saved, header=header(ledger.world.chain, NEWEST, app_hash, signers=2)), BadSignature),
    ]
    for lie, kind in lies:
        with pytest.raises(kind):
            check_saved(encode(lie), ledger.world.chain)


async def test_producers_of_long_ago_do_not_make_their_successors(ledger: Ledger) -> None:
    """Two of the four of the genesis sign a change to whom they like; all of those after them sign what follows."""
    chain, app_hash = ledger.world.chain, ledger.world.machine.app_hash
    liar = Ledger()
    few = header(chain, 3, bytes(32), signers=2)
    liar.changes[4] = encode(Succession(few, tuple(pub(name) for name in SECOND)))
    with pytest.raises(BadSignature, match="by 2 producers of 3 needed"):
        await client(liar).proved(HALTED)
    liar.changes = {4: ledger.changes[4], 7: encode(Succession(ledger.headers[6], (pub("p0"),)))}
    with pytest.raises(Unauthorised, match="does not make these the producers"):
        await client(liar).proved(HALTED)
    liar.changes = {}
    with pytest.raises(Unauthorised, match="other producers"):
        await client(liar).proved(HALTED)
    saved = replace(await client(ledger).saved_proof(HALTED), header=header(chain, NEWEST, app_hash, by=("p0",)))
    with pytest.raises(Unauthorised):
        check_saved(encode(saved), chain)


EDGES = {"halted": HALTED, "free": FREE, "first": b"\0", "after it": b"\0\0", "beyond the last": b"\xff" * 33}


@pytest.mark.parametrize("key", EDGES.values(), ids=EDGES)
async def test_whatever_is_done_to_a_kept_proof_it_shows_what_is_so_or_nothing(ledger: Ledger, key: bytes) -> None:
    """Each byte is another, or missing, or there is one more: it is refused in words, or shows the truth.

    Votes beyond two thirds are not looked at; and what shows that one key is absent shows it of its neighbours.
    """
    raw = encode(await client(ledger).saved_proof(key))
    chain, shown = ledger.world.chain, check_saved(raw, ledger.world.chain)
    assert (shown.value is not None) == (key in (HALTED, b"\0"))
    outcomes: set[str] = set()
    for at in range(0, len(raw), 17):
        for bent in (
            raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1 :],
            raw[:at] + raw[at + 1 :],
            raw[:at] + b"\0" + raw[at:],
        ):
            try:
                said = check_saved(bent, chain)
                assert said[:2] == shown[:2]
                assert said.value == ledger.world.machine.prove(said.key)[0]
            except DavyError as e:
                outcomes.add(type(e).__name__)
    assert outcomes >= {"BadSignature", "Malformed"}


async def test_a_kept_proof_with_more_in_it_is_none(ledger: Ledger) -> None:
    raw = encode(await client(ledger).saved_proof(FREE))
    fields = msgspec.msgpack.decode(raw)
    inner = [*fields[:6], [*fields[6], b"more"]]
    for more in (raw + b"\0", raw + raw, encoded([*fields, b"more"]), encoded(fields[:-1]), encoded(inner)):
        with pytest.raises(Malformed):
            check_saved(more, ledger.world.chain)
    assert encoded(fields) == raw


async def test_no_change_names_a_producer_twice(ledger: Ledger) -> None:
    """Two thirds of four names that are three keys would be two of three."""
    chain = ledger.world.chain
    names = (*SECOND, SECOND[0])
    opened = decode(ledger.headers[3], CommittedHeader, limit=20_000)
    h = replace(opened.header, next_validators=hash_of(chain, names))
    block = BlockId(commits.committed_hash(h, chain), 1, b"\11" * 32)
    voters = {pub(name): keys(name)[1] for name in FIRST}
    votes = tuple(
        replace(v, signature=bindings.crypto_sign(commits.vote_bytes(block, 3, 0, v, chain), voters[key])[:64])
        for key, v in zip(commits.in_order(voters), opened.votes, strict=True)
    )
    twice = Succession(encode(replace(opened, header=h, votes=votes)), tuple(pub(name) for name in names))
    with pytest.raises(Unauthorised, match="twice"):
        Authority.of(ledger.world.genesis).after(twice)
