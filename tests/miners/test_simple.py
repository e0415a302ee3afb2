"""A model of one's own in one method, and the text of its tokens."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.miners.backend import Backend, Piece, Tally, identity_of
from davy.miners.simple import SimpleBackend
from davy.miners.vocabulary import Bytes, TokenizerFile, Unfolding
from davy.network.openai import CompletionRequest
from davy.protocol.errors import Malformed, Misconfigured
from davy.protocol.manifest import Identity
from tests.miners import tiny
from tests.miners.stage import Letters


async def gather(backend: Backend, request: CompletionRequest) -> list[Piece | Tally]:
    async with backend.generate(request, lambda: False) as items:
        return [item async for item in items]


def asked(prompt: str, **fields: object) -> CompletionRequest:
    return CompletionRequest(**{"model": "m", "prompt": prompt, "temperature": 0, "seed": 1, **fields})  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_it_is_told_all_tokens_so_far() -> None:
    heard: list[bytes] = []

    class Echo(SimpleBackend):
        def next_token(self, tokens: Sequence[int]) -> dict[int, float]:
            heard.append(bytes(tokens))
            return {tokens[len(heard) - 1]: 1.0}

    items = await gather(Echo(), asked("abc", max_tokens=3))
    assert heard == [b"abc", b"abca", b"abcab"]
    assert [i.text for i in items if isinstance(i, Piece)] == ["a", "b", "c"]
    assert items[0] == Tally(3)


@pytest.mark.anyio
async def test_a_slow_one_leaves_the_event_loop_free() -> None:
    began = anyio.Event()
    ran: list[bool] = []

    class Slow(Letters):
        slow = True

        def next_token(self, tokens: Sequence[int]) -> dict[int, float]:
            # Only if the loop runs meanwhile can it answer this call.
            anyio.from_thread.run_sync(began.set)
            ran.append(True)
            return {97: 1.0}

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(gather, Slow(), asked("a", max_tokens=2))
        await began.wait()
    assert ran == [True, True]


def test_its_id_is_that_of_its_source() -> None:
    manifest = Letters().manifest()
    assert manifest.name == "letters"
    assert identity_of(manifest) is Identity.CLAIMED, "its file can be shown, and not be run again by a validator"
    assert manifest.files[0].size == Path(__file__).with_name("stage.py").stat().st_size


def test_the_context_is_enforced() -> None:
    with pytest.raises(Malformed, match="context of 200"):
        Letters().generate(asked("a" * 190, max_tokens=11), lambda: False)


@given(st.text(max_size=20), st.text(max_size=20))
def test_pieces_of_text_join_to_the_whole(prompt: str, answer: str) -> None:
    vocabulary = Bytes()
    tokens = vocabulary.encode(answer)
    text = Unfolding(vocabulary, vocabulary.encode(prompt))
    pieces = [text.add(t, last=i + 1 == len(tokens)) for i, t in enumerate(tokens)]
    assert "".join(pieces) == answer
    assert all("\ufffd" not in p for p in pieces) or "\ufffd" in answer, "no half of a character is shown"


def test_an_unfinished_character_is_shown_at_the_end_as_what_it_is() -> None:
    text = Unfolding(Bytes(), [])
    assert [text.add(b, last=b == 0x82) for b in (0xE2, 0x82)] == ["", "\ufffd"]


def test_a_tokenizer_file_needs_no_torch(tmp_path: Path) -> None:
    vocabulary = TokenizerFile(tiny.write(tmp_path) / "tokenizer.json")
    assert vocabulary.decode(vocabulary.encode("é x")) == "é x"
    assert vocabulary.text(tiny.END) == "<|end|>"
    assert vocabulary.decode([tiny.END]) == ""
    with pytest.raises(Misconfigured, match=r"not a tokenizer\.json"):
        TokenizerFile(tmp_path / "missing.json")
