"""See from outside that a miner stops: a stream is held open at it, and it counts how and when that ends.

Nothing that the miner says of itself is believed. It has stopped when its stream has ended, or was refused, with an
order of these keyholders that stops it now; the moment is that of whoever holds the stream. Until then the stream is
opened again whenever it ends, so what is measured is late by one pause at most, and never early. Afterwards it can be
asked again: one that then serves had ended nothing but a stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from davy.killswitch.brake import BrakeState, by_id, first_state, record, take
from davy.killswitch.clocks import Clocks
from davy.killswitch.scope import Subject, covers, target_of
from davy.killswitch.verdict import model_class
from davy.network.error_responses import response_error
from davy.network.events import DONE, data_payloads
from davy.network.openai import CompletionRequest, to_json
from davy.network.signed_client import Question, SignedClient
from davy.protocol.errors import BadAnswer, DavyError, Malformed, ModelHalted, TooLarge
from davy.protocol.genesis import Genesis
from davy.protocol.limits import MAX_COMPLETION_TOKENS
from davy.protocol.manifest import ModelClass
from davy.protocol.order import Extend, Raise, VerifiedOrder
from davy.protocol.ports import Clock, Response
from davy.protocol.receipt import EMPTY_BRAKE_HEAD, Anchor
from davy.protocol.recorded import RecordedBrake
from davy.protocol.transaction import Endpoint
from davy.protocol.words import Hotkey, ModelId, UnixMillis

_PROMPT: Final = "The"
_PAUSE_MS: Final = 100
"""Before a stream is opened again."""
_STREAM_MS: Final = 330_000
"""More than a miner takes for any answer."""
_FEWEST: Final = 16
"""Tokens to ask for where a model's context leaves no room for more, or where one is enough."""
_AGAIN_MS: Final = 1_000
"""Before who has stopped is asked again."""
_REFUSAL_MS: Final = 5_000
"""For its answer: a refusal takes no time."""
_RELAPSED: Final = "it showed an order and ended its stream, and then served again"


class Probed(NamedTuple):
    """A miner, and the model that it is asked for."""

    endpoint: Endpoint
    miner: Hotkey
    model: ModelId


def keyholders_known(g: Genesis, recorded: RecordedBrake) -> BrakeState:
    """Whose orders count, by what the ledger recorded: the roster of the genesis and those that came after it."""
    times = by_id({row.order: row.time for row in recorded.orders})
    return take(record(first_state(g), times), [row.order for row in recorded.orders]).state


class Orders:
    """What is known of the keyholders and their orders: whose count, and which of them were lifted.

    All watches share one: each order is read once, or whoever stops last would seem later for all who showed it before.
    """

    def __init__(self, state: BrakeState) -> None:
        self._state = state
        self._read: dict[bytes, tuple[VerifiedOrder, BrakeState]] = {}

    def read(self, raw: bytes) -> tuple[VerifiedOrder, BrakeState] | None:
        """An order that these keyholders signed, and what is known together with it."""
        if raw not in self._read:
            taken = take(self._state, [raw])
            if not taken.orders:
                return None
            self._read[raw] = taken.orders[0], taken.state
        return self._read[raw]


class Stops(NamedTuple):
    """Which orders stop what a miner is asked for."""

    orders: Orders
    subjects: tuple[Subject, ...]
    """What the miner serves, on each subnet where it does: what stops one of these stops it."""
    only: str = ""
    """The first digits of the only order that counts; all count where it is empty."""

    def by(self, raw: bytes, now: UnixMillis) -> bool:
        """Whether it is a HALT, an EXTEND or a RAISE that covers the miner, and that has not ended."""
        found = self.orders.read(raw)
        if found is None or not found[0].id.hex().startswith(self.only):
            return False
        order, state = found
        target = target_of(order, state.orders)
        return target is not None and any(covers(target, x) and _in_force(order, state, x, now) for x in self.subjects)


