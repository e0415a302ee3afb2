"""JSON-RPC as a client speaks it: one call, its answer bounded and typed, every failure one of davy's errors.

What a server says is material to check, never trusted: bodies are bounded before they are read, results decoded into
structs that name the fields used and no others.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final, Self, TypeVar

import msgspec

from davy.ledger.client.connections import Address, Connections
from davy.ledger.client.subscription import Subscription
from davy.network.failures import printable, told
from davy.protocol.errors import Malformed, Refused, Unreachable
from davy.protocol.limits import MAX_RESULT_BYTES

T = TypeVar("T")

_MAX_ANSWER_BYTES: Final = MAX_RESULT_BYTES * 4 // 3 + 64 * 1024
"""A result in base64, and what stands around it."""


class RpcRefused(Refused):
    """The server's own words of why a call failed."""


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str
    data: str = ""


class _Answer(msgspec.Struct, frozen=True):
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: _Error | None = None


class RpcCaller:
    """One server, over a few kept-alive connections.

    Parameters
    ----------
    url
        ``http://host:port``.

    Raises
    ------
    Misconfigured
        It is no address.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._connections = Connections(Address.of(self.url))
        self._calls = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connections.aclose()

    async def call(self, method: str, kind: type[T], **params: Any) -> T:
        """Call a method and decode its result.

        Raises
        ------
        Unreachable
            No answer, or none of JSON-RPC's.
        TooLarge, Malformed
            The answer is longer than any may be, or not what this method answers.
        RpcRefused
            The server says why not.
        """
        self._calls = call = self._calls + 1
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": call, "method": method, "params": params})
        try:
            raw = await self._connections.post("/", body, limit=_MAX_ANSWER_BYTES)
        except (TimeoutError, OSError, ValueError) as e:
            said = f"the ledger at {self.url[:80]} does not answer ({told(e)}); check that it runs, and its address"
            raise Unreachable(said) from None
        answer = self._decoded(raw, _Answer)
        if answer.id not in (call, None):  # an answer too many, and all that follow are another call's
            await self._connections.aclose()
            raise Unreachable(
                f"the ledger at {self.url[:80]} answers another call; it is asked anew on a new connection"
            )
        if answer.error is None and bytes(answer.result):
            return self._decoded(bytes(answer.result), kind)
        said = answer.error.data or answer.error.message if answer.error else "an answer without a result"
        raise RpcRefused(printable(said))

    async def subscribe(self, query: str) -> Subscription:
        """Open a subscription; the caller closes it.

        Raises
        ------
        Unreachable
        """
        asked = {"jsonrpc": "2.0", "id": 0, "method": "subscribe", "params": {"query": query}}
        try:
            return await self._connections.subscription("/websocket", msgspec.json.encode(asked).decode())
        except (TimeoutError, OSError, ValueError) as e:
            raise Unreachable(f"the ledger at {self.url[:80]} takes no subscription ({told(e)}); try again") from None

    def _decoded(self, raw: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Malformed(f"what answers at {self.url} is not a ledger of this version; check the address") from None


def to_bytes(text: str) -> bytes:
    """Decode base64 from an answer.

    Raises
    ------
    Malformed
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("the ledger's answer holds bytes that are not base64; ask another one") from None
