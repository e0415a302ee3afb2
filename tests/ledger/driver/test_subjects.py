"""What orders can know of a model is told by a ledger that lies: each lie is refused, in one sentence."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from davy.ledger.client import RpcLedger
from davy.ledger.rules.records import MODELS, SUBNETS, RegisteredModel, SubnetRecord
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import DavyError, Refused, TxCode, TxFailed
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import MAX_RESULT_BYTES
from davy.protocol.manifest import ModelClass, model_id
from davy.protocol.recorded import ProvedRow, SubjectRows
from davy.protocol.transaction import RaiseClass, RegisterModel
from tests.ledger.driver.conftest import Ledger, MemoryKeys, SetClock
from tests.ledger.rules.world import World, genesis, manifest, pub

pytestmark = pytest.mark.anyio
PARENT, CHILD = (model_id(manifest(name)) for name in ("parent", "child"))
PLACE = 1, pub("eve-hot"), CHILD
Lie = Callable[[SubjectRows], SubjectRows]


class Market:
    """A chain with models, as the rules' tests tell it, for a ledger of its own."""

    def __init__(self, name: str) -> None:
        self.producer = MemoryKeys("producer")
        self.genesis: Genesis = replace(genesis(), note=name, producers=(self.producer.public(),))
        self.id = chain_id(self.genesis)
        self.world = World(self.genesis)

    def story(self) -> list[list[bytes]]:
        """Blocks: dan's systemic model, which he made from cat's, and where eve would serve it."""
        w, told = self.world, list[list[bytes]]()
        w.send("cat", RegisterModel(manifest("parent"), (), ModelClass.ORDINARY))
        w.send("dan", RegisterModel(manifest("child"), (PARENT,), ModelClass.ORDINARY))
        w.send("eve", w.registration("eve", "eve-hot"))
        told.append(list(w.queue))
        assert w.block() == [TxCode.OK] * 3
        w.send("dan", RaiseClass(CHILD))
        told.append(list(w.queue))
        assert w.block() == [TxCode.OK]
        return told


async def play(served: Ledger, blocks: list[list[bytes]]) -> None:
    for raws in blocks:
        for raw in raws:
            assert served.producer.submit(raw).code == TxCode.OK
        await served.producer.make_block()


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = Ledger(Market("ours"), tmp_path / "ledger.db", SetClock())
    await ledger.start()
    await play(ledger, ledger.chain.story())
    yield ledger
    await ledger.stop()


@pytest.fixture
async def asker(told: Ledger) -> AsyncIterator[RpcLedger]:
    async with RpcLedger(told.url, told.chain.id) as client:
        yield client


async def asked(client: RpcLedger, served: Ledger, place: Any = PLACE) -> Any:
    """The facts, or what is wrong with them; blocks are made meanwhile."""
    outcome: list[Any] = []

    async def more() -> None:
        while True:
            await anyio.sleep(0.01)
            await served.producer.make_block()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(more)
        try:
            outcome.append(await client.subject(*place))
        except DavyError as e:
            outcome.append(e)
        tasks.cancel_scope.cancel()
    return outcome[0]


def lies(served: Ledger, lie: Lie) -> None:
    def bend(call: Any, answer: Any) -> Any:
        if call["method"] == "abci_query" and call["params"]["path"] == "/subject_rows":
            response = answer["result"]["response"]
            rows = decode(base64.b64decode(response["value"]), SubjectRows, limit=MAX_RESULT_BYTES)
            response["value"] = base64.b64encode(encode(lie(rows))).decode()
        return answer

    served.bend = bend


async def test_the_truth_is_believed(told: Ledger, asker: RpcLedger) -> None:
    before = told.producer.head.height
    facts = await asked(asker, told)
    assert [f.id for f in facts.ancestors] == [PARENT]
    assert facts.systemic
    assert facts.height >= before
    assert (facts.netuid, facts.hotkey, [f.id for f in facts.model]) == (1, pub("eve-hot"), [CHILD])
    for place in ((1, pub("eve-hot"), bytes(32)), (1, pub("nobody"), CHILD), (2, pub("eve-hot"), CHILD)):
        refused = await asked(asker, told, place)
        assert isinstance(refused, TxFailed)
        assert refused.code is TxCode.NOT_FOUND
    nothing = await asked(asker, told, (1, pub("eve-hot"), None))
    assert (nothing.model, nothing.ancestors, nothing.systemic) == ((), (), False)


