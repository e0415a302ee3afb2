"""How a keyholder is asked: another one over the network, or this one in its own process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Protocol

from msgspec import Meta

from davy.keyholders.circle import Holder
from davy.keyholders.messages import Answer, Ask
from davy.network.error_responses import response_error
from davy.network.signed_client import Question, SignedClient
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import Misdirected, TooLarge
from davy.protocol.limits import MAX_CEREMONY_BYTES, MAX_REQUEST_BYTES
from davy.protocol.ports import Clock, KeyStore
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor
from davy.protocol.signing import Domain
from davy.protocol.words import KeyRole, PublicKey, Signature

PATH: Final = "/keyholder"
_NO_ANCHOR: Final = Anchor(0, bytes(32))


class Request(Wire):
    """The body of a request."""

    version: Annotated[int, Meta(ge=1, le=1)]
    ask: Ask


class Reply(Wire):
    """The body of an answer."""

    version: Annotated[int, Meta(ge=1, le=1)]
    answer: Answer


class Voice(Protocol):
    """One keyholder that can be asked."""

    @property
    def name(self) -> str: ...

    @property
    def key(self) -> PublicKey: ...

    async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
        """Ask and wait for the answer.

        Raises
        ------
        Unreachable
            No answer within `patience_ms`.
        DavyError
            What went wrong there, or what was answered cannot be read.
        """
        ...


class OwnVoice:
    """This process's own keyholder."""

    def __init__(self, name: str, key: PublicKey, answer: Callable[[PublicKey, Ask], Awaitable[Answer]]) -> None:
        self.name, self.key, self._answer = name, key, answer

    async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
        """See `Voice.ask`; nothing is lost on the way."""
        return await self._answer(self.key, ask)


class RemoteVoice:
    """Another keyholder, at the address in its line."""

    def __init__(self, holder: Holder, client: SignedClient, clock: Clock) -> None:
        self.name, self.key = holder.name, holder.key
        self._endpoint, self._client, self._clock = holder.endpoint, client, clock

    async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
        """See `Voice.ask`."""
        body = encode(Request(1, ask))
        if len(body) > MAX_REQUEST_BYTES:
            raise TooLarge("this is more than one request carries; name fewer orders, or carry it by hand")
        question = Question(self._endpoint, self.key, PATH, body, _NO_ANCHOR, EMPTY_BRAKE_HEAD)
        answered = await self._client.call(question, deadline=self._clock.now() + patience_ms)
        if answered.response.status != 200:
            error = response_error(answered.response)
            if isinstance(error, Misdirected) and "chain" in str(error):
                raise Misdirected(f"{self.name} has another circle; compare the fingerprints: `davy keyholder circle`")
            raise error
        return decode(answered.response.body, Reply, limit=MAX_CEREMONY_BYTES).answer


class MemberKeys:
    """A keystore that signs requests (`davy.network.signed`) with the keyholder's key where nodes take the hotkey."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys

    def public(self, role: KeyRole) -> PublicKey:
        return self._keys.public(_member(role))

    def sign(self, role: KeyRole, domain: Domain, body: bytes) -> Signature:
        return self._keys.sign(_member(role), domain, body)

    def sign_raw(self, role: KeyRole, message: bytes) -> Signature:
        return self._keys.sign_raw(_member(role), message)


def _member(role: KeyRole) -> KeyRole:
    return KeyRole.KEYHOLDER if role is KeyRole.HOTKEY else role
