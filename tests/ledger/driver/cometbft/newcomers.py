"""One more engine beside real producers: with a seat or without, honest or not."""

from __future__ import annotations

import shutil
from typing import Final

import msgspec

from davy.host.home import Home
from davy.ledger.client import RpcLedger
from davy.ledger.commits import CommittedHeader, in_order
from davy.ledger.driver.cometbft.configuration import PRODUCER_KEY, secret_of
from davy.ledger.rules.records import PRODUCING
from davy.protocol.chain import ProducerList
from davy.protocol.consents import producer_consent
from davy.protocol.encoding import decode
from davy.protocol.limits import MAX_RESULT_BYTES
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import RegisterProducer
from davy.protocol.words import PublicKey
from tests.ledger.driver.cometbft.engines import Producers

_CHUNKS: Final = """
from davy.ledger.driver.cometbft import snapshots
snapshots.CHUNK_BYTES = {}
snapshots.KEPT = 100  # blocks are fast here, and chunks are asked for again after some seconds
"""
SMALL_CHUNKS, LARGER_CHUNKS = _CHUNKS.format(64), _CHUNKS.format(1_024)
"""Dozens in the state of a new chain; in that of one with a market."""
LIES: Final = """
from davy.ledger.driver.cometbft import application, snapshots
class Liar(snapshots.Snapshots):
    def chunk(self, *which):
        return super().chunk(*which)[:-1] + b"?"
application.Snapshots = Liar
"""
AGAINST_ALL: Final = """
from davy.ledger.driver.cometbft.application import Application
Application.process = lambda self, txs: False
"""
"""Votes for no block, where the first one with its key votes for all."""
REFUSED: Final = "sends no more"
"""What is logged of whoever sent a wrong chunk."""


def seat_for(producers: Producers, n: int, owner: PublicKey, bond: int) -> RegisterProducer:
    """What registers a home's key, which consents."""
    public, secret = secret_of((producers.home(n) / "engine" / PRODUCER_KEY).read_bytes())
    consent = sign(secret, Domain.PRODUCER, producer_consent(producers.chain, owner, public))
    return RegisterProducer(public, consent, bond)


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
    port, engine_port = producers.more_ports(2)
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
