"""Four real producers and a fifth: it fetches the state, though three send wrong chunks; votes; votes twice; is out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
from nacl import bindings

from davy.ledger.client import RpcLedger
from davy.ledger.client.saved import check_saved
from davy.ledger.rules.producers import PRODUCER_BOND
from davy.ledger.rules.records import PRODUCING, ProducingRecord
from davy.ledger.submit import deliver
from davy.protocol.chain import SavedProof
from davy.protocol.encoding import decode, encode
from davy.protocol.limits import MAX_RESULT_BYTES
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import Action, SignedTx, Transfer, TxBody
from davy.protocol.words import TOKEN, KeyRole, key_text
from tests.ledger.driver.cometbft.engines import PATIENCE_S, Producers, engine, reach
from tests.ledger.driver.cometbft.newcomers import (
    AGAINST_ALL,
    LIES,
    REFUSED,
    SMALL_CHUNKS,
    committed,
    seat_for,
    seats,
    twin,
    voters,
)

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.engine]
PUBLIC, SECRET = bindings.crypto_sign_seed_keypair(b"alice".ljust(32, b"."))
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
        made.make(4, ("--owner", cold, "--allocate", f"{cold}=1000"), parameters="unbonding=5")
        try:
            made.start(1, before=SMALL_CHUNKS, options=KEPT)
            made.start(2, 3, 4, before=SMALL_CHUNKS + LIES, options=KEPT)
            yield made
        finally:
            made.stop()


async def sent(ledger: RpcLedger, action: Action) -> None:
    body = encode(TxBody(1, ledger.chain, PUBLIC, await ledger.nonce(PUBLIC), action))
    assert (await deliver(ledger, encode(SignedTx(1, body, sign(SECRET, Domain.TX, body))))).code == 0


async def test_a_fifth_fetches_the_state_votes_and_loses_all_for_two_votes(producers: Producers) -> None:
    async with RpcLedger(f"http://127.0.0.1:{producers.ports[0]}", producers.chain) as first:
        await reach(first, 22)
        await sent(first, Transfer(bytes(31) + b"\1", TOKEN))
        n = producers.join(1)
        producers.start(n, before=SMALL_CHUNKS, options=KEPT)
        async with RpcLedger(f"http://127.0.0.1:{producers.ports[n - 1]}", producers.chain) as fifth:
            await reach(fifth, (await first.head()).height + 1)
            assert REFUSED in producers.log(n), "a wrong chunk is refused, and its sender"
            assert await fifth.nonce(PUBLIC) == 1
            assert await fifth.earliest() > 5, "it never had the first blocks"

            seat = seat_for(producers, n, PUBLIC, PRODUCER_BOND)
            public = seat.producer
            await sent(fifth, seat)
            with anyio.fail_after(PATIENCE_S):
                while public not in await voters(first):
                    pass  # each look waits for a block
        assert len(await seats(first)) == 5
        await verified_by_a_stranger(producers, public)

        burned = (await first.issuance()).burned
        second = twin(producers, n)
        producers.start(n, before=SMALL_CHUNKS, options=KEPT)
        producers.start(second, before=SMALL_CHUNKS + AGAINST_ALL, options=KEPT)
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
