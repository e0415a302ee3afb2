"""A proof is as true after a week as when it was made: what is older than a header that was seen is no answer."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from davy.ledger.client import RpcLedger
from davy.ledger.rules.records import ACCOUNTS
from davy.protocol.errors import Unreachable
from davy.protocol.recorded import GLOBAL_NAME
from tests.ledger.driver.conftest import Ledger

pytestmark = pytest.mark.anyio


async def eventually(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what is waited for happens behind a socket
        await anyio.sleep(0.002)


async def next_block(served: Ledger) -> None:
    """Make the block after the next query."""
    asked = served.calls.count("abci_query")
    await eventually(lambda: served.calls.count("abci_query") > asked)
    await served.producer.make_block()


def kept_since_the_first() -> Callable[[Any, Any], Any]:
    """Answer each question about the state as it was answered first: true then, and proved."""
    first: dict[str, Any] = {}

    def bend(call: Any, answer: Any) -> Any:
        if call["method"] != "abci_query":
            return answer
        kept = first.setdefault(str(call["params"]), answer)
        return kept | {"id": call["id"]}

    return bend


async def test_an_old_proof_is_not_taken_for_now(
    client: RpcLedger, served: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that went on showing the state before a HALT had the proof of it taken for news."""
    monkeypatch.setattr("davy.ledger.client.ledger._TRIES_WHILE_BEHIND", 3)
    key = ACCOUNTS.tag + served.chain.people[0].public()
    for _ in range(2):
        await served.producer.make_block()
    served.bend = kept_since_the_first()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(next_block, served)
        assert await client.proved(key)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(next_block, served)
        assert (await client.halted(GLOBAL_NAME))[GLOBAL_NAME] is None
    for _ in range(2):
        await served.producer.make_block()
    for again in (client.proved(key), client.saved_proof(key), client.halted(GLOBAL_NAME)):
        with pytest.raises(Unreachable, match=r"state after block [0-9]+, and block [0-9]+ is known"):
            await again
    served.bend = lambda call, answer: answer
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(next_block, served)
        assert await client.proved(key)


async def test_a_ledger_that_is_behind_for_a_moment_is_asked_again(client: RpcLedger, served: Ledger) -> None:
    """As where several answer under one address."""
    key = ACCOUNTS.tag + served.chain.people[0].public()
    await served.producer.make_block()
    bend = kept_since_the_first()
    served.bend = bend
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(next_block, served)
        await client.proved(key)
    await served.producer.make_block()
    asked = served.calls.count("abci_query")
    served.bend = lambda call, answer: bend(call, answer) if served.calls.count("abci_query") < asked + 3 else answer

    async def block_when_asked_thrice() -> None:
        await eventually(lambda: served.calls.count("abci_query") == asked + 3)
        await served.producer.make_block()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(block_when_asked_thrice)
        assert await client.proved(key)
    assert served.calls.count("abci_query") == asked + 3
