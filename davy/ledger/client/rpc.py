"""JSON-RPC as a client speaks it: one call, its answer bounded and typed, every failure one of davy's errors.

What a server says is material to check, never trusted: bodies are bounded before they are read, results decoded into
structs that name the fields used and no others.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final, Self, TypeVar

import aiohttp
import msgspec

from davy.network.failures import told
from davy.protocol.errors import Malformed, Misconfigured, Refused, TooLarge, Unreachable
from davy.protocol.limits import MAX_RESULT_BYTES

T = TypeVar("T")

_MAX_ANSWER_BYTES: Final = MAX_RESULT_BYTES * 4 // 3 + 64 * 1024
"""A result in base64, and what stands around it."""
_MAX_EVENT_BYTES: Final = 64 * 1024
_PING_S: Final = 10
_TIMEOUT: Final = aiohttp.ClientTimeout(total=15, sock_connect=3)


class RpcRefused(Refused):
    """The server's own words of why a call failed."""


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str
    data: str = ""


class _Answer(msgspec.Struct, frozen=True):
    result: msgspec.Raw = msgspec.Raw()
    error: _Error | None = None


class RpcCaller:
    """One server, over a few kept-alive connections.

    Parameters
    ----------
    url
        ``http://host:port``.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise Misconfigured(f"'{url[:80]}' is no address of a ledger; write http://host:port")
        self.url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._calls = 0

    async def __aenter__(self) -> Self:
        self._opened()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

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
        self._calls += 1
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params})
        try:
            async with self._opened().post(self.url + "/", data=body) as response:
                raw = await self._bounded(response)
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as e:
            said = f"the ledger at {self.url[:80]} does not answer ({told(e)}); check that it runs, and its address"
            raise Unreachable(said) from None
        return _result(raw, kind, self.url)

    async def subscribe(self, query: str) -> aiohttp.ClientWebSocketResponse:
        """Open a subscription; the caller closes it.

        Raises
        ------
        Unreachable
        """
        asked = {"jsonrpc": "2.0", "id": 0, "method": "subscribe", "params": {"query": query}}
        try:
            socket = await self._opened().ws_connect(
                self.url + "/websocket", max_msg_size=_MAX_EVENT_BYTES, heartbeat=_PING_S
            )
            await socket.send_str(msgspec.json.encode(asked).decode())
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as e:
            raise Unreachable(f"the ledger at {self.url[:80]} takes no subscription ({told(e)}); try again") from None
        return socket

    async def _bounded(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        left = _MAX_ANSWER_BYTES
        async for part in response.content.iter_any():
            left -= len(part)
            if left < 0:
                raise TooLarge(f"the ledger at {self.url} answers more than {_MAX_ANSWER_BYTES} bytes; ask another one")
            parts.append(part)
        return b"".join(parts)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT, auto_decompress=False)
        return self._session


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


def _result(raw: bytes, kind: type[T], url: str) -> T:
    try:
        answer = msgspec.json.decode(raw, type=_Answer)
        if answer.error is None and bytes(answer.result):
            return msgspec.json.decode(answer.result, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed(f"what answers at {url} is no ledger of this version; check the address") from None
    said = answer.error.data or answer.error.message if answer.error else "an answer without a result"
    raise RpcRefused(said[:500])
