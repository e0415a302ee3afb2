"""The door for whoever only sends prompts: OpenAI's API, bounded on every side, errors in one sentence.

========================  ================================================================================
``POST /v1/completions``  whole or as server-sent events; `model` is an id, a name, or ``any``
``GET /v1/models``        what is served, not halted, and open to this gateway
``GET /health``           whether requests are answered, and by how many miners; asks for no key
========================  ================================================================================
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import anyio
import msgspec
from anyio.abc import TaskGroup

from davy.gateway.directory import NoSuchModel, NotReady, Place
from davy.gateway.relay import JSON, Means, Patience, Relay
from davy.gateway.wish import read_wish
from davy.network.error_responses import error_response
from davy.network.meter import Meter, Rate, neighbourhood
from davy.network.openai import ModelList, error_body, to_json
from davy.protocol.errors import Busy, DavyError, ModelHalted
from davy.protocol.ports import Response, SignedRequest, StreamReply

_BEARER: Final = "Bearer "


class Limits(NamedTuple):
    """What users of a gateway get."""

    places: int = 256
    """Requests answered at the same time."""
    rate: float = 50.0
    """Requests a second from one address, in the long run."""
    burst: int = 100
    """From one address at once, after a pause."""


class Crowded(Busy):
    """Come back after `retry_after_ms`."""

    def __init__(self, message: str, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Gateway:
    """A gateway's side of the wire to its users (`davy.protocol.ports.Handler`); answers while `opened`.

    Parameters
    ----------
    key
        What users must send as ``Authorization: Bearer KEY``; empty for no key.
    """

    def __init__(
        self, means: Means, *, key: str = "", limits: Limits | None = None, patience: Patience | None = None
    ) -> None:
        self._directory, self._guard, self._clock = means.directory, means.guard, means.clock
        self._relay = Relay(means, patience or Patience())
        self._key = key
        self._limits = limits or Limits()
        self._rates: Meter[str] = Meter(Rate(self._limits.rate, self._limits.burst), means.clock)
        self._inside = 0
        self._tasks: TaskGroup | None = None
        self._started = means.clock.now() // 1000

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Answer; leaving the context ends every stream that runs."""
        async with anyio.create_task_group() as self._tasks:
            yield
            self._tasks.cancel_scope.cancel()

    async def handle(self, request: SignedRequest) -> Response | StreamReply:
        """Answer one request of a user."""
        routes = {
            ("GET", "/health"): self._health,
            ("GET", "/v1/models"): self._models,
            ("POST", "/v1/completions"): self._completions,
        }
        route = routes.get((request.method, request.path))
        try:
            if route is None:
                message = f"there is no {request.method} {request.path[:64]} here; POST /v1/completions"
                return _error(404, message, "invalid_request_error", "not_found")
            if route != self._health and not self._is_known(request):
                return _error(401, "this gateway asks for its API key", "authentication_error", "bad_key")
            return await route(request)
        except NoSuchModel as e:
            return _error(404, str(e), "invalid_request_error", "model_not_found")
        except NotReady as e:
            return _error(503, str(e), "server_error", "unavailable", retry=True)
        except Crowded as e:
            told = error_response(e)
            return told._replace(headers=(*told.headers, ("retry-after-ms", str(e.retry_after_ms))))
        except DavyError as e:
            return error_response(e)

    def _is_known(self, r: SignedRequest) -> bool:
        if not self._key:
            return True
        given = next((value for name, value in r.headers if name == "authorization"), "")
        return hmac.compare_digest(given.encode(), (_BEARER + self._key).encode())

    async def _health(self, _: SignedRequest) -> Response:
        status, code = "ok", 200
        try:
            self._directory.anchor(self._clock.now())
        except NotReady as e:
            status, code = str(e), 503
        places, head = self._directory.places, self._directory.head
        if code == 200 and not places:
            status, code = "no miner serves anything yet", 503
        body = {
            "status": status,
            "height": 0 if head is None else head.height,
            "miners": len({p.neuron.hotkey for p in places}),
            "models": len({p.model_id for p in places}),
            "answering": self._inside,
        }
        return Response(code, (JSON,), msgspec.json.encode(body))

    async def _models(self, _: SignedRequest) -> Response:
        free = [p for p in self._directory.places if self._directory.may_ask(p) and self._is_free(p)]
        return Response(200, (JSON,), to_json(ModelList(self._directory.cards(self._started, free))))

    def _is_free(self, place: Place) -> bool:
        try:
            self._guard.permit(place)
        except (ModelHalted, Busy):
            return False
        return True

    async def _completions(self, request: SignedRequest) -> Response | StreamReply:
        self._admit(request)
        wish = read_wish(request)
        places = self._directory.find(wish.asked.model)
        if self._tasks is None:
            raise NotReady("this gateway is not open yet; ask again in a moment")
        self._inside += 1
        if wish.asked.stream:
            return await self._relay.stream(wish, places, self._tasks, self._left)
        try:
            return await self._relay.whole(wish, places)
        finally:
            self._left()

    def _left(self) -> None:
        self._inside -= 1

    def _admit(self, request: SignedRequest) -> None:
        wait = self._rates.spend(neighbourhood(request.address))
        if wait:
            raise Crowded(f"more than {self._limits.rate:g} requests a second from one address; slow down", wait)
        if self._inside >= self._limits.places:
            raise Crowded(f"{self._limits.places} requests are being answered here; ask again in a moment", 1_000)


def _error(status: int, message: str, kind: str, code: str, *, retry: bool = False) -> Response:
    headers = (JSON, ("x-should-retry", "true" if retry else "false"))
    return Response(status, headers, error_body(message, kind, code))