def without_ancestors(told: SubjectRows) -> SubjectRows:
    return _changed(told, MODELS.tag + CHILD, lambda r: replace(r, model=replace(r.model, ancestors=())))


def of_a_lower_class(told: SubjectRows) -> SubjectRows:
    lower = ModelClass.ORDINARY
    return _changed(told, MODELS.tag + CHILD, lambda r: replace(r, model=replace(r.model, model_class=lower)))


def of_a_gentler_subnet(told: SubjectRows) -> SubjectRows:
    return _changed(told, SUBNETS.tag + b"\0\1", lambda r: replace(r, task="other"))


def without_an_ancestors_row(told: SubjectRows) -> SubjectRows:
    return replace(told, rows=tuple(row for row in told.rows if row.key != MODELS.tag + PARENT))


def with_another_models_rows(told: SubjectRows) -> SubjectRows:
    return replace(told, rows=tuple(row for row in told.rows if row.key != MODELS.tag + CHILD))


def as_of_before(told: SubjectRows) -> SubjectRows:
    return replace(told, height=1)


def as_of_later(told: SubjectRows) -> SubjectRows:
    return replace(told, height=told.height + 1)


def with_no_rows(told: SubjectRows) -> SubjectRows:
    return replace(told, rows=())


def _changed(told: SubjectRows, key: bytes, change: Callable[[Any], Any]) -> SubjectRows:
    """One row is another, with the proof of the true one."""

    def maybe(row: ProvedRow) -> ProvedRow:
        if row.key != key:
            return row
        kind = RegisteredModel if key[:1] == MODELS.tag else SubnetRecord
        return replace(row, value=(encode(change(decode(row.value[0], kind, limit=MAX_RESULT_BYTES))),))

    return replace(told, rows=tuple(map(maybe, told.rows)))


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        (without_ancestors, "the proof is not for this key and value"),
        (of_a_lower_class, "the proof is not for this key and value"),
        (of_a_gentler_subnet, "the proof is not for this key and value"),
        (without_an_ancestors_row, "leaves out a row that it must prove"),
        (with_another_models_rows, "leaves out a row that it must prove"),
        (as_of_before, "shows a model as of block"),
        (as_of_later, "shows a model otherwise than block"),
        (with_no_rows, "shows rows of different states"),
    ],
)
async def test_a_lie_is_refused(told: Ledger, asker: RpcLedger, lie: Lie, sentence: str) -> None:
    lies(told, lie)
    refused = await asked(asker, told)
    assert isinstance(refused, Refused)
    assert sentence in str(refused)
    assert "\n" not in str(refused)


async def test_what_was_so_once_is_refused(told: Ledger, asker: RpcLedger) -> None:
    """Before its class was raised, whatever block it is said to be of."""
    other = Market("ours")
    first, *_ = other.story()
    before = World(other.genesis)
    assert {r.code for r in before.apply(first).results} == {0}
    old = before.query("/subject_rows", b"\0\1" + pub("eve-hot") + CHILD, SubjectRows)
    for height in (lambda told: told.height, lambda told: old.height):
        lies(told, lambda told, height=height: replace(old, height=height(told)))
        refused = await asked(asker, told)
        assert isinstance(refused, Refused)
        assert "block" in str(refused)


async def test_another_chains_rows_are_refused(told: Ledger, asker: RpcLedger) -> None:
    other = Market("theirs")
    other.story()
    foreign = other.world.query("/subject_rows", b"\0\1" + pub("eve-hot") + CHILD, SubjectRows)
    assert [r.key for r in foreign.rows]
    lies(told, lambda told: replace(foreign, height=told.height))
    refused = await asked(asker, told)
    assert isinstance(refused, Refused)
    assert "otherwise than block" in str(refused)


async def test_many_are_proved_by_one_block(told: Ledger, asker: RpcLedger) -> None:
    found: list[int] = []

    async def ask(client: RpcLedger) -> None:
        found.append((await client.subject(*PLACE)).height)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask, asker)
        while told.calls.count("abci_query") < 20:  # noqa: ASYNC110 - what is waited for happens behind a socket
            await anyio.sleep(0.002)
        await told.producer.make_block()
    assert found == [told.producer.head.height - 1] * 20
