"""A registrant says who may ask, on a running market: what users, gateways and validators get. In virtual time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from davy.gateway.gateway import Gateway
from davy.ledger.submit import send
from davy.network.error_responses import response_error
from davy.network.openai import CompletionRequest, to_json
from davy.network.signed_client import Question, SignedClient
from davy.protocol.errors import Unauthorised
from davy.protocol.manifest import Access
from davy.protocol.ports import Response, SignedRequest
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor
from davy.protocol.transaction import SetAccess
from davy.protocol.words import KeyRole
from tests.simulated.play import play
from tests.simulated.use import gateway
from tests.simulated.world import Node, Setting, World

SETTING = Setting(
    seed=3, miners=3, validators=2, gateways=2, knowledge=(1.0, 0.5, 0.0), challenges=24, epochs=9, loss=0.01,
    permits=2, keyheld=True,
)  # fmt: skip


async def model_of(world: World, miner: Node) -> bytes:
    (served,) = [n.model for n in (await world.metagraph()).neurons if n.hotkey == miner.hotkey]
    return served[0].model_id


async def said(world: World, node: Node, access: Access, *, cold: tuple[bytes, ...] = ()) -> None:
    """By a model's registrant; returns once every node has had time to hear of it."""
    action = SetAccess(await model_of(world, node), access, cold, ())
    result = await send(node.client, node.keys, KeyRole.COLDKEY, action)
    assert result.code == 0, result.log
    for _ in range(4):
        await world.ledger.next_block()


async def by_gateway(door: Gateway, model: bytes) -> int:
    """The status that a user gets; a message may be lost, and a miner may be busy."""
    status = 0
    for _ in range(5):
        body = {"model": model.hex(), "prompt": "abcd", "max_tokens": 1, "temperature": 0}
        answer = await door.handle(SignedRequest("POST", "/v1/completions", (), json.dumps(body).encode()))
        assert isinstance(answer, Response)
        status = answer.status
        if status not in (429, 503):
            break
    return status


async def directly(world: World, node: Node, miner: Node, model: bytes) -> bool:
    """Whether the miner answers a node that asks it past all gateways."""
    client = SignedClient(node.keys, world.ledger.chain, world.net.transport(node.name), world.clock, node.entropy)
    body = to_json(CompletionRequest(model.hex(), "abcd", max_tokens=1, temperature=0.0))
    for _ in range(5):
        known = await node.client.head()
        anchor = Anchor(known.height - 2, world.ledger.head_at(known.height - 2).hash)
        q = Question(world.endpoints[miner.name], miner.hotkey, "/v1/completions", body, anchor, EMPTY_BRAKE_HEAD)
        _, answer = await client.call(q, deadline=world.clock.now() + 5_000)
        if answer.status == 200:
            return True
        if isinstance(response_error(answer), Unauthorised):
            return False
    raise AssertionError("neither answered nor refused")


async def story(world: World) -> dict[str, Any]:
    told: dict[str, Any] = {}
    named, other = world.gateways
    miner = world.miners[0]

    async def registrant() -> None:
        while (await world.metagraph()).subnet.epoch < 4:
            await world.ledger.next_block()
        model = await model_of(world, miner)
        async with gateway(world, named) as one, gateway(world, other) as two:
            await world.ledger.next_block()

            async def asked() -> list[bool | int]:
                by = [await by_gateway(one, model), await by_gateway(two, model)]
                return [*by, *[await directly(world, node, miner, model) for node in (named, other)]]

            told["at first"] = await asked()
            await said(world, miner, Access.NAMED, cold=(named.coldkey,))
            told["named"] = await asked()
            told["a validator"] = await directly(world, world.validators[0], miner, model)
            told["others' models"] = await by_gateway(two, await model_of(world, world.miners[1]))
            world.crash(miner)
            await world.start_miner(miner)
            for _ in range(4):
                await world.ledger.next_block()
            told["after a restart"] = await asked()
            await said(world, miner, Access.ADMITTED)
            told["admitted"] = await asked()
            await said(world, miner, Access.NAMED)
            told["nobody named"] = await asked()

    records = await world.run(registrant)
    uid = next(n.uid for n in (await world.metagraph()).neurons if n.hotkey == miner.hotkey)
    told["paid"] = [r.miners[uid] > 0 for r in records[-2:]]
    return told


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return play(SETTING, story)


def test_only_who_is_named_gets_an_answer_by_whatever_way(told: dict[str, Any]) -> None:
    assert told["at first"] == [200, 200, True, True]
    assert told["named"] == [200, 403, True, False]
    assert told["after a restart"] == [200, 403, True, False]
    assert told["admitted"] == [200, 200, True, True], "both gateways have stake"
    assert told["nobody named"] == [403, 403, False, False]
    assert told["others' models"] == 200


def test_who_scores_a_named_model_goes_on_and_its_miner_is_paid(told: dict[str, Any]) -> None:
    assert told["a validator"]
    assert told["paid"] == [True, True]
