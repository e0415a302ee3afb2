"""The seams: time, entropy, storage, keys, the ledger and transport are handed in, never imported.

So a rule is tested by calling it, a whole network runs in virtual time, and the same function serves a live node and
a thousand simulated ones. Each has an in-memory twin in tests/twins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from davy.protocol.chain import EpochRecord, Head, Metagraph, RowsInForce, TxResult
from davy.protocol.order import OrderId
from davy.protocol.recorded import AccessRecord, RecordedBrake, SubjectFacts
from davy.protocol.signing import Domain
from davy.protocol.transaction import Endpoint
from davy.protocol.words import (
    ChainId,
    Height,
    Hotkey,
    KeyRole,
    ModelId,
    Netuid,
    PublicKey,
    Signature,
    TxHash,
    UnixMillis,
)


class Clock(Protocol):
    """Wall time for nodes. Rules take a Height or a Moment instead."""

    def now(self) -> UnixMillis: ...

    async def sleep_until(self, t: UnixMillis) -> None: ...


class Entropy(Protocol):
    """Where randomness comes from; a seeded twin makes a history repeatable."""

    def bytes(self, n: int) -> bytes: ...


class Store(Protocol):
    """Small durable state of a node: what `put` returned from is still there after kill -9 and power loss."""

    async def put(self, key: bytes, value: bytes) -> None:
        """Store a value; durable on return.

        Raises
        ------
        StoreFailed
            The disk did not take it; the old value still stands.
        """
        ...

    async def get(self, key: bytes) -> bytes | None: ...


class KeyStore(Protocol):
    """Signs, and never hands a secret out."""

    def public(self, role: KeyRole) -> PublicKey:
        """Return the public key of a role.

        Raises
        ------
        NoSuchKey
        """
        ...

    def sign(self, role: KeyRole, domain: Domain, body: bytes) -> Signature: ...

    def sign_raw(self, role: KeyRole, message: bytes) -> Signature:
        """Sign bytes that carry their domain in themselves: RFC 9421's signature base, from ``"@method"`` on."""
        ...


class LedgerClient(Protocol):
    """The ledger as nodes see it, the same for every driver."""

    @property
    def chain(self) -> ChainId: ...

    async def head(self) -> Head: ...

    async def submit(self, raw: bytes) -> TxHash:
        """Hand in a signed transaction.

        Raises
        ------
        TxFailed
            Turned down at the door, with its deterministic code.
        Unreachable
        """
        ...

    async def outcome(self, h: TxHash, *, until: Height) -> TxResult:
        """Wait until the transaction stands in a committed block: only then is it acknowledged.

        Raises
        ------
        Expired
            Height `until` was committed without it.
        """
        ...

    async def nonce(self, key: PublicKey) -> int: ...

    async def fate(self, raw: bytes, *, after: Height) -> TxResult | None:
        """Prove what became of a signed transaction whose nonce is used up; None: no block holds it, or ever will.

        Parameters
        ----------
        after
            A block that was made before it was signed.

        Raises
        ------
        Expired
            Its nonce is not used up: it can still be included.
        Refused
            The ledger does not prove it.
        Unreachable
        """
        ...

    async def is_recorded(self, order: OrderId) -> bool:
        """Prove whether the ledger's state holds an order or a drill.

        Raises
        ------
        Refused, Unreachable
        """
        ...

    async def metagraph(self, netuid: Netuid, at: Height | None = None) -> Metagraph: ...

    def unchanged(self, netuid: Netuid, since: Height) -> bool:
        """Whether a metagraph of block `since` still shows what nodes go by, and what is known of its models stands.

        That is neurons with their stake, endpoints and models, the last epoch's results, and the next epoch's end; and
        of models orders' facts and who may ask. The ledger's word, as the metagraph itself is; False where it said
        nothing.
        """
        ...

    async def rows(self, netuid: Netuid) -> RowsInForce: ...

    async def epoch(self, netuid: Netuid, epoch: Height) -> EpochRecord | None: ...

    async def brake(self, known: RecordedBrake | None = None) -> RecordedBrake:
        """Return all orders that stand on the ledger, each with its block's height and time, none left out.

        Parameters
        ----------
        known
            An earlier answer: only what came since is fetched.

        Raises
        ------
        Refused
            The ledger does not prove that these are all.
        Unreachable
        """
        ...

    async def told_brake(self, known: RecordedBrake | None = None) -> RecordedBrake:
        """Return what the ledger says at once: each order proves itself, and nobody vouches for there being no more."""
        ...

    async def subject(self, netuid: Netuid, hotkey: Hotkey, model: ModelId | None = None) -> SubjectFacts:
        """Return what orders can know of a neuron with what it serves, or with a model that it would serve.

        It is of the newest block there was when this was called, or of a later one.

        Raises
        ------
        TxFailed
            NOT_FOUND: no such neuron or model.
        Refused
            The ledger does not prove that this is all.
        Unreachable
        """
        ...

    async def accesses(self, models: Sequence[ModelId]) -> tuple[AccessRecord, ...]:
        """Return who may ask for each of these models: the ledger's word, as the metagraph is.

        Raises
        ------
        TxFailed
            NOT_FOUND: one of them is not registered.
        Unreachable
        """
        ...

    def blocks(self, after: Height, *, newest: bool = False) -> AbstractAsyncContextManager[AsyncIterator[Head]]:
        """Every head after a height, in order, none left out; survives a restart of the ledger.

        Parameters
        ----------
        newest
            Of several that wait only the newest is given: whoever acts on the state needs no other, and catches up.
        """
        ...


