"""Whatever a gateway's users ask for, an honest miner's answer reads as what its files say: no prompt can accuse it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from davy.miners.simple import SimpleBackend
from davy.network.exchange import open_exchange
from davy.network.openai import parse_response
from davy.protocol.ports import StreamReply
from davy.tasks.answer import read_tokens
from davy.tasks.identity import gap
from davy.validators.arrived import joined_chunks
from tests.gateway.stage import Miner, stage
from tests.miners.stage import CHAIN


def probabilities(tokens: Sequence[int]) -> dict[int, float]:
    """Any bytes at all, half of them no UTF-8; they follow from the last two tokens alone."""
    drawn = hashlib.sha256(bytes(tokens[-2:])).digest()
    likely = dict.fromkeys([*drawn[:3], *"aé\n😀".encode()])
    return {token: 0.5 ** (i + 1) for i, token in enumerate(likely)}


class AnyBytes(SimpleBackend):
    name = "any-bytes"

    def next_token(self, tokens: Sequence[int]) -> dict[int, float]:
        return probabilities(tokens)


class Vocabulary:
    size = 256

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        return bytes(int(i) for i in ids)


def hold_against_files(prompt: str, most: int, stop: str | list[str] | None, *, stream: bool) -> None:
    async def story() -> None:
        async with stage(Miner("a", backend=AnyBytes())) as s:
            body = {"prompt": prompt, "max_tokens": most, "stop": stop, "stream": stream, "temperature": 0}
            answer = await s.ask(json.dumps({"model": "any", **body}).encode())
            assert answer.status == 200, answer
            if isinstance(answer, StreamReply):
                await answer.pump(_ignore)
            (e,) = s.sample.collect()
        asked = open_exchange(e, CHAIN).asked
        chunks = [parse_response(payload) for payload in e.answer]
        read = read_tokens(joined_chunks(chunks) if stream else chunks[0], asked, Vocabulary())  # pyright: ignore[reportArgumentType]
        tokens = list(prompt.encode())
        rows = np.full((len(read.positions), 256), -np.inf)
        for i, position in enumerate(read.positions):
            for token, p in probabilities(tokens).items():
                rows[i, token] = np.log(p)
            tokens.append(position.chosen)
        assert gap(read, rows) < 1e-9

    anyio.run(story, backend="trio")


async def _ignore(_: bytes) -> None:
    """A user who looks at nothing."""


@settings(max_examples=60)
@given(
    st.text(min_size=1, max_size=12).filter(lambda t: t.encode("utf-8", "ignore").decode() == t),
    st.integers(1, 24),
    st.one_of(st.none(), st.sampled_from(["a", "é", "\n", "aé", "😀"]), st.just(["\n", "é"])),
    st.booleans(),
)
def test_no_prompt_accuses_an_honest_miner(prompt: str, most: int, stop: str | list[str] | None, stream: bool) -> None:
    hold_against_files(prompt, most, stop, stream=stream)


def test_the_check_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(self: AnyBytes, tokens: Sequence[int]) -> dict[int, float]:
        return {token: p * 0.9 for token, p in probabilities(tokens).items()}

    monkeypatch.setattr(AnyBytes, "next_token", other)
    with pytest.raises(AssertionError):
        hold_against_files("abc", 4, None, stream=False)
