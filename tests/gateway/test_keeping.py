"""Users who leave, and what is kept of the others."""

from __future__ import annotations

from contextlib import aclosing

import anyio
import pytest
from msgspec.structs import replace

from davy.miners.backend import Stopped
from davy.network.exchange import open_exchange
from davy.network.openai import CompletionRequest
from davy.protocol.errors import Malformed
from davy.protocol.ports import StreamReply
from davy.protocol.words import KeyRole
from tests.gateway.stage import GATEWAY, Miner, stage
from tests.gateway.test_gateway import GREEDY, Pieces, streamed, whole
from tests.miners.stage import CHAIN, Letters

pytestmark = pytest.mark.anyio


async def test_a_user_who_leaves_cancels_the_miner() -> None:
    ended = anyio.Event()

    class Endless(Letters):
        async def _pieces(self, prompt: list[int], request: CompletionRequest, stopped: Stopped) -> Pieces:
            try:
                async with aclosing(super()._pieces(prompt, request, stopped)) as pieces:
                    async for piece in pieces:
                        yield piece
                        await anyio.sleep(0.01)
                await anyio.sleep_forever()
            finally:
                ended.set()

    class LeftError(Exception):
        pass

    async with stage(Miner("a", backend=Endless())) as s:
        answer = await s.ask({**GREEDY, "max_tokens": 20, "stream": True})
        assert isinstance(answer, StreamReply)

        async def send(frame: bytes) -> None:
            raise LeftError

        with pytest.raises(LeftError):
            await answer.pump(send)
        with anyio.fail_after(30):
            await ended.wait()
        await anyio.wait_all_tasks_blocked()
        assert (await s.get("/health"))[1]["answering"] == 0


async def test_exchanges_are_kept_that_anybody_can_check() -> None:
    async with stage(Miner("a")) as s:
        whole(await s.ask(GREEDY))
        await streamed(await s.ask({**GREEDY, "stream": True}))
        whole(await s.ask({"temperature": 0.7}))
        found = s.sample.collect()
    assert len(found) == 2
    for e in found:
        opened = open_exchange(e, CHAIN)
        assert opened.receipt.miner == s.miners[0].hotkey
        assert opened.receipt.caller == GATEWAY.public(KeyRole.HOTKEY)
        assert opened.asked.temperature == 0
    assert len(s.shapes) == 2
    with pytest.raises(Malformed):
        open_exchange(replace(found[1], answer=(b"\n".join(found[1].answer),)), CHAIN)
