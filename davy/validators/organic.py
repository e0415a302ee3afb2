"""The claim of one face: what a miner gives to users comes from the model that it shows to validators.

Gateways keep some exchanges with users; the miner's receipt proves each of them to everybody (`davy.network.exchange`),
so it does not matter under which hotkey a gateway asked or whom it belongs to. There is no private truth for a user's
prompt, so no skill is scored. But the registered files say what the answer must be: it is run again like an answer to a
challenge, and its gap judged by the same calibration. An answer whose emitted tokens are not the reported most likely
ones, or that cannot be read otherwise, is an alarm too. `ALARMS` of them in the window, and the miner earns nothing
until they have left it. Users' prompts can only lower a weight: whoever gets none loses nothing.

Whoever hands exchanges on may choose which. Choosing can hide a liar, but not make one: an honest answer raises no
alarm on any prompt, which is why identity is judged here and skill is not.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from davy.network.exchange import Exchange, Exchanges, open_exchange
from davy.network.openai import CompletionRequest, CompletionResponse, parse_response
from davy.protocol.chain import Neuron
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import BadAnswer, Refused
from davy.protocol.limits import MAX_UIDS
from davy.protocol.ports import Store
from davy.protocol.receipt import Outcome, Receipt
from davy.protocol.words import INT63, ChainId, Hotkey, ModelId
from davy.tasks.answer import Answer, read_tokens
from davy.tasks.identity import Verdict, gap, verdict
from davy.tasks.shape import LISTED, LONGEST_PROMPT, Shapes
from davy.tasks.vocabulary import Vocabulary
from davy.validators.arrived import joined_chunks
from davy.validators.evidence import Exchange as Round
from davy.validators.evidence import Finding
from davy.validators.identity import WINDOW, IdentityEvidence, told_alarms

_log = logging.getLogger(__name__)

A_ROUND: Final = 2
"""Users' answers of a miner that are run again in one round."""
WAITING: Final = 16
"""Exchanges of a miner that wait to be run again, the newest first; the oldest goes."""
POSITIONS: Final = 32
"""Tokens of an answer that are run again."""
_SEEN: Final = 16_384
_UNIT: Final = 10**9
_MAX_BYTES: Final = 16 * 1024 * 1024
_PLACE: Final = b"organic/book"

Reader = Callable[[CompletionRequest, CompletionResponse], Answer]
"""Reads an answer strictly; raises BadAnswer."""


class Face(NamedTuple):
    """Who is judged for what, on every subnet and whenever it registered there."""

    hotkey: Hotkey
    model_id: ModelId


class FaceRecord(Wire):
    """One face's last gaps in billionths of a nat; newest last."""

    hotkey: Hotkey
    model_id: ModelId
    gaps: Annotated[tuple[Annotated[int, Meta(ge=0, le=INT63)], ...], Meta(max_length=WINDOW)]


class FaceBook(Wire):
    """All faces, as they are persisted."""

    version: Annotated[int, Meta(ge=1, le=1)]
    faces: Annotated[tuple[FaceRecord, ...], Meta(max_length=MAX_UIDS)]


class Waiting(NamedTuple):
    """An exchange whose receipt holds, not run again yet."""

    asked: CompletionRequest
    response: CompletionResponse


