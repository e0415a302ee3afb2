"""A keyholder's door: ``POST /keyholder``, from keyholders of the circle only, each request once."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from davy.keyholders.circle import Circle
from davy.keyholders.founding import Founder
from davy.keyholders.mending import Mender
from davy.keyholders.messages import (
    Accede,
    Adopt,
    Answer,
    Ask,
    Begin,
    Boxes,
    Commit,
    Consider,
    Deal,
    Echoes,
    Finished,
    Invite,
    Mend,
    Packages,
    Parts,
    Recall,
    Rehearse,
    RehearseMending,
    Renew,
    Sign,
)
from davy.keyholders.signer import Signer
from davy.keyholders.voice import PATH, Reply, Request
from davy.network.signed import RequestVerifier, read_request
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import Malformed, StoreFailed
from davy.protocol.limits import MAX_REQUEST_BYTES
from davy.protocol.ports import Clock, Response, SignedRequest, Store
from davy.protocol.words import PublicKey

_log = logging.getLogger(__name__)


class Attendant:
    """One keyholder, whoever asks: every part that it takes in ceremonies."""

    def __init__(self, signer: Signer, founder: Founder, mender: Mender) -> None:
        self._signer, self._founder, self._mender = signer, founder, mender
        self._in: dict[PublicKey, Founder | Mender] = {}
        """Who goes through the steps that a keyholder asks for: it coordinates one ceremony at a time."""

    async def answer(self, sender: PublicKey, ask: Ask) -> Answer:
        """Answer a keyholder of the circle.

        Raises
        ------
        Refused, Misconfigured
            See `Signer.answer`, `Founder.answer` and `Mender.answer`.
        """
        match ask:
            case Consider() | Rehearse() | Accede() | Commit() | Sign() | Finished():
                return await self._signer.answer(sender, ask)
            case Invite():
                self._in[sender] = self._founder
                return await self._founder.answer(sender, ask)
            case Renew() | Mend() | RehearseMending():
                self._in[sender] = self._mender
                return await self._mender.answer(sender, ask)
            case Recall() | Adopt():
                return await self._mender.answer(sender, ask)
            case Parts():
                return await self._mender.answer(sender, ask)
            case Begin() | Packages() | Echoes() | Deal() | Boxes():
                return await self._in.get(sender, self._founder).answer(sender, ask)


class _Marks:
    """A door's store that a full disk does not close: keyholders are to halt then, too.

    What was asked stays refused while this process lives. After a restart, a question of the last minutes may be asked
    again; nonces and ceremonies were in memory only, so whoever repeats one gets no share for it.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._is_failing = store, False

    async def get(self, key: bytes) -> bytes | None:
        return await self._store.get(key)

    async def put(self, key: bytes, value: bytes) -> None:
        try:
            await self._store.put(key, value)
        except StoreFailed as e:
            if not self._is_failing:
                _log.warning("questions are answered although the disk takes nothing (%s)", e)
            self._is_failing = True
        else:
            self._is_failing = False


class Door:
    """A `davy.protocol.ports.Handler`; `open` comes before the first request.

    Parameters
    ----------
    attendants
        In each circle that this keyholder belongs to: today's, and the one that is to follow.
    """

    def __init__(
        self, attendants: Sequence[tuple[Circle, Attendant]], own: PublicKey, clock: Clock, store: Store
    ) -> None:
        self._circles = {circle.digest: (circle, attendant) for circle, attendant in attendants}
        self._first, *also = self._circles
        self._verifier = RequestVerifier(own, self._first, clock, _Marks(store), also=also)

    async def open(self) -> None:
        """Read what an earlier process accepted.

        Raises
        ------
        StoreFailed
        """
        await self._verifier.open()

    async def handle(self, request: SignedRequest) -> Response:
        """Answer one request; what is raised becomes an error response."""
        if (request.method, request.path) != ("POST", PATH):
            raise Malformed(f"here listens a keyholder; it takes POST {PATH} from other keyholders only")
        # The verifier refuses a circle that is not known here.
        circle, attendant = self._circles.get(read_request(request).chain, self._circles[self._first])
        caller = await self._verifier.verify(request, admits=lambda key: key in circle.keys)
        asked = decode(request.body, Request, limit=MAX_REQUEST_BYTES)
        answer = await attendant.answer(caller.hotkey, asked.ask)
        return Response(200, (("content-type", "application/octet-stream"),), encode(Reply(1, answer)))
