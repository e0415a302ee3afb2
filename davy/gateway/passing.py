"""One stream on its way from a miner to a user: read, hashed, stripped, handed over frame by frame."""

from __future__ import annotations

import base64
from typing import Final, NamedTuple, TypeAlias

import msgspec
from anyio.streams.memory import MemoryObjectSendStream

from davy.gateway.wish import Wish, shown
from davy.network.error_responses import error_response, order_of
from davy.network.events import DONE, data_frame, data_payloads
from davy.network.exchange import MAX_ANSWER_BYTES, MAX_PIECES
from davy.network.openai import ErrorBody, parse_response, to_json
from davy.network.receipts import StreamDigest, receipt_frame, receipt_in
from davy.protocol.errors import BadAnswer, DavyError, Malformed, ModelHalted
from davy.protocol.ports import Frame
from davy.protocol.words import Digest

_ORDER: Final = b": order "


class Begun(NamedTuple):
    """A miner answers: from here on there is no other one."""

    headers: tuple[tuple[str, str], ...]


Item: TypeAlias = Begun | Frame | DavyError | None
"""What goes over to the user's task: first `Begun` or an error, then frames, None at the end."""


class Passing:
    """Takes a miner's frames; `begun` once the user has got something of it."""

    def __init__(self, wish: Wish, headers: tuple[tuple[str, str], ...], out: MemoryObjectSendStream[Item]) -> None:
        self._wish, self._headers, self._out = wish, headers, out
        self._said = StreamDigest()
        self._size = 0
        self.error: DavyError | None = None
        """The miner's own word that it gives no (more) answer; a receipt for that may follow."""
        self.payloads: list[bytes] = []
        """Kept for a later score, as far as `MAX_ANSWER_BYTES` reach."""
        self.receipt: bytes | None = None
        self.begun = self.ended = False

    async def take(self, frame: Frame) -> None:
        """Pass one frame on; receipts are held back until they were checked, other comments dropped.

        Raises
        ------
        DavyError
            It is no stream of completions.
        """
        found = receipt_in(frame)
        if found is not None:
            if self.receipt is not None:
                raise Malformed("a stream came with more than one receipt")
            self.receipt = found
        for payload in data_payloads(frame):
            if payload == DONE:
                self.ended = True
            else:
                await self._payload(payload)

    async def _payload(self, payload: bytes) -> None:
        self._said.add_payload(payload)
        try:
            chunk = parse_response(payload)
        except Malformed:
            self.error = _told(payload)
            return
        self._size += len(payload)
        if self._size <= MAX_ANSWER_BYTES and len(self.payloads) < MAX_PIECES:
            self.payloads.append(payload)
        elif self.payloads:
            self.payloads = [bytes(MAX_ANSWER_BYTES + 1)]  # too long to be kept: no sample takes it
        if not self.begun:
            self.begun = True
            await self._out.send(Begun(self._headers))
        await self._out.send(data_frame(payload if self._wish.proof else to_json(shown(chunk, self._wish.asked))))

    @property
    def digest(self) -> Digest:
        """Of all payloads so far."""
        return self._said.value()

    async def end(self, receipt: bytes) -> None:
        """Tell the user that this was all, and that the miner signed for it."""
        await self._out.send(receipt_frame(receipt))
        await self._out.send(data_frame(DONE))
        await self._out.send(None)

    async def break_off(self, e: DavyError, receipt: bytes | None) -> None:
        """Tell the user why nothing more comes: an error event, the order where one halts the model, a receipt."""
        await self._out.send(data_frame(error_response(e).body))
        if isinstance(e, ModelHalted) and e.order:
            await self._out.send(_ORDER + base64.b64encode(e.order))
        if receipt is not None:
            await self._out.send(receipt_frame(receipt))
        await self._out.send(data_frame(DONE))
        await self._out.send(None)


def _told(payload: bytes) -> DavyError:
    try:
        detail = msgspec.json.decode(payload, type=ErrorBody).error
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError):
        return BadAnswer("the miner's stream holds something that is not a completion")
    if detail.code == "model_halted":
        return ModelHalted(f"the miner says: {detail.message[:300]}", order_of(detail.order or ""))
    return BadAnswer(f"the miner broke off: {detail.message[:300]}")