class OrganicEvidence:
    """Gaps of users' answers; see the head of this file.

    Parameters
    ----------
    identity
        Holds the models that can be run again.
    sources
        Where gateways put their exchanges.
    store
        Keeps the gaps: a restart acquits nobody.
    shapes
        Learn what users' requests look like, so that challenges look the same behind whichever gateway they came.
    """

    name = "users"

    def __init__(
        self,
        identity: IdentityEvidence,
        sources: Sequence[Exchanges],
        read: Reader,
        chain: ChainId,
        store: Store,
        shapes: Shapes,
    ) -> None:
        self._shapes = shapes
        self._identity, self._sources, self._read, self._chain, self._store = identity, sources, read, chain, store
        self._after = [0] * len(sources)
        self._gaps: dict[Face, deque[float]] = {}
        self._waiting: dict[Face, deque[Waiting]] = {}
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._opened = self._changed = False

    async def prepare(self, miners: Sequence[Neuron]) -> None:
        """Collect what gateways put away since, and persist what the round before found.

        Raises
        ------
        StoreFailed
        """
        if not self._opened:
            await self._open()
        await self._identity.prepare(miners)
        faces = {face.hotkey: face for n in miners if (face := face_of(n)) is not None}
        self._forget(faces)
        if self._changed:
            await self._persist()
        for i, source in enumerate(self._sources):
            self._after[i], found = await source.after(self._after[i])
            for exchange in found:
                self._consider(exchange, faces)

    def observe(self, miners: Sequence[Neuron], round: Sequence[Round]) -> None:
        """Run some users' answers of each miner again, those of one model together."""
        due: dict[ModelId, list[tuple[Face, Waiting, Answer]]] = {}
        for face, waiting in self._waiting.items():
            if self._identity.known(face.model_id) is None:
                waiting.clear()  # its files are not at hand: nothing can be said
            for _ in range(min(A_ROUND, len(waiting))):
                w = waiting.pop()  # the newest: whoever turns on its users is seen at once
                try:
                    answer = self._read(w.asked, w.response)
                except BadAnswer as e:
                    _log.info("%s gave a user what cannot be read: %s", face.hotkey.hex()[:16], e)
                    self._note(face, math.inf)
                else:
                    due.setdefault(face.model_id, []).append((face, w, Answer(answer.positions[:POSITIONS])))
        for model_id, asked in due.items():
            self._run_again(model_id, asked)

    def findings(self, miners: Sequence[Neuron], worth: Mapping[Hotkey, float]) -> Mapping[Hotkey, Finding]:
        """Give 0 for a miner whose users get something else, 1 where some of their answers were run again."""
        return {n.hotkey: found for n in miners if (found := self._finding(n)) is not None}

    def _finding(self, n: Neuron) -> Finding | None:
        face = face_of(n)
        known = None if face is None else self._identity.known(face.model_id)
        gaps = [] if face is None else list(self._gaps.get(face, ()))
        if known is None or not gaps:
            return None
        alarmed = told_alarms(gaps, known.calibration, "answers to users", "do not come from its registered files")
        if verdict(gaps, known.calibration) is Verdict.DIFFERENT:
            return Finding(0.0, f"what it gives to users does not come from the model it registered: {alarmed}")
        return Finding(1.0, alarmed)

    def _consider(self, e: Exchange, faces: Mapping[Hotkey, Face]) -> None:
        if e.receipt in self._seen:
            return
        self._seen[e.receipt] = None
        if len(self._seen) > _SEEN:
            self._seen.popitem(last=False)
        try:
            receipt, asked = open_exchange(e, self._chain)
            face = faces.get(receipt.miner)
            if face is None or not counts(receipt, asked, face):
                return
            response = joined_chunks(list(map(parse_response, e.answer))) if e.streamed else parse_response(e.answer[0])
        except Refused as error:
            _log.info("an exchange proves nothing: %s", error)
            return
        self._shapes.observe(asked)
        self._waiting.setdefault(face, deque(maxlen=WAITING)).append(Waiting(asked, response))

    def _run_again(self, model_id: ModelId, asked: Sequence[tuple[Face, Waiting, Answer]]) -> None:
        known = self._identity.known(model_id)
        if known is None:
            return
        try:
            again = known.rerun.log_probabilities(
                [w.asked.prompt for _, w, _ in asked], [[p.chosen for p in a.positions] for _, _, a in asked]
            )
        except Exception:  # a prompt is anybody's: one that a model cannot take ends no validator
            if len(asked) == 1:
                _log.exception("a user's prompt could not be run again")
            else:  # nor does it hide what others were answered
                for one in asked:
                    self._run_again(model_id, [one])
            return
        for (face, _, answer), own in zip(asked, again, strict=True):
            self._note(face, gap(answer, own))

    def _note(self, face: Face, found: float) -> None:
        self._gaps.setdefault(face, deque(maxlen=WINDOW)).append(found)
        self._changed = True

    def _forget(self, asked: Mapping[Hotkey, Face]) -> None:
        """Another model begins without a past. Whoever is not asked now may be halted, and a halt acquits nobody.

        Beyond `MAX_UIDS` the one goes that was noted first.
        """
        for kept in (self._gaps, self._waiting):
            gone = [face for face in kept if asked.get(face.hotkey, face) != face]
            absent = [face for face in kept if face.hotkey not in asked]
            for face in (*gone, *absent[: max(0, len(kept) - len(gone) - MAX_UIDS)]):
                del kept[face]

    async def _open(self) -> None:
        raw = await self._store.get(_PLACE)
        if raw is not None:
            for f in decode(raw, FaceBook, limit=_MAX_BYTES).faces:
                self._gaps[Face(f.hotkey, f.model_id)] = deque((g / _UNIT for g in f.gaps), maxlen=WINDOW)
        self._opened = True

    async def _persist(self) -> None:
        records = tuple(
            FaceRecord(*face, tuple(min(round(min(g, 1e9) * _UNIT), INT63) for g in gaps))
            for face, gaps in self._gaps.items()
        )
        await self._store.put(_PLACE, encode(FaceBook(1, records)))
        self._changed = False


def read_answer(vocabulary: Vocabulary, asked: CompletionRequest, r: CompletionResponse) -> Answer:
    """Read an answer in the subnet's pinned vocabulary; raises BadAnswer."""
    return read_tokens(r, asked, vocabulary)


def face_of(n: Neuron) -> Face | None:
    """A neuron's hotkey and model; None while it serves nothing."""
    return Face(n.hotkey, n.model[0].model_id) if n.model else None


def counts(receipt: Receipt, asked: CompletionRequest, face: Face) -> bool:
    """Whether an exchange says something of this face: its model, finished, and determined by the files.

    How long the model has been served does not enter: another `serve` must not clear what was signed before.
    """
    return (
        receipt.model_id == face.model_id
        and asked.model == face.model_id.hex()
        and receipt.outcome is Outcome.DONE
        and asked.temperature == 0
        and asked.logprobs == LISTED
        and asked.return_tokens_as_token_ids
        and len(asked.prompt.encode()) <= LONGEST_PROMPT
    )
