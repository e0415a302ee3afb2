"""A whole miner over real sockets: pinned TLS for the network, plain HTTP for a client of OpenAI's on this machine."""

import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import openai
import pytest

from davy.killswitch.scope import Subject
from davy.miners.running import MinerOptions, Started, run_miner
from davy.network.certificate import CertificateFiles, make_certificate
from davy.network.gossip.joining import Joining
from davy.network.gossip.pipe import Heard, Up, framed
from davy.network.gossip.route import Listening
from davy.network.http_client import HttpTransport
from davy.network.node_brake import NodeBrake
from davy.network.receipts import StreamDigest, check_receipt, receipt_in, receipt_of, response_digest
from davy.network.signed import sign_request
from davy.protocol.encoding import encode
from davy.protocol.errors import Misconfigured, Unreachable
from davy.protocol.gossip import GossipPlace
from davy.protocol.ports import Ports, SignedRequest, Transport
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor, Outcome
from davy.protocol.words import TOKEN, KeyRole
from tests.killswitch.story import Story, genesis
from tests.miners.stage import CHAIN, MINER, VALIDATOR, head, neuron
from tests.miners.test_node import Ledger
from tests.twins import MemoryStore, SeededEntropy, WallClock

pytestmark = pytest.mark.anyio

MINE = """
from davy.miners.simple import SimpleBackend

class Mine(SimpleBackend):
    name = "mine"
    def next_token(self, tokens):
        return {NEXT: 0.5, 66: 0.25}
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def certificate(tmp_path: Path) -> CertificateFiles:
    made = make_certificate(bytes(32))
    files = CertificateFiles(tmp_path / "certificate.pem", tmp_path / "key.pem")
    files.certificate.write_bytes(made.certificate)
    files.key.write_bytes(made.key)
    return files


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE.replace("NEXT", "65"))
    return path


def ports(ledger: Ledger, transport: Transport) -> Ports:
    return Ports(MINER, ledger, WallClock(), SeededEntropy(), MemoryStore(), transport)


@asynccontextmanager
async def running(ledger: Ledger, options: MinerOptions, certificate: CertificateFiles) -> AsyncGenerator[Started]:
    started: list[Started] = []
    is_ready = anyio.Event()

    def ready(told: Started) -> None:
        started.append(told)
        is_ready.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.produce)

        async def miner() -> None:
            async with HttpTransport(WallClock()) as transport:
                await run_miner(options, ports(ledger, transport), genesis(()), certificate, ready=ready)

        tasks.start_soon(miner)
        await is_ready.wait()
        await until(lambda: bool(ledger.served))
        yield started[0]
        tasks.cancel_scope.cancel()


async def until(true: Callable[[], bool]) -> None:
    """Look again and again, for signals and logs wake nobody; too late is a failure."""
    with anyio.fail_after(60):
        while not true():  # noqa: ASYNC110
            await anyio.sleep(0.01)


def a_ledger() -> Ledger:
    keys = (MINER, VALIDATOR)
    return Ledger(*(neuron(i, k.public(KeyRole.HOTKEY), 5 * TOKEN * i) for i, k in enumerate(keys)), block_s=0.05)


_entropy = SeededEntropy(9)


def ask(ledger: Ledger, **fields: Any) -> SignedRequest:
    return sign_request(
        VALIDATOR, method="POST", path="/v1/completions", body=json.dumps({"prompt": "p", **fields}).encode(),
        recipient=MINER.public(KeyRole.HOTKEY), chain=CHAIN, anchor=Anchor(ledger.height, head(ledger.height).hash),
        brake_head=EMPTY_BRAKE_HEAD, created=WallClock().now(), nonce=_entropy.bytes(16),
    )  # fmt: skip


async def test_a_validator_asks_over_pinned_tls(mine: Path, certificate: CertificateFiles) -> None:
    ledger = a_ledger()
    async with (
        running(ledger, MinerOptions(f"{mine}:Mine"), certificate) as started,
        HttpTransport(WallClock()) as http,
    ):
        endpoint = ledger.served[0].endpoint
        assert endpoint == started.endpoint
        request = ask(ledger, model=started.model_id.hex(), max_tokens=3, temperature=0)
        response = await http.call(endpoint, request, deadline=WallClock().now() + 20_000)
        assert json.loads(response.body)["choices"][0]["text"] == "AAA"
        raw = receipt_of(response)
        assert raw is not None
        miner = MINER.public(KeyRole.HOTKEY)
        receipt = check_receipt(raw, sent=request, miner=miner, response_body=response_digest(response.body))
        assert receipt.model_id == started.model_id
        streamed = ask(ledger, model="mine", max_tokens=3, temperature=0, stream=True)
        said, raw = StreamDigest(), None
        async with http.stream(endpoint, streamed, deadline=WallClock().now() + 20_000) as incoming:
            async for frame in incoming.frames:
                said.add(frame)
                raw = receipt_in(frame) or raw
        assert raw is not None
        receipt = check_receipt(raw, sent=streamed, miner=miner, response_body=said.value())
        assert receipt.outcome is Outcome.DONE
        assert receipt.completion_tokens == 3
        other = endpoint.__class__(endpoint.host, endpoint.port, bytes(32), b"")
        with pytest.raises(Unreachable):
            await http.call(other, ask(ledger, model="mine"), deadline=WallClock().now() + 20_000)


async def test_the_openai_client_talks_to_the_local_door(mine: Path, certificate: CertificateFiles) -> None:
    def talk(port: int) -> None:
        with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client:
            (card,) = client.models.list().data
            answer = client.completions.create(
                model=card.id, prompt="p", max_tokens=4, temperature=0, logprobs=2, stop=["BB"], seed=1
            )
            choice = answer.choices[0]
            assert (choice.text, choice.finish_reason) == ("AAAA", "length")
            assert choice.logprobs is not None
            assert choice.logprobs.tokens == list("AAAA")
            stream = client.completions.create(
                model="mine", prompt="p", max_tokens=3, temperature=0, stream=True,
                stream_options={"include_usage": True},
            )  # fmt: skip
            chunks = list(stream)
            assert "".join(c.choices[0].text for c in chunks if c.choices) == "AAA"
            assert chunks[-1].usage is not None
            assert chunks[-1].usage.completion_tokens == 3
            with pytest.raises(openai.NotFoundError) as refused:
                client.completions.create(model="gpt", prompt="p")
            assert refused.value.code == "model_not_found"
            with pytest.raises(openai.BadRequestError, match="echo"):
                client.completions.create(model="mine", prompt="p", echo=True)

    ledger = a_ledger()
    async with running(ledger, MinerOptions(f"{mine}:Mine", insecure_local=0), certificate) as started:
        assert started.local_port is not None
        await anyio.to_thread.run_sync(talk, started.local_port)


async def test_sighup_while_the_ledger_is_away_changes_the_model_when_it_is_back(
    mine: Path, certificate: CertificateFiles, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = a_ledger()

    async def subject(_: NodeBrake, netuid: int, hotkey: bytes, *__: object, **___: object) -> Subject:
        await ledger.head()  # as on a chain that somebody can halt, it is asked
        return Subject(netuid, hotkey)

    monkeypatch.setattr(NodeBrake, "subject", subject)
    async with running(ledger, MinerOptions(f"{mine}:Mine"), certificate) as started:
        await anyio.Path(mine).write_text(MINE.replace("NEXT", "67"))
        ledger.down = True
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: "the model is changed as soon as that is mended" in caplog.text)
        assert len(ledger.served) == 1
        ledger.down = False
        await until(lambda: len(ledger.served) == 2)
        assert ledger.served[1].models[0].model_id != started.model_id


async def test_sighup_changes_the_model_and_sigterm_ends(
    mine: Path, certificate: CertificateFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "davy.miners")
    ledger = a_ledger()
    async with (
        running(ledger, MinerOptions(f"{mine}:Mine"), certificate) as started,
        HttpTransport(WallClock()) as http,
    ):

        async def text() -> str:
            request = ask(ledger, model="mine", max_tokens=2, temperature=0)
            response = await http.call(started.endpoint, request, deadline=WallClock().now() + 20_000)
            return json.loads(response.body)["choices"][0]["text"]

        assert await text() == "AA"
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: "served already" in caplog.text)
        await anyio.Path(mine).write_text(MINE.replace("NEXT", "67"))
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(ledger.served) == 2)
        assert ledger.served[1].models[0].model_id != started.model_id
        await until(lambda: "now serving" in caplog.text)
        assert await text() == "CC"
        await anyio.Path(mine).write_text("broken(")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: "the model was not changed" in caplog.text)
        assert await text() == "CC", "a model that cannot be loaded does not replace one that runs"
        os.kill(os.getpid(), signal.SIGTERM)
        with anyio.fail_after(60):
            while True:
                try:
                    await http.call(
                        started.endpoint, SignedRequest("GET", "/health", (), b""), deadline=WallClock().now() + 5_000
                    )
                except Unreachable:
                    break
        assert len(ledger.served) == 2


async def test_a_busy_port_and_a_missing_backend_are_one_sentence(mine: Path, certificate: CertificateFiles) -> None:
    ledger = a_ledger()
    async with (
        running(ledger, MinerOptions(f"{mine}:Mine"), certificate) as started,
        HttpTransport(WallClock()) as http,
    ):
        for options, word in [
            (MinerOptions(f"{mine}:Mine", port=started.endpoint.port), "cannot listen"),
            (MinerOptions(f"{mine}:Yours"), "no class Yours"),
        ]:
            with pytest.raises(Misconfigured, match=word):
                await run_miner(options, ports(ledger, http), genesis(()), certificate, ready=lambda _: None)


async def test_a_miner_says_where_its_gossip_process_listens_and_hears_orders_from_it(
    mine: Path, certificate: CertificateFiles, tmp_path: Path
) -> None:
    """The process is a stand-in that says where it listens, and an order; tests/network/gossip has real ones."""
    story, ledger, place = Story(), a_ledger(), GossipPlace(1, 4_100, bytes(range(32)))
    halt = story.given[story.halt(0, 3)]
    said = framed(Up(place.port, place.peer)) + framed(Heard((halt,)))
    script = tmp_path / "process.py"
    script.write_text(f"import sys\nsys.stdout.buffer.write({said!r})\nsys.stdout.flush()\nsys.stdin.buffer.read()\n")
    joining = Joining(Listening("127.0.0.1", 0), (), (sys.executable, "-I", str(script)))
    ledger.down = True  # the other routes are cut
    told: list[Started] = []
    brakes: list[NodeBrake] = []

    def kept(brake: NodeBrake) -> NodeBrake:
        brakes.append(brake)
        return brake

    async with anyio.create_task_group() as tasks, HttpTransport(WallClock()) as transport:

        async def miner() -> None:
            options, own = MinerOptions(f"{mine}:Mine", gossip=joining), ports(ledger, transport)
            await run_miner(options, own, story.genesis, certificate, ready=told.append, change=kept)

        tasks.start_soon(miner)
        await until(lambda: bool(told) and bool(brakes) and bool(brakes[0].guard.state.orders))
        assert [v.raw for v in brakes[0].guard.state.orders.values()] == [halt]
        asked = SignedRequest("GET", "/gossip", (), b"")
        answer = await transport.call(told[0].endpoint, asked, deadline=WallClock().now() + 60_000)
        assert (answer.status, answer.body) == (200, encode(place))
        tasks.cancel_scope.cancel()
