"""A transaction is included once, whatever is lost on the way; a lossy ledger in memory plays every part of it."""

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from davy.ledger.rules.machine import Machine
from davy.ledger.submit import deliver, hand_in, send
from davy.protocol.chain import Account, Head, TxResult
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Busy, Expired, Refused, TxCode, TxFailed, Unreachable
from davy.protocol.order import Drill, Global, Heartbeat, open_order, order_id
from davy.protocol.recorded import BrakePage
from davy.protocol.transaction import BrakeOrder, Transfer, is_brake_order, open_tx, tx_hash
from davy.protocol.words import KeyRole

pytestmark = pytest.mark.anyio
COLD = KeyRole.COLDKEY


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


class LossyLedger:
    """The real rules; a block is made at every look at the head. A fault of `faults` befalls each call in turn."""

    def __init__(self, chain: Any, faults: Iterator[str]) -> None:
        self.chain = chain.id
        self.machine = Machine.from_genesis(chain.genesis)
        self.faults = faults
        self.handed_in: list[bytes] = []
        self.made: list[list[bytes]] = []
        self.forgotten = 0
        """The newest block whose transactions are dropped."""
        self._pool: dict[bytes, bytes] = {}
        self._results: dict[bytes, TxResult] = {}

    async def head(self) -> Head:
        with self._fault():
            self.make_block()
            return Head(self.machine.height, self.machine.time, bytes(32), self.machine.app_hash)

    async def submit(self, raw: bytes) -> bytes:
        fault = next(self.faults, "")
        if fault == "busy":
            raise Busy("mempool is full")
        if fault == "crowded":
            raise TxFailed(TxCode.TOO_EXPENSIVE, "4 transactions of this sender may wait")
        with self._fault():
            verdict = self.machine.check_tx(raw)
            self.handed_in.append(raw)
            if tx_hash(raw) in self._pool:
                return tx_hash(raw)
            if verdict.code:
                raise TxFailed(verdict.code, verdict.message)
            waits = [open_tx(w)[1] for w in self._pool.values() if not is_brake_order(w)]
            if not verdict.order and any((b.sender, b.nonce) == (verdict.sender, verdict.nonce) for b in waits):
                raise TxFailed(TxCode.WRONG_NONCE, "another one waits")
            self._pool[verdict.hash] = raw
            return verdict.hash

    async def outcome(self, h: bytes, *, until: int) -> TxResult:
        with self._fault():
            while h not in self._results:
                if self.machine.height >= until:
                    raise Expired("not included")
                self.make_block()
                await anyio.lowlevel.checkpoint()
            return self._results[h]

    async def nonce(self, key: bytes) -> int:
        with self._fault():
            return decode(self.machine.query("/nonce", key), Account, limit=10**6).nonce

    async def fate(self, raw: bytes, *, after: int) -> TxResult | None:
        with self._fault():
            body = open_tx(raw)[1]
            if decode(self.machine.query("/nonce", body.sender), Account, limit=10**6).nonce <= body.nonce:
                raise Expired("its nonce is not used yet")
            if self.forgotten > after:
                raise Refused(f"block {after + 1} is dropped")
            return self._results.get(tx_hash(raw))

    async def is_recorded(self, order: bytes) -> bool:
        with self._fault():
            self.make_block()  # whose header names the state before it
            return any(order == order_id(open_order(row)[0].order) for row in self._orders())

    def _orders(self) -> list[bytes]:
        page = decode(self.machine.query("/brake", bytes(8)), BrakePage, limit=10**7)
        return [row.order for row in page.orders]

    def make_block(self) -> None:
        txs = list(self._pool.values())
        self._pool.clear()
        done = self.machine.apply_block(self.machine.height + 1, self.machine.time + 1, txs)
        self._results |= {tx_hash(raw): r for raw, r in zip(txs, done.results, strict=True)}
        self.made.append(txs)

    def included(self) -> list[bytes]:
        return [raw for block in self.made for raw in block]

    @contextmanager
    def _fault(self) -> Iterator[None]:
        fault = next(self.faults, "")
        if fault == "crash":
            self._pool.clear()  # what waited was in memory
        if fault in ("lost", "crash"):
            raise Unreachable("lost on the way there")
        yield
        if fault == "unanswered":
            raise Unreachable("lost on the way back")

    async def metagraph(self, netuid: int, at: int | None = None) -> Any:
        raise NotImplementedError

    def unchanged(self, netuid: int, since: int) -> bool:
        return False  # it says nothing

    async def brake(self, known: Any = None) -> Any:
        raise NotImplementedError

    async def told_brake(self, known: Any = None) -> Any:
        raise NotImplementedError

    async def subject(self, netuid: int, hotkey: bytes, model: bytes | None = None) -> Any:
        raise NotImplementedError

    async def accesses(self, models: Sequence[bytes]) -> Any:
        raise NotImplementedError

    async def rows(self, netuid: int) -> Any:
        raise NotImplementedError

    async def epoch(self, netuid: int, epoch: int) -> Any:
        raise NotImplementedError

    def blocks(self, after: int, *, newest: bool = False) -> Any:
        raise NotImplementedError


