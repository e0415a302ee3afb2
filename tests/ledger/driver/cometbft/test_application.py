"""The application without an engine: what it answers, what it keeps, and where it goes on after any interruption."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from msgspec.structs import replace

from davy.ledger.commits import engine_chain_id
from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.driver.cometbft import abci_pb2 as abci
from davy.ledger.driver.cometbft.application import Application
from davy.ledger.driver.cometbft.wire import Conversation, listen, take_message, with_length
from davy.ledger.rules.machine import Machine
from davy.protocol.chain import Account
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Malformed, Misconfigured, Refused, StoreFailed, TxCode
from davy.protocol.transaction import BrakeOrder, Transfer
from davy.protocol.words import KeyRole

pytestmark = [pytest.mark.anyio]
Ask = Callable[..., Any]
ACCEPT = abci.ProcessProposalResult.Status.ACCEPT


@pytest.fixture
def app(chain: Any, store: BlockStore) -> Application:
    return Application(chain.genesis, store)


@pytest.fixture
def ask(app: Application) -> Ask:
    conversation = Conversation(app)

    async def one(**request: Any) -> Any:
        said = await conversation.answer(abci.Request(**request).SerializeToString())
        kind = said.WhichOneof("value")
        return getattr(said, str(kind))

    return one


@pytest.mark.parametrize("why", [OSError(24, "Too many open files"), StoreFailed("no such thing")])
async def test_a_block_is_kept_also_where_nothing_can_be_tidied(
    why: Exception, app: Application, ask: Ask, chain: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """An engine that is told of an error stops."""

    def due(_: int) -> bool:
        raise why

    monkeypatch.setattr(app.snapshots, "due", due)
    await decided(ask, 1, keep=False)
    assert (await ask(commit=abci.Empty())).retain_height == 0
    assert app.store.height() == 1
    assert f"after block 1: {why}" in caplog.text


async def decided(ask: Ask, height: int, *txs: bytes, keep: bool = True) -> Any:
    time = abci.Timestamp(seconds=1 + height, nanos=1)
    said = await ask(finalize_block=abci.FinalizeBlock(txs=txs, height=height, time=time))
    if keep:
        await ask(commit=abci.Empty())
    return said


def hashes(chain: Any, *blocks: tuple[bytes, ...]) -> list[bytes]:
    """The app hash after each block, by the machine alone."""
    machine = Machine.from_genesis(chain.genesis)
    return [machine.apply_block(n, 1_000 * (1 + n), txs).app_hash for n, txs in enumerate(blocks, 1)]


async def test_a_chain_begins_once_and_only_the_right_one(app: Application, ask: Ask, chain: Any) -> None:
    info = await ask(info=abci.Empty())
    assert (info.last_block_height, info.last_block_app_hash, info.app_version) == (0, b"", 1)
    ours = abci.ValidatorUpdate(pub_key=abci.PublicKey(ed25519=chain.producer.public()), power=1)
    first = abci.InitChain(chain_id=engine_chain_id(chain.id), validators=[ours])
    for _ in range(2):  # the engine asks again when it was killed before it kept anything
        assert (await ask(init_chain=first)).app_hash == app.machine.app_hash
    for wrong in (
        abci.InitChain(chain_id=engine_chain_id(bytes(32)), validators=[ours]),
        abci.InitChain(chain_id=engine_chain_id(chain.id)),
    ):
        assert "another chain" in (await ask(init_chain=wrong)).error


async def test_blocks_are_applied_and_kept(app: Application, ask: Ask, chain: Any, store: BlockStore) -> None:
    one, two, bad = chain.tx(0, 0), chain.tx(0, 1), b"junk"
    said = await decided(ask, 1, one, two, bad)
    assert [r.code == 0 for r in said.tx_results] == [True, True, False]
    assert said.app_hash == hashes(chain, (one, two, bad))[0] == store.app_hash(1)
    info = await ask(info=abci.Empty())
    assert (info.last_block_height, info.last_block_app_hash) == (1, said.app_hash)
    assert [t.raw for t in store.txs(1)] == [one, two, bad]
    assert app.machine.time == 2_000  # the engine's milliseconds, not this machine's


async def test_what_was_not_kept_comes_again(chain: Any, database: Path) -> None:
    """Killed between the two: the file is at the block before, and replaying gives the same hash."""
    tx = chain.tx(0, 0)
    with closing(BlockStore(database)) as store:
        app = Application(chain.genesis, store)
        app.finalize(1, 2_000, ())
        await app.commit()
        app.finalize(2, 3_000, (tx,))
    with closing(BlockStore(database)) as store:
        again = Application(chain.genesis, store)
        assert (await again.info()).height == 1
        assert again.finalize(2, 3_000, (tx,)).app_hash == hashes(chain, (), (tx,))[1]
        await again.commit()
    with closing(BlockStore(database)) as store:
        where = await Application(chain.genesis, store).info()
        assert where == (2, hashes(chain, (), (tx,))[1])


async def test_the_engine_may_be_killed_instead(app: Application, chain: Any) -> None:
    """Its connection ends in between: nothing of the block is seen, and it is decided anew on another connection."""
    tx = chain.tx(0, 0)

    async def talk(*requests: abci.Request) -> list[abci.Response]:
        async with await anyio.connect_unix(path) as stream:
            await stream.send(b"".join(with_length(r.SerializeToString()) for r in requests))
            return [await answer(stream) for _ in requests]

    path = app.store.path.parent / "s"
    block = abci.Request(finalize_block=abci.FinalizeBlock(txs=[tx], height=1, time=abci.Timestamp(seconds=2)))
    async with anyio.create_task_group() as tasks:

        async def serve(*, task_status: Any) -> None:
            await listen(path, app, task_status=task_status)

        await tasks.start(serve)
        first = await talk(block)
        said = await talk(abci.Request(info=abci.Empty()))
        assert said[0].info.last_block_height == 0
        second = await talk(block, abci.Request(commit=abci.Empty()), abci.Request(info=abci.Empty()))
        assert second[0] == first[0]
        assert (second[2].info.last_block_height, app.store.height()) == (1, 1)
        tasks.cancel_scope.cancel()


async def answer(stream: SocketStream) -> abci.Response:
    buffer = bytearray()
    while (message := take_message(buffer)) is None:
        buffer += await stream.receive(1)
    return abci.Response.FromString(message)


async def test_nobody_is_answered_from_what_is_not_kept(app: Application, ask: Ask, chain: Any) -> None:
    await decided(ask, 1, chain.tx(0, 0), keep=False)
    told: list[int] = []
    async with anyio.create_task_group() as tasks:

        async def look() -> None:
            machine = await app.settled()
            data = machine.query("/nonce", chain.people[0].public(KeyRole.COLDKEY))
            told.append(decode(data, Account, limit=1_000).nonce)

        tasks.start_soon(look)
        await anyio.wait_all_tasks_blocked()
        assert told == []
        app.drop()
    assert told == [0]


async def test_a_block_out_of_turn_is_an_exception(app: Application, ask: Ask) -> None:
    assert "block 2 was handed in" in (await decided(ask, 2, keep=False)).error
    await decided(ask, 1, keep=False)
    assert "before block 1 was kept" in (await decided(ask, 2, keep=False)).error
    assert app.store.height() == 0


async def test_half_a_block_is_none(app: Application, ask: Ask, chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from davy.ledger.rules.trie import Trie

    def fails(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Trie, "put", fails)
        assert (await decided(ask, 1, chain.tx(0, 0), keep=False)).error == "MemoryError"
    said = await decided(ask, 1, chain.tx(0, 0))
    assert said.app_hash == hashes(chain, (chain.tx(0, 0),))[0]


async def test_a_proposal_has_orders_first_and_nonces_in_turn(ask: Ask, chain: Any) -> None:
    order = encode(BrakeOrder(chain.order()))
    zero, one, two, other = chain.tx(0, 0), chain.tx(0, 1), chain.tx(0, 2), chain.tx(1, 0)
    arrived = [two, b"junk", other, order, zero, one, order, chain.tx(0, 5), chain.tx(2, 0, chain=bytes(32))]
    said = await ask(prepare_proposal=abci.PrepareProposal(txs=arrived, max_tx_bytes=1_000_000))
    assert list(said.txs) == [order, other, zero, one, two]

    async def voted(*txs: bytes) -> bool:
        return (await ask(process_proposal=abci.ProcessProposal(txs=txs))).status == ACCEPT

    assert await voted(*said.txs)
    assert await voted()
    for wrong in (
        (zero, order),  # an order behind others
        (order, order),
        (one, zero),
        (zero, zero),
        (two,),
        (zero, b"junk"),
        (b"",),
        (chain.tx(0, 0, chain=bytes(32)),),
        (zero[:-1] + bytes([zero[-1] ^ 1]),),
    ):
        assert not await voted(*wrong), wrong


async def test_a_proposal_fits(ask: Ask, chain: Any) -> None:
    txs = [chain.tx(0, n) for n in range(20)]
    for room in (0, len(txs[0]) + 2, 5 * (len(txs[0]) + 3)):
        said = await ask(prepare_proposal=abci.PrepareProposal(txs=txs, max_tx_bytes=room))
        framed = abci.PrepareProposal(txs=said.txs).SerializeToString()
        assert len(framed) <= room
        rest = [t for t in txs if t not in said.txs]
        assert len(abci.PrepareProposal(txs=[*said.txs, rest[0]]).SerializeToString()) > room
        assert list(said.txs) == txs[: len(said.txs)]


async def test_the_door_checks_and_remembers(app: Application, ask: Ask, chain: Any) -> None:
    async def code(raw: bytes) -> int:
        return (await ask(check_tx=abci.CheckTx(tx=raw))).code

    zero = chain.tx(0, 0)
    assert await code(zero) == 0
    assert await code(zero) == 0  # recheck
    rival = chain.tx(0, 0, Transfer(chain.people[2].public(), 5))
    assert await code(rival) == TxCode.WRONG_NONCE
    assert await code(b"junk") != 0
    assert app.door.waiting() == (1, len(zero))
    await decided(ask, 1, zero)
    assert app.door.waiting() == (0, 0)
    assert await code(zero) == TxCode.WRONG_NONCE


async def test_a_place_is_free_again_when_its_holder_never_came(app: Application, ask: Ask, chain: Any) -> None:
    app.check_tx(chain.tx(0, 0))
    rival = chain.tx(0, 0, Transfer(chain.people[2].public(), 5))
    for height in range(1, 40):
        await decided(ask, height)
    assert app.check_tx(rival).code is TxCode.OK


async def test_own_orders_go_into_the_next_proposal(app: Application, ask: Ask, chain: Any) -> None:
    order = encode(BrakeOrder(chain.order()))
    assert app.door.keep(app.door.check(app.machine, order), order)
    said = await ask(prepare_proposal=abci.PrepareProposal(txs=[chain.tx(0, 0)], max_tx_bytes=1_000_000))
    assert list(said.txs) == [order, chain.tx(0, 0)]
    await decided(ask, 1, *said.txs)
    assert app.door.orders() == []


async def test_what_is_not_used_is_answered_by_its_name(ask: Ask) -> None:
    assert await ask(extend_vote=abci.Empty()) == abci.Empty()
    assert (await ask()).error
    assert (await ask(echo=abci.Echo(message="x"))).message == "x"
    assert (await ask(query=abci.Query(path="/nowhere"))).code == TxCode.NOT_FOUND


async def test_another_chains_file_and_a_changed_state_are_refused(chain: Any, database: Path) -> None:
    with closing(BlockStore(database)) as store:
        app = Application(chain.genesis, store)
        app.finalize(1, 2_000, (chain.tx(0, 0),))
        await app.commit()
        with pytest.raises(Misconfigured, match="another chain"):
            Application(replace(chain.genesis, note="other"), store)
        store._writer.execute("UPDATE blocks SET app_hash = zeroblob(32)")
        with pytest.raises(Misconfigured, match="not block 1's"):
            Application(chain.genesis, store)


def test_messages_are_bounded_and_come_in_any_pieces() -> None:
    sent = [b"", b"a", bytes(127), bytes(128), bytes(70_000)]
    buffer, taken = bytearray(), list[bytes]()
    for byte in b"".join(map(with_length, sent)):
        buffer.append(byte)
        while (message := take_message(buffer)) is not None:
            taken.append(message)
    assert taken == sent
    for long in (b"\xff\xff\xff\xff\x7f", b"\xff\xff\xff\xff\xff\x01", b"\x81\x80\x80\x08"):
        with pytest.raises(Malformed):
            take_message(bytearray(long))


async def test_noise_ends_a_connection_and_nothing_else(app: Application) -> None:
    with pytest.raises(Malformed):
        await Conversation(app).answer(b"\xff\xff")
    assert (await app.info()).height == 0
    with pytest.raises(Refused):
        app.finalize(9, 1, ())


def test_the_generated_messages_are_those_of_the_file(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="protoc comes with the dev extra")
    root = Path(__file__).parents[4]
    source = "davy/ledger/driver/cometbft/abci.proto"
    words = ["-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", source]
    subprocess.run([sys.executable, *words], cwd=root, check=True, timeout=60)
    for suffix in ("_pb2.py", "_pb2.pyi"):
        name = source.replace(".proto", suffix)
        assert (tmp_path / name).read_text() == (root / name).read_text(), "run `make messages`"
