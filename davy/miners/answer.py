"""From a backend's pieces to an answer as OpenAI's API writes it: whole, or chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence

from davy.miners.backend import Piece, Tally
from davy.miners.stop_strings import StopStrings
from davy.network.openai import Choice, CompletionRequest, CompletionResponse, Logprobs, Usage
from davy.protocol.errors import BadAnswer


class Answer:
    """One answer in the making.

    Parameters
    ----------
    id
        Of the completion; `created` is in Unix seconds, and `model` the model id in hex.
    """

    def __init__(self, request: CompletionRequest, *, id: str, created: int, model: str) -> None:
        self._request = request
        self._id, self._created, self._model = id, created, model
        stop = request.stop
        self._stops = StopStrings([stop] if isinstance(stop, str) else stop or [])
        self._pieces = 0
        self._offset = 0
        self._tally = Tally(0)

    def take(self, item: Piece | Tally) -> list[Piece]:
        """Take what a backend made; return the pieces that can be shown now.

        Raises
        ------
        BadAnswer
            More than `max_tokens` pieces.
        """
        if isinstance(item, Tally):
            self._tally = item
            return []
        self._pieces += 1
        if self._pieces > self._request.max_tokens:
            raise BadAnswer("the model made more tokens than it was asked for")
        return self._stops.add(item)

    def rest(self) -> list[Piece]:
        """Return the pieces that were held back, at the end."""
        return self._stops.rest()

    @property
    def is_stopped(self) -> bool:
        """A stop string was found: nothing more is to be taken."""
        return self._stops.found

    @property
    def is_whole(self) -> bool:
        """All that was asked for is there."""
        return self._stops.found or self._tally.finish is not None or self._pieces >= self._request.max_tokens

    @property
    def usage(self) -> Usage:
        prompt = self._tally.prompt_tokens
        made = self._pieces if self._tally.completion_tokens is None else self._tally.completion_tokens
        return Usage(prompt, made, prompt + made)

    @property
    def finish_reason(self) -> str:
        if self._stops.found:
            return "stop"
        return self._tally.finish or ("length" if self._pieces >= self._request.max_tokens else "stop")

    def chunk(self, piece: Piece) -> CompletionResponse:
        """One piece as an event of a stream."""
        return self._response([Choice(0, piece.text, self._logprobs([piece]))])

    def last_chunks(self) -> list[CompletionResponse]:
        """Return the events that end a stream: the finish reason, then the usage if it was asked for."""
        chunks = [self._response([Choice(0, "", None, self.finish_reason)])]
        if self._request.stream_options is not None and self._request.stream_options.include_usage:
            chunks.append(self._response([], self.usage))
        return chunks

    def whole(self, pieces: Sequence[Piece]) -> CompletionResponse:
        """All shown pieces as one answer."""
        text = "".join(p.text for p in pieces)
        return self._response([Choice(0, text, self._logprobs(pieces), self.finish_reason)], self.usage)

    def _response(self, choices: list[Choice], usage: Usage | None = None) -> CompletionResponse:
        return CompletionResponse(self._id, self._created, self._model, choices, usage=usage)

    def _logprobs(self, pieces: Sequence[Piece]) -> Logprobs | None:
        if self._request.logprobs is None:
            return None
        written = Logprobs([], [], [], [])
        for p in pieces:
            names = self._names(p)
            own = next((n for n, (token, _) in zip(names, p.top, strict=True) if token == p.token), p.text)
            written.tokens.append(own)
            written.token_logprobs.append(p.logprob)
            written.top_logprobs.append(_first_of_each(names, p.top))
            written.text_offset.append(self._offset)
            self._offset += len(p.text)
        return written

    def _names(self, p: Piece) -> Sequence[str]:
        if not self._request.return_tokens_as_token_ids:
            return p.texts
        if p.token < 0:
            raise BadAnswer("this model does not name its tokens by id; ask without return_tokens_as_token_ids")
        return [f"token_id:{token}" for token, _ in p.top]


def _first_of_each(names: Sequence[str], top: Sequence[tuple[int, float]]) -> dict[str, float]:
    """Several tokens may have one text (parts of a character): the likeliest keeps the name."""
    named: dict[str, float] = {}
    for name, (_, logprob) in zip(names, top, strict=True):
        named.setdefault(name, logprob)
    return named
