"""Four real producers and a fifth: it fetches the state, though three send wrong chunks; votes; votes twice; is out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import msgspec
import pytest
from nacl import bindings

from davy.host.home import Home
from davy.ledger.client import RpcLedger
from davy.ledger.client.saved import check_saved
from davy.ledger.commits import CommittedHeader, in_order
from davy.ledger.driver.cometbft.configuration import PRODUCER_KEY, secret_of
from davy.ledger.rules.producers import PRODUCER_BOND
from davy.ledger.rules.records import PRODUCING, ProducingRecord
from davy.ledger.submit import deliver
from davy.protocol.chain import ProducerList, SavedProof
from davy.protocol.consents import producer_consent
from davy.protocol.encoding import decode, encode
from davy.protocol.limits import MAX_RESULT_BYTES
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import Action, RegisterProducer, SignedTx, Transfer, TxBody
from davy.protocol.words import KeyRole, key_text
from tests.ledger.driver.cometbft.engines import PATIENCE_S, Producers, engine, reach
from tests.ports import free_ports

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.engine]
PUBLIC, SECRET = bindings.crypto_sign_seed_keypair(b"alice".ljust(32, b"."))
SMALL_CHUNKS = """
from davy.ledger.driver.cometbft import snapshots
snapshots.CHUNK_BYTES = 64
snapshots.KEPT = 100  # blocks are fast here, and chunks are asked for again after some seconds
"""
LIES = f"""{SMALL_CHUNKS}
from davy.ledger.driver.cometbft import application
class Liar(snapshots.Snapshots):
    def chunk(self, *which):
        return super().chunk(*which)[:-1] + b"?"
application.Snapshots = Liar
"""
AGAINST_ALL = f"""{SMALL_CHUNKS}
from davy.ledger.driver.cometbft.application import Application
Application.process = lambda self, txs: False
"""
"""Votes for no block, where the first one with its key votes for all."""
KEPT = ("--snapshots", "20", "--keep", "100")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def producers(tmp_path: Path) -> Iterator[Producers]:
    program = engine()
    if program is None:
        pytest.skip("there is no engine: `make engine` builds it, and needs Go")
    cold = key_text(KeyRole.COLDKEY, PUBLIC)
    with ExitStack() as stack:
        made = Producers(tmp_path / "n", program, stack)
        made.make(4, ("--owner", cold, "--allocate", f"{cold}=1000", "--parameters", "unbonding=5"))
        try:
            made.start(1, before=SMALL_CHUNKS, options=KEPT)
            made.start(2, 3, 4, before=LIES, options=KEPT)
            yield made
        finally:
            made.stop()


async def sent(ledger: RpcLedger, action: Action) -> None:
    body = encode(TxBody(1, ledger.chain, PUBLIC, await ledger.nonce(PUBLIC), action))
    assert (await deliver(ledger, encode(SignedTx(1, body, sign(SECRET, Domain.TX, body))))).code == 0


async def seats(ledger: RpcLedger) -> set[bytes]:
    told = decode(await ledger.query("/producers"), ProducerList, limit=MAX_RESULT_BYTES)
    return {p.producer for p in told.producers if not p.waits}


async def committed(ledger: RpcLedger) -> CommittedHeader:
    """The newest header that a proof brought along, which has been verified."""
    return decode((await ledger.saved_proof(PRODUCING.tag)).header, CommittedHeader, limit=MAX_RESULT_BYTES)


async def voters(ledger: RpcLedger) -> set[bytes]:
    """Who signed a new block, of those that have seats."""
    c, told = await committed(ledger), in_order(await seats(ledger))
    if len(c.votes) != len(told):
        return set()
    return {key for key, vote in zip(told, c.votes, strict=True) if vote.flag == 2}


def twin(producers: Producers, n: int) -> int:
    """A second engine with a producer's key, that knows nothing of what the first one has voted for."""
    port, engine_port = free_ports(2)  # while the first one holds its own
    producers.end(n)  # what is copied is whole
    other = len(producers.ports) + 1
    made, place = Home.open(producers.home(n)), producers.home(other)
    shutil.copytree(made.root, place, ignore=shutil.ignore_patterns("*.sock", "network.json", "lock"))
    (place / "engine/config/node_key.json").unlink()  # the engine makes another one
    settings = place / "engine/config/config.toml"
    lines = settings.read_text().splitlines()
    moved = [line if not line.startswith("laddr") else f'laddr = "tcp://127.0.0.1:{engine_port}"' for line in lines]
    settings.write_text("\n".join(line for line in moved if not line.startswith("external_address")))
    state = place / "engine/data/priv_validator_state.json"
    state.write_bytes(msgspec.json.encode({"height": "0", "round": 0, "step": 0}))
    producers.ports.append(port)
    return other


async def test_a_fifth_fetches_the_state_votes_and_loses_all_for_two_votes(producers: Producers) -> None:
    async with RpcLedger(f"http://127.0.0.1:{producers.ports[0]}", producers.chain) as first:
        await reach(first, 22)
        await sent(first, Transfer(bytes(31) + b"\1", 5))
        n = producers.join(1)
        producers.start(n, before=SMALL_CHUNKS, options=KEPT)
        async with RpcLedger(f"http://127.0.0.1:{producers.ports[n - 1]}", producers.chain) as fifth:
            await reach(fifth, (await first.head()).height + 1)
            assert "sends no more" in producers.log(n), "a wrong chunk is refused, and its sender"
            assert await fifth.nonce(PUBLIC) == 1
            assert await fifth.earliest() > 5, "it never had the first blocks"

            public, secret = secret_of((producers.home(n) / "engine" / PRODUCER_KEY).read_bytes())
            consent = sign(secret, Domain.PRODUCER, producer_consent(first.chain, PUBLIC, public))
            await sent(fifth, RegisterProducer(public, consent, PRODUCER_BOND))
            with anyio.fail_after(PATIENCE_S):
                while public not in await voters(first):
                    pass  # each look waits for a block
        assert len(await seats(first)) == 5
        await verified_by_a_stranger(producers, public)

        burned = (await first.issuance()).burned
        second = twin(producers, n)
        producers.start(n, before=SMALL_CHUNKS, options=KEPT)
        producers.start(second, before=AGAINST_ALL, options=KEPT)
        with anyio.fail_after(3 * PATIENCE_S):  # both must catch up first
            while public in await seats(first):
                assert producers.ended(n) is producers.ended(second) is None
                await reach(first, (await first.head()).height + 1)
        assert (await first.issuance()).burned >= burned + PRODUCER_BOND
        with anyio.fail_after(PATIENCE_S):
            while len((await committed(first)).votes) != 4:
                pass
        assert await first.earliest() > 1, "old blocks are forgotten"
        await verified_by_a_stranger(producers, None)


async def verified_by_a_stranger(producers: Producers, key: bytes | None) -> None:
    """A client that knows the chain's id alone follows the producers, and so does a proof without a ledger."""
    async with RpcLedger(f"http://127.0.0.1:{producers.ports[1]}", producers.chain) as stranger:
        value = await stranger.proved(PRODUCING.tag)
        assert value is not None
        seated = decode(value, ProducingRecord, limit=MAX_RESULT_BYTES).seated
        assert (len(seated), key in seated) == (5 if key else 4, key is not None)
        raw = encode(await stranger.saved_proof(PRODUCING.tag))
    assert check_saved(raw, producers.chain).value is not None
    kept = decode(raw, SavedProof, limit=MAX_RESULT_BYTES)
    assert bool(kept.changes) is (key is not None), "the four of the genesis need no introduction"
