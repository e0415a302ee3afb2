"""A gateway asks for no model whose registrant keeps it out, and tells its user so, as OpenAI's clients read it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from davy.gateway.directory import Directory
from davy.miners.admission import Rules
from davy.protocol.manifest import Access, model_id
from davy.protocol.ports import Response, StreamReply
from davy.protocol.recorded import AccessRecord
from davy.protocol.words import TOKEN, KeyRole
from tests.gateway.stage import GATEWAY, Miner, Stage, stage
from tests.miners.stage import Letters, metagraph, neuron

pytestmark = pytest.mark.anyio
OWN = GATEWAY.public(KeyRole.HOTKEY)
COLD = b"\x01" * 32


class Other(Letters):
    name = "other"


LETTERS, OTHER = (model_id(b().manifest()) for b in (Letters, Other))
ADMITTED = AccessRecord(Access.ADMITTED, (), (), 1)


def named(*hotkeys: bytes, cold: tuple[bytes, ...] = ()) -> AccessRecord:
    return AccessRecord(Access.NAMED, cold, hotkeys, 1)


def refusal(answer: Response | StreamReply) -> tuple[int, Any]:
    assert isinstance(answer, Response)
    return answer.status, json.loads(answer.body).get("error")


async def seen(directory: Directory, s: Stage) -> None:
    """The next block, with the metagraph as it was."""
    await directory.update([metagraph(11, *(m.neuron(uid) for uid, m in enumerate(s.miners)))])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("by", ["letters", LETTERS.hex(), "any"])
async def test_who_is_not_named_is_told_so_and_no_miner_is_asked(by: str, stream: bool) -> None:
    """Nor is a validator's gateway, whatever its permit: that is for scoring."""
    miner = Miner("one", rules=Rules(open=True))
    own = neuron(1, OWN, 1_000 * TOKEN, permit=True, coldkey=b"\x02" * 32)
    async with stage(miner, said={LETTERS: named(b"\x07" * 32, cold=(COLD,))}, own=own) as s:
        answer = await s.ask({"model": by, "stream": stream})
        status, error = refusal(answer)
        assert (status, error["type"], error["code"]) == (403, "permission_error", "unauthorised")
        assert "names who may ask" in error["message"]
        assert ("x-should-retry", "false") in answer.headers
        assert miner.asked == []
        assert (await s.get("/v1/models"))[1]["data"] == []


@pytest.mark.parametrize(
    ("access", "stake", "status"),
    [
        (ADMITTED, 1, 200),
        (ADMITTED, 0, 403),
        (named(OWN), 0, 200),
        (named(cold=(COLD,)), 0, 200),
        (named(COLD), 1, 403),
        (named(cold=(OWN,)), 1, 403),
    ],
)
async def test_stake_and_names_count_as_they_do_at_a_miner(access: AccessRecord, stake: int, status: int) -> None:
    async with stage(Miner("one"), said={LETTERS: access}, own=neuron(1, OWN, stake, permit=False)) as s:
        answer = await s.ask({"model": "letters"})
        assert answer.status == status


async def test_a_gateway_that_is_named_and_has_no_uid_here_asks() -> None:
    async with stage(Miner("one"), said={LETTERS: named(OWN)}) as s:
        assert (await s.ask({"model": "letters"})).status == 200


async def test_without_stake_it_says_what_is_missing() -> None:
    async with stage(Miner("one"), said={LETTERS: ADMITTED}) as s:
        status, error = refusal(await s.ask({"model": "letters"}))
        assert (status, "hotkey has none" in error["message"]) == (403, True)


async def test_any_is_another_model_then() -> None:
    one, other = Miner("one"), Miner("two", backend=Other())
    async with stage(one, other, said={LETTERS: named()}) as s:
        for _ in range(8):
            assert (await s.ask({"model": "any"})).status == 200
        assert (len(one.asked), len(other.asked)) == (0, 8)
        listed = (await s.get("/v1/models"))[1]["data"]
        assert [m["id"] for m in listed] == [OTHER.hex()]
        assert (await s.ask({"model": "letters"})).status == 403
        assert (await s.ask({"model": "nothing"})).status == 404


async def test_what_a_registrant_says_anew_holds_from_the_next_block() -> None:
    said: dict[bytes, AccessRecord] = {}
    async with stage(Miner("one"), said=said) as s:
        assert (await s.ask({"model": "letters"})).status == 200
        said[LETTERS] = named()
        await seen(s.directory, s)
        assert (await s.ask({"model": "letters"})).status == 403
        said[LETTERS] = named(OWN)
        await seen(s.directory, s)
        assert (await s.ask({"model": "letters"})).status == 200
