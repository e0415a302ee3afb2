"""The front door: CometBFT's shapes, bounds on all that comes in, and no reader who can hold the ledger up."""

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from davy.ledger.driver.blockstore import Block, BlockStore
from davy.ledger.driver.embedded import Producer
from davy.ledger.driver.server import RpcServer, listening
from davy.ledger.headers import Authority, open_header
from davy.ledger.rules.records import ACCOUNTS
from davy.protocol.chain import Account, Proof, txs_digest
from davy.protocol.encoding import decode
from davy.protocol.errors import Misconfigured
from davy.protocol.limits import MAX_RPC_BATCH, MAX_RPC_BODY_BYTES, MAX_SUBSCRIBERS
from davy.protocol.proof import verify_presence
from davy.protocol.transaction import RevealWeights, Weight, tx_hash

pytestmark = pytest.mark.anyio


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Front:
    """A served producer, and calls to it."""

    def __init__(self, producer: Producer, url: str, session: aiohttp.ClientSession) -> None:
        self.producer, self.url, self.session = producer, url, session

    async def post(self, body: Any, status: int = 200) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(self.url, data=data) as response:
            assert response.status == status
            return await response.json()

    async def call(self, method: str, **params: Any) -> Any:
        answer = await self.post({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
        return answer["result"] if "result" in answer else answer["error"]

    async def get(self, path: str) -> Any:
        async with self.session.get(f"{self.url}/{path}") as response:
            return await response.json()


@pytest.fixture
async def front(producer: Producer) -> AsyncIterator[Front]:
    async with listening(RpcServer(producer).app, "127.0.0.1", 0) as url, aiohttp.ClientSession() as session:
        yield Front(producer, url, session)


async def test_status_and_health(front: Front, chain: Any) -> None:
    for height in (0, 1):
        status = await front.call("status")
        assert status["node_info"]["network"] == chain.id.hex()
        assert status["sync_info"]["latest_block_height"] == str(height)
        assert status["sync_info"]["catching_up"] is False
        await front.producer.make_block()
    assert status["sync_info"]["latest_block_time"] == "1970-01-01T00:16:40.000Z"
    assert status["sync_info"]["latest_block_hash"] == (await front.call("block", height="1"))["block_id"]["hash"]
    assert status["validator_info"]["pub_key"]["value"] == b64(chain.producer.public())
    assert await front.call("health") == {}
    assert (await front.get("status"))["result"]["sync_info"]["latest_block_height"] == "2"


async def test_a_transaction_from_the_door_to_its_block(front: Front, chain: Any) -> None:
    raw = chain.tx(0, 0)
    said = await front.call("broadcast_tx_sync", tx=b64(raw))
    assert said == {"code": 0, "data": "", "log": "", "codespace": "", "hash": tx_hash(raw).hex().upper()}
    assert (await front.call("num_unconfirmed_txs"))["n_txs"] == "1"
    missing = await front.call("tx", hash=b64(tx_hash(raw)))
    assert (missing["code"], missing["data"]) == (-32603, f"tx ({tx_hash(raw).hex().upper()}) not found")
    twice = await front.call("broadcast_tx_sync", tx=b64(raw))
    assert (twice["code"], twice["message"], twice["data"]) == (-32603, "Internal error", "tx already exists in cache")
    await front.producer.make_block()

    found = await front.call("tx", hash=b64(tx_hash(raw)), prove=True)
    assert (found["height"], found["index"], found["tx_result"]["code"]) == ("1", 0, 0)
    assert base64.b64decode(found["tx"]) == raw
    assert found == (await front.get(f"tx?hash=0x{tx_hash(raw).hex()}&prove=true"))["result"]
    block = await front.call("block", height="1")
    assert block["block"]["data"]["txs"] == [b64(raw)]
    opened = open_header(base64.b64decode(block["signed_header"]), Authority.of(chain.genesis))
    assert opened.header.txs == txs_digest([base64.b64decode(found["proof"]["hashes"])])
    assert block["block_id"]["hash"] == opened.hash.hex().upper()
    assert block["block"]["header"]["height"] == "1"
    assert block == await front.call("block") == (await front.get("block?height=1"))["result"]
    assert (await front.call("header", height=1))["header"] == block["block"]["header"]


async def test_a_block_shows_as_a_whole(front: Front, chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the end of its write and its announcement neither its header nor its transactions are there."""
    raw, seen = chain.tx(0, 0), list[Any]()
    append = front.producer.store.append

    async def look() -> None:
        for method, params in [("tx", {"hash": b64(tx_hash(raw))}), ("header", {"height": "1"}), ("blockchain", {})]:
            seen.append(await front.call(method, **params))

    def written_and_looked_at(block: Block) -> None:
        append(block)
        anyio.from_thread.run(look)

    monkeypatch.setattr(front.producer.store, "append", written_and_looked_at)
    front.producer.submit(raw)
    await front.producer.make_block()
    assert ["not announced yet" in seen[0]["data"], seen[1]["code"], seen[2]["block_metas"]] == [True, -32603, []]
    assert (await front.call("tx", hash=b64(tx_hash(raw))))["height"] == "1"


async def test_the_door_s_codes_reach_the_caller(front: Front, chain: Any) -> None:
    said = await front.call("broadcast_tx_sync", tx=b64(chain.tx(0, 3)))
    assert (said["code"], "next nonce is 0" in said["log"]) == (4, True)
    said = await front.call("broadcast_tx_sync", tx=b64(b"junk"))
    assert said["code"] == 1


async def test_queries_and_proofs(front: Front, chain: Any) -> None:
    await front.producer.make_block()
    alice = chain.people[0].public()
    said = (await front.call("abci_query", path="/nonce", data=alice.hex()))["response"]
    assert (said["code"], said["height"], said["proofOps"]) == (0, "1", None)
    assert decode(base64.b64decode(said["value"]), Account, limit=10**4).free == 10**12
    same = (await front.get(f'abci_query?path="/nonce"&data=0x{alice.hex()}'))["result"]["response"]
    assert same == said

    key = ACCOUNTS.tag + alice
    said = (await front.call("abci_query", path="/store", data=key.hex(), prove=True))["response"]
    head = await front.producer.make_block()
    proof = decode(base64.b64decode(said["proofOps"]["ops"][0]["data"]), Proof, limit=10**6)
    verify_presence(head.app_hash, key, base64.b64decode(said["value"]), proof)
    said = (await front.call("abci_query", path="/store", data="ff", prove=True))["response"]
    assert (said["code"], said["value"], len(said["proofOps"]["ops"])) == (6, "", 1)


async def test_a_query_that_cannot_be_answered_says_why(front: Front) -> None:
    await front.producer.make_block()
    await front.producer.make_block()
    for path, data, height, code, log in [
        ("/nowhere", "", "0", 6, "the names are"),
        ("/metagraph", "0009", "0", 6, "netuid"),
        ("/subnet", "0009", "0", 6, "netuid"),
        ("/neuron", "0009" + "00" * 32, "0", 6, "no UID on this subnet"),
        ("/subnet", "0001", "1", 6, "only the state after block 2 is kept"),
        ("/neuron", "0001" + "00" * 32, "1", 6, "only the state after block 2 is kept"),
        ("/issuance", "", "1", 6, "only the state after block 2 is kept"),
    ]:
        said = (await front.call("abci_query", path=path, data=data, height=height))["response"]
        assert said["code"] == code
        assert log in said["log"]
        assert said["value"] == ""
    assert (await front.call("abci_query", path="/issuance", height="2"))["response"]["code"] == 0
    for path, data, takes in [("/nonce", "00", 32), ("/subnet", "00", 2), ("/neuron", "0001", 34)]:
        refused = await front.call("abci_query", path=path, data=data)
        assert (refused["code"], f"{takes} bytes" in refused["data"]) == (-32602, True)


async def test_headers_come_in_bounded_pages_newest_first(front: Front, chain: Any) -> None:
    for _ in range(25):
        await front.producer.make_block()
    for low, high, heights in [
        (None, None, range(25, 5, -1)),
        ("3", "5", range(5, 2, -1)),
        ("1", "25", range(25, 5, -1)),
        ("26", "45", range(0)),
        ("24", "99", range(25, 23, -1)),
        ("9999999999999999999", "9999999999999999999", range(0)),
    ]:
        page = await front.call("blockchain", minHeight=low, maxHeight=high)
        assert page["last_height"] == "25"
        assert [m["header"]["height"] for m in page["block_metas"]] == [str(h) for h in heights]
        for meta in page["block_metas"]:
            opened = open_header(base64.b64decode(meta["signed_header"]), Authority.of(chain.genesis))
            assert str(opened.header.height) == meta["header"]["height"]


@pytest.mark.parametrize("height", ["0", "2", "999999999999999999", "9223372036854775807", 5])
async def test_a_height_that_is_not_there(front: Front, height: Any) -> None:
    await front.producer.make_block()
    for method in ("block", "header"):
        assert "between 1 and the current height 1" in (await front.call(method, height=height))["data"]


MALFORMED: list[tuple[bytes, int]] = [
    (b"", -32700),
    (b"{", -32700),
    (b"\xff\xfe", -32700),
    (b"[" * 100_000, -32700),
    (b"null", -32600),
    (b"5", -32600),
    (b'"status"', -32600),
    (b"{}", -32600),
    (b"[]", -32600),
    (b'{"method":5}', -32600),
    (b'{"method":"' + b"x" * 65 + b'"}', -32600),
    (b'{"method":"status","id":{}}', -32600),
    (b'{"method":"status","id":1e400}', -32700),
    (b'{"method":"status","params":"x"}', -32600),
    (b'{"method":"unsafe_flush_mempool"}', -32601),
    (b'{"method":"__init__"}', -32601),
    (b'{"method":"status","params":{"x":1}}', -32602),
    (b'{"method":"status","params":[1]}', -32602),
    (b'{"method":"block","params":{"height":"-1"}}', -32602),
    (b'{"method":"block","params":{"height":"1\\n"}}', -32602),
    (b'{"method":"block","params":{"height":"99999999999999999999"}}', -32602),
    (b'{"method":"block","params":{"height":1.5}}', -32602),
    (b'{"method":"block","params":{"height":[]}}', -32602),
    ('{"method":"block","params":{"height":"٣"}}'.encode(), -32602),
    (b'{"method":"tx","params":{"hash":"AA"}}', -32602),
    (b'{"method":"tx","params":{"hash":"0x' + b"zz" * 32 + b'"}}', -32602),
    (b'{"method":"tx"}', -32602),
    (b'{"method":"broadcast_tx_sync","params":{"tx":"###"}}', -32602),
    (b'{"method":"broadcast_tx_sync","params":{"tx":"' + b"A" * 132_000 + b'"}}', -32602),
    (b'{"method":"abci_query","params":{"path":"/nonce","data":"x"}}', -32602),
    (b'{"method":"abci_query","params":{"path":"/nonce","data":"' + b"00" * 5_000 + b'"}}', -32602),
]


@pytest.mark.parametrize(("body", "code"), MALFORMED, ids=[repr(b[:40]) for b, _ in MALFORMED])
async def test_malformed_calls_are_answered_in_words(front: Front, body: bytes, code: int) -> None:
    answer = await front.post(body)
    assert answer["error"]["code"] == code
    assert len(json.dumps(answer)) < 2_000


async def test_others_have_their_turn_between_the_calls_of_a_batch(producer: Producer) -> None:
    done: list[str] = []

    async def other() -> None:
        done.append("another's call")

    waiting = asyncio.create_task(other())
    await RpcServer(producer).answer(json.dumps([{"method": "health"}] * 2).encode())
    done.append("the batch")
    await waiting
    assert done == ["another's call", "the batch"]


async def test_batches_are_bounded_and_answered_one_by_one(front: Front) -> None:
    one = {"jsonrpc": "2.0", "method": "health", "params": {}}
    answers = await front.post([{**one, "id": 1}, {"id": 2}, {**one, "id": "three"}])
    assert [(a["id"], "result" in a) for a in answers] == [(1, True), (None, False), ("three", True)]
    assert len(await front.post([one] * MAX_RPC_BATCH)) == MAX_RPC_BATCH
    refused = await front.post([one] * (MAX_RPC_BATCH + 1))
    assert "a batch holds 1 to 10 calls, not 11" in refused["error"]["data"]


async def test_positional_parameters(front: Front) -> None:
    await front.producer.make_block()
    answer = await front.post({"method": "abci_query", "params": ["/issuance", "", "1", False], "id": 1})
    assert answer["result"]["response"]["code"] == 0


async def test_a_body_beyond_the_limit_is_refused_unread(front: Front) -> None:
    answer = await front.post(b" " * (MAX_RPC_BODY_BYTES + 1), status=400)
    assert "at most" in answer["error"]["data"]

    host, port = front.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(MAX_RPC_BODY_BYTES // 0x8000 + 1):  # and it never says that it ends
        writer.write(b"8000\r\n" + bytes(0x8000) + b"\r\n")
        await writer.drain()
    assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    writer.close()
    assert await front.call("health") == {}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
        ).map(lambda value: json.dumps(value).encode()),
        st.tuples(
            st.sampled_from("health status genesis broadcast_tx_sync abci_query block header blockchain tx".split()),
            st.dictionaries(
                st.sampled_from("tx path data height prove hash minHeight maxHeight".split()),
                st.none() | st.booleans() | st.integers() | st.text(max_size=70) | st.just("/store") | st.just("00"),
                max_size=4,
            ),
        ).map(lambda call: json.dumps({"id": 1, "method": call[0], "params": call[1]}).encode()),
    )
)
def test_whatever_is_said_is_answered(producer: Producer, body: bytes) -> None:
    answer = asyncio.run(RpcServer(producer).answer(body))
    for one in answer if isinstance(answer, list) else [answer]:
        assert ("result" in one) != ("error" in one)
        assert one["jsonrpc"] == "2.0"


async def test_raw_noise_on_the_port_does_no_harm(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(5)
    host, port = front.url.removeprefix("http://").split(":")
    noises = [rng.randbytes(rng.randrange(1, 3_000)) for _ in range(30)]
    noises += [
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n{}",
        b"GET /" + b"a" * 20_000,
        b"\x16\x03\x01\x02\x00",
    ]
    noises += [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /websocket HTTP/1.1\r\nHost: x\r\n\r\n",
    ]
    for noise in noises:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(noise)
        await writer.drain()
        writer.close()
    assert await front.call("health") == {}
    assert not [r for r in caplog.records if r.exc_info]


async def test_who_leaves_in_the_middle_of_a_body_leaves_no_traceback(
    front: Front, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = front.url.removeprefix("http://").split(":")
    for _ in range(5):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        await front.call("health")
        writer.close()
        await writer.wait_closed()
    assert await front.call("health") == {}
    assert not [r for r in caplog.records if r.exc_info]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x"])
async def test_an_encoded_body_is_refused_unread_and_leaves_no_traceback(
    front: Front, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"content-encoding": encoding}
    async with front.session.post(front.url, data=b"\x1f\x8bnonsense", headers=headers) as answer:
        assert answer.status == 415
        assert "not encoded" in (await answer.json())["error"]["data"]
    assert await front.call("health") == {}
    assert not [r for r in caplog.records if r.exc_info]


@pytest.mark.parametrize("path", ["unknown", "block?height=x", "tx", "broadcast_tx_sync?tx=AA==", "block?height=1&x=2"])
async def test_malformed_addresses_are_answered_in_words(front: Front, path: str) -> None:
    assert (await front.get(path))["error"]["code"] in (-32600, -32601, -32602)


async def subscribe(socket: aiohttp.ClientWebSocketResponse, query: str, method: str = "subscribe") -> Any:
    await socket.send_json({"jsonrpc": "2.0", "id": 3, "method": method, "params": {"query": query}})
    return await socket.receive_json()


async def test_a_websocket_hears_of_every_block(front: Front, chain: Any) -> None:
    async with front.session.ws_connect(front.url + "/websocket") as socket:
        assert await subscribe(socket, "tm.event='NewBlock'") == {"jsonrpc": "2.0", "id": 3, "result": {}}
        front.producer.submit(chain.tx(0, 0))
        for height in (1, 2, 3):
            await front.producer.make_block()
            event = await socket.receive_json()
            assert (event["id"], event["result"]["query"]) == (3, "tm.event='NewBlock'")
            assert event["result"]["data"]["type"] == "tendermint/event/NewBlock"
            value = event["result"]["data"]["value"]
            assert value == await front.call("block", height=str(height))
        await socket.send_json({"id": 4, "method": "status"})
        assert (await socket.receive_json())["result"]["sync_info"]["latest_block_height"] == "3"
        await subscribe(socket, "tm.event='NewBlock'", "unsubscribe")
        assert await subscribe(socket, "tm.event = 'NewBlockHeader'") == {"jsonrpc": "2.0", "id": 3, "result": {}}
        await front.producer.make_block()
        value = (await socket.receive_json())["result"]["data"]["value"]
        assert value == await front.call("header", height="4")
        assert "the queries are" in (await subscribe(socket, "tm.event='Tx'"))["error"]["data"]


async def test_noise_on_a_websocket_is_answered_or_ends_it(front: Front) -> None:
    async with front.session.ws_connect(front.url + "/websocket") as socket:
        for noise in ("", "{", "[]", '{"method":"subscribe"}', '{"method":"subscribe","params":[[]]}'):
            await socket.send_str(noise)
            assert "error" in await socket.receive_json()
        await socket.send_str("x" * (MAX_RPC_BODY_BYTES + 1))
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    assert await front.call("health") == {}


async def test_a_websocket_that_is_not_read_holds_nobody_and_is_dropped(front: Front, chain: Any) -> None:
    """It asks for whole blocks, reads nothing, and the blocks are larger than every buffer between."""
    host, port = front.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    writer.write(
        f"GET /websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    body = json.dumps({"id": 1, "method": "subscribe", "params": {"query": "tm.event='NewBlock'"}}).encode()
    mask = bytes(4)
    writer.write(b"\x81" + bytes([0x80 | 126]) + len(body).to_bytes(2, "big") + mask + body)
    await reader.read(64)
    large = RevealWeights(0, 0, tuple(Weight(n, bytes(8), 65_535) for n in range(3_500)), bytes(32))
    subscribers = front.producer._subscribers
    for nonce in range(400):
        for person in range(3):
            assert front.producer.submit(chain.tx(person, nonce, large)).code == 0
        await front.producer.make_block()
        await asyncio.sleep(0)
        if not subscribers:
            break
    assert not subscribers
    writer.close()
    assert await front.call("health") == {}


async def test_who_hangs_up_while_it_is_told_is_no_error(
    front: Front, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with front.session.ws_connect(front.url + "/websocket") as socket:
        await subscribe(socket, "tm.event='NewBlockHeader'")

        async def gone(*_: object) -> None:
            raise aiohttp.ClientConnectionResetError

        monkeypatch.setattr(web.WebSocketResponse, "send_str", gone)
        await front.producer.make_block()
        await socket.receive()
    assert not front.producer._subscribers
    assert await front.call("health") == {}
    assert caplog.messages == []


async def test_too_many_websockets_are_refused(front: Front) -> None:
    with ExitStack() as stack:
        for _ in range(MAX_SUBSCRIBERS):
            stack.enter_context(front.producer.subscribed())
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await front.session.ws_connect(front.url + "/websocket")


async def test_a_websocket_that_subscribes_to_nothing_is_closed(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("davy.ledger.driver.server._IDLE_S", 0.05)
    async with front.session.ws_connect(front.url + "/websocket") as listening_one:
        await subscribe(listening_one, "tm.event='NewBlockHeader'")
        async with front.session.ws_connect(front.url + "/websocket") as idle:
            assert (await idle.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert len(front.producer._subscribers) == 1
        await front.producer.make_block()
        assert (await listening_one.receive()).type is aiohttp.WSMsgType.TEXT


async def test_a_busy_port_is_one_sentence(front: Front) -> None:
    port = int(front.url.rsplit(":", 1)[1])
    with pytest.raises(Misconfigured, match=f"port {port} on 127.0.0.1 is taken; .*choose another with --port"):
        async with listening(RpcServer(front.producer).app, "127.0.0.1", port):
            pass
    with pytest.raises(Misconfigured, match="name an address of this machine"):
        async with listening(RpcServer(front.producer).app, "192.0.2.1", 0):
            pass


async def test_an_unreadable_file_is_an_answer_not_a_crash(front: Front, store: BlockStore) -> None:
    await front.producer.make_block()
    store._reader.close()
    said = await front.call("tx", hash=b64(bytes(32)))
    assert (said["code"], "restore a backup" in said["data"]) == (-32603, True)
    assert await front.call("health") == {}


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 300])
async def test_a_host_that_is_none_is_told_so(host: str) -> None:
    with pytest.raises(Misconfigured, match=r"cannot listen on .*name an address of this machine"):
        async with listening(web.Application(), host, 0):
            pass