def _in_force(v: VerifiedOrder, s: BrakeState, x: Subject, now: UnixMillis) -> bool:
    """Whether an order still does what it says; a HALT stops what is systemic until it is lifted."""
    if isinstance(v.order.action, Raise):
        return any(r.models == v.order.action.models and now < r.until for r in s.book.raises)
    halt = v.order.action.halt if isinstance(v.order.action, Extend) else v.id
    systemic = model_class(s, x, Clocks(now, now)) is ModelClass.SYSTEMIC
    found = [h for h in s.book.halts if h.order.id == halt and h.lifted is None]
    return any(now < (h.until if systemic else h.ends) for h in found)


class Watch:
    """What was seen of one miner so far.

    Parameters
    ----------
    anchor
        A block that the miner knows.
    stops
        The orders that it may stop by.
    stamp
        Tells the time that is kept of tokens and of the end; the clock's if left out.
    """

    def __init__(
        self, to: Probed, client: SignedClient, clock: Clock, anchor: Anchor, stops: Stops,
        stamp: Callable[[], int] | None = None,
    ) -> None:  # fmt: skip
        self.to = to
        self._client, self._clock, self._anchor, self._stops = client, clock, anchor, stops
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
        """Whether it says that it is halted, and shows no order of these keyholders that stops it now."""
        self.relapsed = False
        """Whether it served again after it had stopped; then it never counts as stopped."""

    async def run(self) -> None:
        """Hold a stream open until the miner has stopped for the first time, or this is cancelled."""
        while True:
            refuses, fault = False, ""
            try:
                await self._stream(self._most, _STREAM_MS)
            except ModelHalted as e:
                at = self._stamp()
                if self._stops.by(e.order, self._clock.now()):
                    self.ended, self.order, self.fault = at, e.order, ""
                    return
                refuses, fault = True, f"it shows no order of these keyholders that stops it now: {e}"
            except (Malformed, TooLarge) as e:
                fault, self._most = str(e), max(_FEWEST, self._most // 2)
            except DavyError as e:
                fault = str(e)
            finally:
                self.flows = False
            self.refuses, self.fault = refuses, fault
            await self._clock.sleep_until(self._clock.now() + _PAUSE_MS)

    async def keep(self) -> None:
        """Hold a stream open until the miner has stopped, then ask it again and again, until it serves or cancelled."""
        await self.run()
        while self.ended is not None:
            await self._clock.sleep_until(self._clock.now() + _AGAIN_MS)
            await self.ask_again()

    async def ask_again(self) -> None:
        """Ask a miner that has stopped for more; by one token it has not."""
        try:
            await self._stream(_FEWEST, _REFUSAL_MS)
        except DavyError:
            pass  # for whatever reason, it serves nothing
        finally:
            self.flows = False

    def _saw_token(self) -> None:
        if self.ended is not None:
            self.ended, self.order, self.relapsed = None, b"", True
        self.tokens, self.token, self.flows = self.tokens + 1, self._stamp(), True
        self.refuses, self.fault = False, _RELAPSED if self.relapsed else ""

    async def _stream(self, most: int, within: int) -> None:
        """Read one answer to its end, of so many tokens, for so many milliseconds.

        Raises
        ------
        DavyError
            ModelHalted only when nothing more comes.
        """
        to = self.to
        asked = CompletionRequest(to.model.hex(), _PROMPT, max_tokens=most, stream=True)
        q = Question(to.endpoint, to.miner, "/v1/completions", to_json(asked), self._anchor, EMPTY_BRAKE_HEAD)
        told: DavyError | None = None
        async with self._client.stream(q, deadline=self._clock.now() + within) as (_, incoming):
            if incoming.status != 200:
                body = b"".join([frame async for frame in incoming.frames])
                raise response_error(Response(incoming.status, incoming.headers, body))
            async for frame in incoming.frames:
                for payload in data_payloads(frame):
                    if payload.startswith(b'{"error"'):
                        told = response_error(Response(451, (), payload))
                    elif payload != DONE:
                        self._saw_token()
        if told is not None:
            raise told if isinstance(told, ModelHalted) else BadAnswer("it broke its answer off by itself")