class SignedRequest(NamedTuple):
    """A request as it crosses the network, already signed (davy.network.signed). Header names are lower case."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    address: str = ""
    """Of the sender, as the transport that received it saw it: no part of the request, and signed by nobody."""


class Response(NamedTuple):
    """A whole answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


Frame = bytes
"""One server-sent event block without its final blank line: ``data: …``, or a comment ``: receipt …``."""

SendFrame = Callable[[Frame], Awaitable[None]]
"""Sends a frame, or is cancelled and sent nothing: what a receipt covers must be known where a halt cuts a stream."""


class StreamReply(NamedTuple):
    """An answer in pieces. The server calls `pump` in the task of the connection and ends the response when it returns.

    What guards the stream (cancellation, the brake) lives inside `pump`, never around a `yield` (PEP 789).
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    pump: Callable[[SendFrame], Awaitable[None]]


class Handler(Protocol):
    """What a node does with a request; knows nothing of HTTP, so memory and HTTP transports serve the same object."""

    async def handle(self, request: SignedRequest) -> Response | StreamReply: ...


class IncomingStream(NamedTuple):
    """The head of a streamed answer and its frames, in order."""

    status: int
    headers: tuple[tuple[str, str], ...]
    frames: AsyncIterator[Frame]


class Transport(Protocol):
    """Carries signed requests to an endpoint whose TLS key is pinned."""

    async def call(self, to: Endpoint, r: SignedRequest, *, deadline: UnixMillis) -> Response:
        """Send a request and read the whole answer.

        Raises
        ------
        Unreachable
            No connection, wrong fingerprint, or no whole answer by the deadline.
        TooLarge
            The answer exceeds MAX_RESPONSE_BYTES.
        """
        ...

    def stream(
        self, to: Endpoint, r: SignedRequest, *, deadline: UnixMillis
    ) -> AbstractAsyncContextManager[IncomingStream]: ...


class Ports(NamedTuple):
    """All that a node is handed at its start: its own keys and store, and its way to the ledger and to other nodes."""

    keys: KeyStore
    ledger: LedgerClient
    clock: Clock
    entropy: Entropy
    store: Store
    transport: Transport
    """Pins the certificates that the ledger names."""
