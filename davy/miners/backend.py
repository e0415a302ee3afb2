"""The seam between a miner and its model: a stream of tokens out of a request.

A backend is anything with these three methods: a model in this process (`davy.miners.huggingface`), a server that
speaks OpenAI's API (`davy.miners.upstream`), or a class of your own, most easily a `davy.miners.simple.SimpleBackend`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol, runtime_checkable

from davy.network.openai import CompletionRequest
from davy.protocol.manifest import Identity, Manifest
from davy.protocol.ports import Clock, Entropy, KeyStore, LedgerClient
from davy.protocol.words import Hotkey, Netuid


class Piece(NamedTuple):
    """One generated token."""

    token: int
    """Its id; -1 where an upstream does not name its tokens."""
    text: str
    """What it adds to the text: empty while a character is incomplete, and for an end token."""
    logprob: float
    """Natural log of the model's own probability (temperature 1)."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest (id, logprob), best first, as many as the request's `logprobs`, and the chosen one among them."""
    texts: tuple[str, ...] = ()
    """The texts of `top`, in its order; may be left out when the request asks for token ids."""


class Tally(NamedTuple):
    """What a backend knows better than a count of its pieces; optional, may come at any place, a later one counts."""

    prompt_tokens: int
    completion_tokens: int | None = None
    """None: the pieces are counted."""
    finish: str | None = None
    """``stop`` or ``length``; None: ``length`` when `max_tokens` pieces came."""


Stopped = Callable[[], bool]


@runtime_checkable
class Backend(Protocol):
    """A model that answers."""

    def manifest(self) -> Manifest:
        """What the model is. Its digest is the model id, so it must not change while the backend is open."""
        ...

    def generate(
        self, request: CompletionRequest, stopped: Stopped
    ) -> AbstractAsyncContextManager[AsyncIterator[Piece | Tally]]:
        """Check a request, and return its generation, which starts when it is entered and ends when it is left.

        At most `max_tokens` pieces come. `stopped` is asked before each token; once it is true no more are made and the
        iterator ends. Stop strings may be left to the server.

        Raises
        ------
        Malformed, TooLarge
            The model cannot take this request. Raised by the call itself, before anything was answered.
        Busy
            The backend's queue is full.
        """
        ...

    async def aclose(self) -> None:
        """End the generations that run, and give back what the model holds."""
        ...


class Neighbourhood(NamedTuple):
    """A node's own means of asking other nodes."""

    keys: KeyStore
    ledger: LedgerClient
    clock: Clock
    entropy: Entropy
    netuid: Netuid


@runtime_checkable
class AsksOthers(Protocol):
    """A backend that asks other nodes; `join` is called once, before it is served."""

    async def join(self, own: Neighbourhood) -> None: ...


@runtime_checkable
class Probed(Protocol):
    """A backend that can be asked once, before its model is registered, whether it would answer."""

    async def probe(self) -> None: ...


@runtime_checkable
class SeesCaller(Protocol):
    """A backend that is told who asks: `generate_for` is called in place of `generate`."""

    def generate_for(
        self, caller: Hotkey, request: CompletionRequest, stopped: Stopped
    ) -> AbstractAsyncContextManager[AsyncIterator[Piece | Tally]]: ...


def identity_of(manifest: Manifest) -> Identity:
    """``files`` for safetensors, which a validator can run again; ``claimed`` for everything else."""
    return Identity.FILES if manifest.format == "safetensors" else Identity.CLAIMED