class MemoryStore:
    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    async def put(self, key: bytes, value: bytes) -> None:
        self.values[key] = value

    async def get(self, key: bytes) -> bytes | None:
        return self.values.get(key)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger above needs no time to pass."""
    sleep = anyio.sleep

    async def at_once(seconds: float) -> None:
        await sleep(0)

    monkeypatch.setattr("davy.ledger.submit.anyio.sleep", at_once)


def transfer(chain: Any, amount: int = 5) -> Transfer:
    return Transfer(chain.people[1].public(), amount)


def free(ledger: LossyLedger, key: bytes) -> int:
    return decode(ledger.machine.query("/nonce", key), Account, limit=10**6).free


async def test_it_is_signed_with_the_next_nonce_and_acknowledged(chain: Any) -> None:
    ledger = LossyLedger(chain, iter(()))
    for nonce in range(3):
        result = await send(ledger, chain.people[0], COLD, transfer(chain))
        assert result.code == 0
        assert open_tx(ledger.included()[-1])[1].nonce == nonce


async def test_a_failure_in_its_block_is_a_result(chain: Any) -> None:
    ledger = LossyLedger(chain, iter(()))
    result = await send(ledger, chain.people[0], COLD, transfer(chain, 10**15))
    assert result.code == TxCode.INSUFFICIENT


async def test_a_refusal_at_the_door_is_raised(chain: Any) -> None:
    ledger = LossyLedger(chain, iter(()))
    stranger = type(chain.producer)("stranger")
    with pytest.raises(TxFailed, match="fund it") as refused:
        await send(ledger, stranger, COLD, transfer(chain))
    assert refused.value.code is TxCode.NOT_FOUND


FAULTS = ["", "", "", "lost", "unanswered", "busy", "crash"]


@pytest.mark.parametrize("seed", range(60))
async def test_it_is_included_exactly_once_through_any_faults(chain: Any, seed: int) -> None:
    rng = random.Random(seed)
    ledger = LossyLedger(chain, (rng.choice(FAULTS) for _ in range(300)))
    for _ in range(4):
        result = await send(ledger, chain.people[0], COLD, transfer(chain))
        assert result.code == 0
    assert len(ledger.included()) == 4
    assert free(ledger, chain.people[1].public()) == 10**12 + 4 * 5


@pytest.mark.parametrize("seed", range(20))
async def test_senders_of_one_key_do_not_push_each_other_out(chain: Any, seed: int) -> None:
    rng = random.Random(seed)
    ledger = LossyLedger(chain, (rng.choice(FAULTS) for _ in range(300)))
    codes: list[int] = []

    async def one(amount: int) -> None:
        result = await send(ledger, chain.people[0], COLD, transfer(chain, amount))
        codes.append(result.code)

    async with anyio.create_task_group() as tasks:
        for amount in (1, 10, 100, 1000):
            tasks.start_soon(one, amount)
    assert codes == [0] * 4
    assert free(ledger, chain.people[1].public()) == 10**12 + 1111


async def test_the_same_bytes_are_handed_in_until_their_nonce_is_used(chain: Any) -> None:
    """A second signature of the same intent would be a second transfer waiting to happen."""
    ledger = LossyLedger(chain, iter(["", "", "", "lost", "", "unanswered", "", "", "crash"]))
    await send(ledger, chain.people[0], COLD, transfer(chain))
    assert len(ledger.handed_in) > 1
    assert len(set(ledger.handed_in)) == 1


async def test_a_nonce_used_by_another_is_signed_anew(chain: Any) -> None:
    ledger = LossyLedger(chain, iter(()))
    asked: Callable[[bytes], Awaitable[int]] = ledger.nonce
    first = True

    async def overtaken(key: bytes) -> int:
        nonlocal first
        nonce = await asked(key)
        if first:
            first = False
            await ledger.submit(chain.tx(0, nonce))
            ledger.make_block()
        return nonce

    ledger.nonce = overtaken
    assert (await send(ledger, chain.people[0], COLD, transfer(chain))).code == 0
    assert [open_tx(raw)[1].nonce for raw in ledger.included()] == [0, 1]


async def test_who_finds_no_room_at_the_door_comes_again(chain: Any) -> None:
    ledger = LossyLedger(chain, iter(["", "crowded"]))
    assert (await deliver(ledger, chain.tx(0, 0))).code == 0
    assert len(ledger.included()) == 1


async def test_delivering_included_bytes_again_gives_their_result(chain: Any) -> None:
    ledger = LossyLedger(chain, iter(()))
    raw = chain.tx(0, 0)
    first = await deliver(ledger, raw)
    assert await deliver(ledger, raw) == first
    assert len(ledger.included()) == 1
    with pytest.raises(TxFailed) as refused:
        await deliver(ledger, chain.tx(0, 0, Transfer(bytes(32), 1)))
    assert refused.value.code is TxCode.WRONG_NONCE


async def test_a_ledger_that_denies_what_it_took_gets_one_signature(chain: Any) -> None:
    """The same intent signed again with the next nonce, as often as it is asked for, was paid as often."""
    ledger = LossyLedger(chain, iter(()))
    take, count, counted = ledger.submit, ledger.nonce, 0

    async def denied(raw: bytes) -> bytes:
        nonlocal counted
        await take(raw)
        ledger.make_block()
        counted += 1
        raise TxFailed(TxCode.WRONG_NONCE, "sign again")

    async def told(key: bytes) -> int:
        return max(counted, await count(key))

    async def nowhere(h: bytes, *, until: int) -> TxResult:
        raise Expired("not found")

    ledger.submit, ledger.nonce, ledger.outcome = denied, told, nowhere  # type: ignore[method-assign]
    assert (await send(ledger, chain.people[0], COLD, transfer(chain))).code == 0, "its fate is proved"
    assert len(ledger.included()) == 1
    assert free(ledger, chain.people[1].public()) == 10**12 + 5


async def test_a_nonce_that_only_the_ledger_calls_used_is_not_passed_over(chain: Any) -> None:
    """The signed bytes could be handed in later; a second signature would be a second transfer."""
    ledger = LossyLedger(chain, iter(()))
    count, asked = ledger.nonce, 0

    async def told(key: bytes) -> int:
        nonlocal asked
        asked += 1
        return await count(key) + asked - 1

    async def denied(raw: bytes) -> bytes:
        ledger.handed_in.append(raw)
        raise TxFailed(TxCode.WRONG_NONCE, "sign again")

    ledger.nonce, ledger.submit = told, denied  # type: ignore[method-assign]
    with pytest.raises(Unreachable, match="nonce 0"):
        await send(ledger, chain.people[0], COLD, transfer(chain), patience=0.2)
    assert len(set(ledger.handed_in)) == 1


async def test_a_refusal_of_another_call_is_no_word_about_the_transaction(chain: Any) -> None:
    ledger, store = LossyLedger(chain, iter(())), MemoryStore()
    place = (store, b"payment 1")
    await send(ledger, chain.people[0], COLD, transfer(chain), kept=place)
    ledger._results.clear()

    async def refuses(raw: bytes, *, after: int) -> TxResult | None:
        raise TxFailed(TxCode.WRONG_NONCE, "sign again")

    ledger.fate = refuses  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        await send(ledger, chain.people[0], COLD, transfer(chain), kept=place)
    assert len(ledger.included()) == 1


async def test_what_cannot_be_known_is_not_signed_again(chain: Any) -> None:
    """A ledger that dropped the blocks, or began with a snapshot, does not find what was included long ago."""
    ledger, store = LossyLedger(chain, iter(())), MemoryStore()
    place = (store, b"payment 1")
    await send(ledger, chain.people[0], COLD, transfer(chain), kept=place)
    ledger.forgotten = ledger.machine.height
    ledger._results.clear()
    with pytest.raises(Unreachable, match=r"block [0-9]+ is dropped.*look whether it was included"):
        await send(ledger, chain.people[0], COLD, transfer(chain), kept=place)
    assert len(ledger.included()) == 1


class Killed(Exception):
    pass


@pytest.mark.parametrize("moment", range(8))
async def test_a_kept_intent_happens_once_through_a_crash_of_its_sender(chain: Any, moment: int) -> None:
    """The sender dies at its n-th call and is started again with what its store holds."""
    ledger, store = LossyLedger(chain, DyingAt(moment)), MemoryStore()
    for _ in range(3):
        try:
            await send(ledger, chain.people[0], COLD, transfer(chain), kept=(store, b"payment 1"))
        except Killed:
            continue
    assert [open_tx(raw)[1].action for raw in ledger.included()] == [transfer(chain)]
    await send(ledger, chain.people[0], COLD, transfer(chain), kept=(store, b"payment 2"))
    assert len(ledger.included()) == 2


class DyingAt:
    """No faults but one: at the n-th call the sender dies."""

    def __init__(self, moment: int) -> None:
        self._left = moment

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self._left -= 1
        if not self._left:
            raise Killed
        return ""


async def test_patience_ends_with_a_sentence(chain: Any) -> None:
    ledger = LossyLedger(chain, iter(["lost"] * 10**6))
    with pytest.raises(Unreachable, match="look whether it was included"):
        await send(ledger, chain.people[0], COLD, transfer(chain), patience=0.05)


@pytest.mark.parametrize("seed", range(10))
async def test_an_order_is_handed_in_until_it_is_recorded_whatever_is_lost(chain: Any, seed: int) -> None:
    rng = random.Random(seed)
    faults = iter(rng.choices(["", "busy", "lost", "unanswered", "crash"], k=12))
    ledger, order = LossyLedger(chain, faults), chain.order()
    await hand_in(ledger, order)
    assert ledger.included() == [encode(BrakeOrder(order))], "once"
    await hand_in(ledger, order)
    assert len(ledger.included()) == 1


async def test_an_order_that_the_ledger_turns_down_says_so(chain: Any) -> None:
    with pytest.raises(TxFailed, match="heartbeat") as refused:
        await hand_in(LossyLedger(chain, iter([])), chain.order(Heartbeat(bytes(32))))
    assert refused.value.code is TxCode.NOT_ENABLED


async def test_an_order_is_recorded_when_that_is_proved(chain: Any) -> None:
    """A ledger that says so of every order had keyholders told "recorded in a block"."""
    ledger = LossyLedger(chain, iter(()))

    async def denied(raw: bytes) -> bytes:
        raise TxFailed(TxCode.EXISTS, "this order is recorded")

    ledger.submit = denied  # type: ignore[method-assign]
    with pytest.raises(TxFailed, match="its state holds no such order"):
        await hand_in(ledger, chain.order())


async def test_a_drill_is_proved_as_an_order_is(chain: Any) -> None:
    ledger, drill = LossyLedger(chain, iter(())), chain.order(Drill(Global()))
    await hand_in(ledger, drill)
    assert ledger.included() == [encode(BrakeOrder(drill))]
