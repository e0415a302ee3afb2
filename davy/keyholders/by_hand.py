"""A keyholder who is asked by sheets that are carried there and back: the same questions, the same code, no network.

Two journeys make a signature. With the first the order is shown and, once the person says yes, the commitment comes
back; with the second the share. A further one is needed only where an attempt failed. Where keys or shares are made,
what others echoed goes along with the step after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from davy.keyholders.circle import Circle, Holder
from davy.keyholders.messages import (
    Accede,
    Answer,
    Ask,
    Commit,
    Committed,
    Consider,
    Declined,
    Echoes,
    Finished,
    Noted,
    Proposal,
    Rehearse,
    Sign,
    Waiting,
    Willing,
    proposal_id,
)
from davy.keyholders.server import Attendant
from davy.keyholders.sheets import (
    Answered,
    Question,
    circle_of_sheet,
    question_id,
    read_answer,
    read_question,
    write_sheet,
)
from davy.protocol.errors import DavyError
from davy.protocol.ports import Entropy, KeyStore
from davy.protocol.words import Digest, KeyRole


class Post(Protocol):
    """What carries sheets."""

    async def carry(self, name: str, sheet: str) -> str:
        """Have a sheet brought to a keyholder, and wait for what is brought back, however long it takes."""
        ...


class HandVoice:
    """Another keyholder, asked by sheets: a `davy.keyholders.voice.Voice` that waits until it is cancelled.

    Parameters
    ----------
    generation
        Of the shares in office here: the commitment is asked for with the order, before anything of the other is known.
    """

    def __init__(
        self,
        holder: Holder,
        circle: Circle,
        keys: KeyStore,
        post: Post,
        entropy: Entropy,
        generation: Digest,
        told: Callable[[str, str], None],
    ) -> None:
        self.name, self.key = holder.name, holder.key
        self._circle, self._keys, self._post, self._entropy = circle, keys, post, entropy
        self._generation, self._told = generation, told
        self._attempts: dict[bytes, bytes] = {}
        """By an attempt of the coordinator, the one under which the other committed."""
        self._ahead: tuple[Commit, Committed] | None = None
        self._echoes: list[Echoes] = []

    async def ask(self, ask: Ask, *, patience_ms: int) -> Answer:
        """See `davy.keyholders.voice.Voice.ask`; `patience_ms` is for networks."""
        del patience_ms
        match ask:
            case Consider() | Rehearse() | Accede():
                return await self._consider(ask)
            case Commit():
                return await self._commit(ask)
            case Sign():
                own = self._attempts.get(ask.attempt, ask.attempt)
                if self._ahead is not None and self._ahead[0].attempt == own:
                    self._ahead = None  # its nonces serve this package, and no other
                (answer,) = await self._carried(msgspec.structs.replace(ask, attempt=own))
                return answer
            case Finished():
                return Noted()  # the order itself is carried, or seen on a node
            case Echoes():
                self._echoes.append(ask)
                return Noted()
            case _:
                echoes, self._echoes = self._echoes, []
                answers = await self._carried(*echoes, ask)
                return next((a for a in answers[:-1] if not isinstance(a, Noted)), answers[-1])

    async def _consider(self, ask: Proposal) -> Answer:
        ahead = Commit(proposal_id(ask), self._entropy.bytes(16), self._generation)
        said, committed = await self._carried(ask, ahead)
        if isinstance(said, Willing) and isinstance(committed, Committed):
            self._ahead = ahead, committed
        return said

    async def _commit(self, ask: Commit) -> Answer:
        if self._ahead is not None:
            ahead, committed = self._ahead
            if (ahead.order, ahead.generation) == (ask.order, ask.generation):
                self._attempts[ask.attempt] = ahead.attempt
                return committed
        (answer,) = await self._carried(ask)
        return answer

    async def _carried(self, *asks: Ask) -> tuple[Answer, ...]:
        own = self._keys.public(KeyRole.KEYHOLDER)
        question = Question(1, self._circle.digest, own, self.key, self._entropy.bytes(16), asks)
        sheet = write_sheet(question, self._circle, self._keys)
        while True:
            back = await self._post.carry(self.name, sheet)
            try:
                return read_answer(back, self._circle, own, question).answers
            except DavyError as e:
                self._told(self.name, f"the sheet that came back is not taken: {e}")


async def answer_sheet(text: str, attendants: Sequence[tuple[Circle, Attendant]], keys: KeyStore) -> str | None:
    """Answer a question that was carried here; None where the person has not decided yet.

    Parameters
    ----------
    attendants
        As `davy.keyholders.server.Door` has them: each circle's sheets are read as such.

    Raises
    ------
    TooLarge, Malformed, BadSignature, Misdirected, Unauthorised
        It is no question for this keyholder (`davy.keyholders.sheets.read_question`).
    """
    own = keys.public(KeyRole.KEYHOLDER)
    asked = circle_of_sheet(text)
    circle, attendant = next((each for each in attendants if each[0].digest == asked), attendants[0])
    question = read_question(text, circle, own)
    answers: list[Answer] = []
    for ask in question.asks:
        try:
            said = await attendant.answer(question.sender, ask)
        except DavyError as e:
            said = Declined(str(e)[:500], ())
        if isinstance(said, Waiting):
            return None
        answers.append(said)
    back = Answered(1, circle.digest, own, question.sender, question_id(question), tuple(answers))
    return write_sheet(back, circle, keys)
