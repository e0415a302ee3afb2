"""A backend in one method, for a model of your own: what may come next, and how likely."""

from __future__ import annotations

import functools
import hashlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import ClassVar

import anyio.lowlevel
import anyio.to_thread
import numpy as np

from davy.miners.backend import Piece, Stopped, Tally
from davy.miners.sampling import pick
from davy.miners.vocabulary import Bytes, Unfolding, Vocabulary
from davy.network.openai import CompletionRequest
from davy.protocol.errors import Malformed
from davy.protocol.manifest import Manifest, ModelFile


class SimpleBackend(ABC):
    """Subclass it and write `next_token`; `davy miner --backend yours.py:Yours` serves it.

    Its model id is the digest of the file the class stands in: change the code and it is another model.
    """

    name: ClassVar[str] = "simple"
    """In the manifest; clients may ask for it as `model`."""
    licence: ClassVar[str] = "unstated"
    vocabulary: Vocabulary = Bytes()
    context: ClassVar[int] = 65_536
    """The most tokens, prompt and answer together."""
    end: ClassVar[int] = -1
    """The token that ends an answer; -1: none."""
    slow: ClassVar[bool] = False
    """True: `next_token` runs in a worker thread, so that other requests go on meanwhile."""

    @abstractmethod
    def next_token(self, tokens: Sequence[int]) -> Mapping[int, float]:
        """Return the likely next tokens after `tokens` (prompt and answer so far), each with its probability.

        Probabilities must be positive and must not sum to more than 1; what is missing from 1 belongs to the unlisted.
        """

    def manifest(self) -> Manifest:
        return _manifest(type(self), self.name, self.licence)

    def generate(
        self, request: CompletionRequest, stopped: Stopped
    ) -> AbstractAsyncContextManager[AsyncGenerator[Piece | Tally, None]]:
        prompt = self.vocabulary.encode(request.prompt)
        if len(prompt) + request.max_tokens > self.context:
            raise Malformed(
                f"{len(prompt)} prompt tokens and max_tokens {request.max_tokens} exceed this model's context of "
                f"{self.context}; shorten one of them"
            )
        return aclosing(self._pieces(prompt, request, stopped))

    async def aclose(self) -> None:  # noqa: B027 - most hold nothing
        """Give back what the model holds."""

    async def _pieces(
        self, prompt: list[int], request: CompletionRequest, stopped: Stopped
    ) -> AsyncGenerator[Piece | Tally, None]:
        yield Tally(len(prompt))
        text = Unfolding(self.vocabulary, prompt)
        tokens = list(prompt)
        for position in range(request.max_tokens):
            if position:  # between tokens others run; before the first one the request has only just come
                await anyio.lowlevel.checkpoint()
            if stopped():
                return
            listed = await anyio.to_thread.run_sync(self.next_token, tokens) if self.slow else self.next_token(tokens)
            ids = np.fromiter(listed.keys(), np.int64, len(listed))
            with np.errstate(divide="ignore"):
                logprobs = np.log(np.fromiter(listed.values(), np.float64, len(listed)))
            token, logprob, top = pick(logprobs, request, position, ids)
            ended = token == self.end
            shown = text.add(token, last=ended or position + 1 == request.max_tokens)
            tokens.append(token)
            yield Piece(token, shown, logprob, top, tuple(self.vocabulary.text(t) for t, _ in top))
            if ended:
                yield Tally(len(prompt), finish="stop")
                return


@functools.cache  # a backend lives as long as its process
def _manifest(backend: type[SimpleBackend], name: str, licence: str) -> Manifest:
    source = inspect.getsourcefile(backend)
    if source is None:
        return Manifest(1, name, (), "opaque", b"", licence)
    code = Path(source).read_bytes()
    file = ModelFile("backend.py", len(code), hashlib.sha256(code).digest())
    return Manifest(1, name, (file,), "opaque", b"", licence)
