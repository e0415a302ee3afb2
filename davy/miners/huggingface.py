"""A model in this process, from a local folder: safetensors, requests of all callers batched in one thread."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from anyio.streams.memory import MemoryObjectReceiveStream

from davy.miners.backend import Piece, Stopped, Tally
from davy.miners.batching import Batcher, Item, Line
from davy.miners.vocabulary import TokenizerFile
from davy.models.checkpoint import manifest_of, open_checkpoint
from davy.models.loading import load_model
from davy.network.openai import CompletionRequest
from davy.protocol.errors import Malformed, Misconfigured
from davy.protocol.limits import MAX_PROMPT_TOKENS
from davy.protocol.manifest import Manifest


class HuggingFace:
    """A causal language model in a Hugging Face folder.

    Parameters
    ----------
    folder
        Holds config.json, tokenizer.json and safetensors; or the name of a model that davy ships (`davy.models`).
    name, licence
        For the manifest; the folder's name when left out.
    threads
        Of torch, for the whole process.
    batch
        Rows computed at the same time.
    queue
        Requests that may wait for a row.
    wait_ms
        So long an idle model waits for company after a first request.
    engine
        See `davy.models.loading`.

    Raises
    ------
    Misconfigured
        The folder is no model, or not one that may be loaded; an unknown dtype, device or engine.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "",
        licence: str = "unstated",
        threads: int = 1,
        batch: int = 16,
        queue: int = 64,
        wait_ms: float = 2.0,
        device: str = "cpu",
        dtype: str = "float32",
        engine: str = "auto",
    ) -> None:
        if min(threads, batch, queue) < 1:
            raise Misconfigured("threads, batch and queue are at least 1")
        checkpoint = open_checkpoint(folder)
        self._manifest = manifest_of(checkpoint, name=name, licence=licence)
        self._vocabulary = TokenizerFile(checkpoint.tokenizer)
        self._context = checkpoint.context
        model = load_model(
            checkpoint, self._vocabulary.size, dtype=dtype, device=device, threads=threads, engine=engine
        )
        self._batcher = Batcher[Any](
            model,
            self._vocabulary,
            checkpoint.ends,
            most=batch,
            queue=queue,
            wait_s=wait_ms / 1000,
        )

    def manifest(self) -> Manifest:
        """Return the manifest of the files as they were read at the start."""
        return self._manifest

    def generate(
        self, request: CompletionRequest, stopped: Stopped
    ) -> AbstractAsyncContextManager[AsyncIterator[Piece | Tally]]:
        prompt = self._vocabulary.encode(request.prompt)
        if not prompt:
            raise Malformed("the prompt has no tokens in this model's vocabulary; write something")
        room = min(self._context - request.max_tokens, MAX_PROMPT_TOKENS)
        if len(prompt) > room:
            raise Malformed(
                f"the prompt has {len(prompt)} tokens, and with max_tokens {request.max_tokens} this model's context "
                f"of {self._context} leaves {max(0, room)}; shorten one of them"
            )
        self._batcher.check()
        return self._generation(request, prompt, stopped)

    async def aclose(self) -> None:
        await self._batcher.aclose()

    @asynccontextmanager
    async def _generation(
        self, request: CompletionRequest, prompt: list[int], stopped: Stopped
    ) -> AsyncGenerator[AsyncIterator[Piece | Tally]]:
        line = Line(request, prompt, stopped, self._vocabulary)
        with line.receive:
            self._batcher.submit(line)
            try:
                async with aclosing(_items(line.receive)) as items:
                    yield items
            finally:
                line.cancelled = True


async def _items(receive: MemoryObjectReceiveStream[Item]) -> AsyncGenerator[Piece | Tally, None]:
    async for item in receive:
        if isinstance(item, Exception):
            raise item
        yield item
