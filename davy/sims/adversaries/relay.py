"""Has no model: asks a good miner the same prompt in time and passes the answer on as its own.

By default a miner answers only callers with stake, so a relay gets nothing to pass on. Where it is let in, its answers
are its victim's, and miners that answer alike share one reward.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path

import msgspec

from davy.miners.backend import Neighbourhood, Piece, Stopped, Tally
from davy.miners.vocabulary import TokenizerFile
from davy.network.http_client import HttpTransport
from davy.network.openai import CompletionRequest, CompletionResponse, parse_response, to_json
from davy.network.signed_client import Question, SignedClient
from davy.protocol.chain import Head, Neuron
from davy.protocol.errors import Unreachable
from davy.protocol.manifest import Manifest, model_id
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor
from davy.protocol.words import Hotkey, UnixMillis

_PATIENCE_MS = 3_000
_TRIED = 3
_KNOWN_MS = 500
"""The ledger is asked for its head and for victims so seldom."""
_SHUT_OUT_MS = 5_000
"""Who does not let it in is not asked for so long."""


class Relay:
    """Asks those who earn most on the subnet, until one answers.

    Parameters
    ----------
    folder
        Of any model with the subnet's tokenizer: only its tokenizer.json is read.
    """

    def __init__(self, folder: Path) -> None:
        self._vocabulary = TokenizerFile(folder / "tokenizer.json")
        self._own: Neighbourhood | None = None
        self._transport: HttpTransport | None = None
        self._known: tuple[UnixMillis, Head, list[Neuron]] | None = None
        self._shut: dict[Hotkey, UnixMillis] = {}
        """Until when who is not asked."""

    def manifest(self) -> Manifest:
        return Manifest(1, "relay", (), "opaque", b"", "unstated")

    async def join(self, own: Neighbourhood) -> None:
        """Take over the node's means of asking others."""
        self._own = own
        self._transport = await HttpTransport(own.clock).__aenter__()

    def generate(
        self, request: CompletionRequest, stopped: Stopped
    ) -> AbstractAsyncContextManager[AsyncGenerator[Piece | Tally, None]]:
        return aclosing(self._passed_on(request))

    async def aclose(self) -> None:
        if self._transport is not None:
            await self._transport.__aexit__(None, None, None)

    async def _passed_on(self, request: CompletionRequest) -> AsyncGenerator[Piece | Tally, None]:
        answer = await self._ask(request)
        logs = answer.choices[0].logprobs
        if logs is None:
            raise Unreachable("the victim gave no log-probabilities")
        for token, logprob, top in zip(logs.tokens, logs.token_logprobs, logs.top_logprobs, strict=True):
            listed = tuple((_id(key), value) for key, value in top.items())
            yield Piece(_id(token), self._vocabulary.decode([_id(token)]), logprob, listed)

    async def _ask(self, request: CompletionRequest) -> CompletionResponse:
        if self._own is None or self._transport is None:
            raise Unreachable("a relay without a network has nobody to ask")
        own = self._own
        head, victims = await self._look(own)
        client = SignedClient(own.keys, own.ledger.chain, self._transport, own.clock, own.entropy)
        refused = "nobody else serves anything, or lets it in"
        for victim in victims:
            if own.clock.now() < self._shut.get(victim.hotkey, 0):
                continue
            plain = msgspec.structs.replace(request, model=victim.model[0].model_id.hex(), stream=False)
            anchor = Anchor(head.height, head.hash)
            question = Question(
                victim.endpoint[0], victim.hotkey, "/v1/completions", to_json(plain), anchor, EMPTY_BRAKE_HEAD
            )
            _, answer = await client.call(question, deadline=own.clock.now() + _PATIENCE_MS)
            if answer.status == 200:
                return parse_response(answer.body)
            if answer.status == 403:
                self._shut[victim.hotkey] = own.clock.now() + _SHUT_OUT_MS
            refused = f"the victim answered {answer.status}"
        raise Unreachable(refused)

    async def _look(self, own: Neighbourhood) -> tuple[Head, list[Neuron]]:
        """A head to anchor to, and who serves a model, the best paid first."""
        now = own.clock.now()
        if self._known is None or now - self._known[0] > _KNOWN_MS:
            head, neurons = await own.ledger.head(), (await own.ledger.metagraph(own.netuid)).neurons
            others = [n for n in neurons if n.endpoint and n.model and n.model[0].model_id != model_id(self.manifest())]
            self._known = now, head, sorted(others, key=lambda n: (-n.incentive, n.uid))[:_TRIED]
        return self._known[1:]


def _id(token: str) -> int:
    return int(token.removeprefix("token_id:"))
