"""See from outside that a miner stops: a stream is held open at it, and it counts how and when that ends.

Nothing that the miner says of itself is believed. It has stopped when its stream has ended, or was refused, with an
order that these keyholders signed; the moment is that of whoever holds the stream. Until then the stream is opened
again whenever it ends, so what is measured is late by one pause at most, and never early.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from davy.killswitch.brake import BrakeState, first_state, take
from davy.network.error_responses import response_error
from davy.network.events import DONE, data_payloads
from davy.network.openai import CompletionRequest, to_json
from davy.network.signed_client import Question, SignedClient
from davy.protocol.errors import BadAnswer, DavyError, Malformed, ModelHalted, TooLarge
from davy.protocol.genesis import Genesis
from davy.protocol.limits import MAX_COMPLETION_TOKENS
from davy.protocol.ports import Clock, Response
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor
from davy.protocol.recorded import RecordedBrake
from davy.protocol.transaction import Endpoint
from davy.protocol.words import Hotkey, ModelId

_PROMPT: Final = "The"
_PAUSE_MS: Final = 100
"""Before a stream is opened again."""
_STREAM_MS: Final = 330_000
"""More than a miner takes for any answer."""
_FEWEST: Final = 16
"""Tokens to ask for where a model's context leaves no room for more."""


class Probed(NamedTuple):
    """A miner, and the model that it is asked for."""

    endpoint: Endpoint
    miner: Hotkey
    model: ModelId


def keyholders_known(g: Genesis, recorded: RecordedBrake) -> BrakeState:
    """Whose orders count, by what the ledger recorded: the roster of the genesis and those that came after it."""
    return take(first_state(g), [row.order for row in recorded.orders]).state


class Watch:
    """What was seen of one miner so far.

    Parameters
    ----------
    anchor
        A block that the miner knows.
    state
        What is known of the keyholders: whose orders count.
    stamp
        Tells the time that is kept of tokens and of the end; the clock's if left out.
    """

    def __init__(
        self, to: Probed, client: SignedClient, clock: Clock, anchor: Anchor, state: BrakeState,
        stamp: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
        self.to = to
        self._client, self._clock, self._anchor, self._state = client, clock, anchor, state
        self._stamp = stamp or clock.now
        self._most = MAX_COMPLETION_TOKENS
        self.tokens = 0
        self.token: int | None = None
        """When the newest token came."""
        self.flows = False
        """Whether a stream is open on which tokens have come."""
        self.ended: int | None = None
        """When it had stopped."""
        self.order = b""
        """The signed order that it stopped by."""
        self.fault = ""
        """Why the last stream could not be held, where it could not."""
        self.refuses = False
        """Whether it says that it is halted, and shows no order of these keyholders."""

    async def run(self) -> None:
        """Hold a stream open until the miner has stopped, or this is cancelled."""
        while True:
            self.refuses, fault = False, ""
            try:
                await self._stream()
            except ModelHalted as e:
                at = self._stamp()
                if take(self._state, [e.order]).orders:
                    self.ended, self.order, self.fault = at, e.order, ""
                    return
                self.refuses, fault = True, f"it shows no order of these keyholders: {e}"
            except (Malformed, TooLarge) as e:
                fault, self._most = str(e), max(_FEWEST, self._most // 2)
            except DavyError as e:
                fault = str(e)
            finally:
                self.flows = False
            self.fault = fault
            await self._clock.sleep_until(self._clock.now() + _PAUSE_MS)

    async def _stream(self) -> None:
        """Read one answer to its end.

        Raises
        ------
        DavyError
            ModelHalted only when nothing more comes.
        """
        to = self.to
        asked = CompletionRequest(to.model.hex(), _PROMPT, max_tokens=self._most, stream=True)
        q = Question(to.endpoint, to.miner, "/v1/completions", to_json(asked), self._anchor, EMPTY_BRAKE_HEAD)
        told: DavyError | None = None
        async with self._client.stream(q, deadline=self._clock.now() + _STREAM_MS) as (_, incoming):
            if incoming.status != 200:
                body = b"".join([frame async for frame in incoming.frames])
                raise response_error(Response(incoming.status, incoming.headers, body))
            async for frame in incoming.frames:
                for payload in data_payloads(frame):
                    if payload.startswith(b'{"error"'):
                        told = response_error(Response(451, (), payload))
                    elif payload != DONE:
                        self.tokens, self.token, self.flows, self.fault = self.tokens + 1, self._stamp(), True, ""
        if told is not None:
            raise told if isinstance(told, ModelHalted) else BadAnswer("it broke its answer off by itself")
