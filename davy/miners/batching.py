"""One thread that owns a model and makes tokens for all callers at once, off the event loop.

Requests that arrive together start together, as one group padded on the left; groups then take turns, a token each, so
that a long answer never keeps a short one waiting. A request that was cancelled, or whose `stopped` says so, leaves
before the next token is made.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Generic

import anyio
import anyio.to_thread
from anyio import from_thread
from anyio.lowlevel import EventLoopToken, current_token

from davy.miners.backend import Piece, Stopped, Tally
from davy.miners.sampling import pick
from davy.miners.vocabulary import Unfolding, Vocabulary
from davy.models.logits import Logits, Model, R, log_softmax
from davy.network.openai import CompletionRequest
from davy.protocol.errors import Busy

log = logging.getLogger(__name__)

Item = Piece | Tally | Exception


class Line:
    """One request's tokens on their way from the thread to the event loop."""

    def __init__(self, request: CompletionRequest, prompt: list[int], stopped: Stopped, vocabulary: Vocabulary) -> None:
        self.request = request
        self.prompt = prompt
        self.stopped = stopped
        self.cancelled = False
        self.made = 0
        self.token = -1
        self.text = Unfolding(vocabulary, prompt)
        # Every item has its room, so that sending never waits: a count, the pieces, the end.
        self.send, self.receive = anyio.create_memory_object_stream[Item](request.max_tokens + 2)

    def over(self) -> bool:
        return self.cancelled or self.stopped()


class Group(Generic[R]):
    """Lines that started together. `logits` are those of the next token, None until they are computed."""

    def __init__(self, lines: list[Line], rows: R, logits: Logits) -> None:
        self.lines = lines
        self.rows = rows
        self.logits: Logits | None = logits

    def keep(self, wanted: list[bool]) -> None:
        index = [i for i, w in enumerate(wanted) if w]
        if len(index) == len(self.lines):
            return
        self.lines = [self.lines[i] for i in index]
        if index:
            self.rows.keep(index)
            self.logits = None if self.logits is None else self.logits[index]


class Batcher(Generic[R]):
    """The thread; it starts with the first request.

    Parameters
    ----------
    ends
        Tokens that end an answer.
    most
        Rows the model computes at the same time.
    queue
        Lines that may wait for a row.
    wait_s
        An idle model waits so long for company after a first request.
    """

    def __init__(
        self, model: Model[R], vocabulary: Vocabulary, ends: frozenset[int], *, most: int, queue: int, wait_s: float
    ) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._ends = ends
        self._most = most
        self._queue = queue
        self._wait_s = wait_s
        self._waiting: deque[Line] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None

    def check(self) -> None:
        """Whether a line would be taken.

        Raises
        ------
        Busy
        """
        if self._closing:
            raise Busy("this model is being closed; ask again in a moment")
        if len(self._waiting) >= self._queue:
            raise Busy(f"{self._queue} requests wait for this model already; ask again in a moment")

    def submit(self, line: Line) -> None:
        """Let a line wait for the thread. Called on the event loop that reads it.

        Raises
        ------
        Busy
            See `check`.
        """
        with self._wake:
            self.check()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, args=(current_token(),), daemon=True, name="model")
                self._thread.start()
            self._waiting.append(line)
            self._wake.notify()

    async def aclose(self) -> None:
        """End all lines within one token, and the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            await anyio.to_thread.run_sync(self._thread.join)

    def _run(self, loop: EventLoopToken) -> None:
        groups: list[Group[R]] = []
        try:
            while not self._closing:
                fresh = self._collect(self._most - sum(len(g.lines) for g in groups), idle=not groups)
                if fresh:
                    groups += self._begin(fresh, loop)
                for group in groups:
                    self._advance(group, loop)
                groups = [g for g in groups if g.lines]
            over = [*(line for g in groups for line in g.lines), *self._waiting]
            self._deliver(loop, [(line, [Busy("this model was closed; ask again")], True) for line in over])
        except RuntimeError as e:
            # The event loop is gone and with it everybody who waited.
            log.debug("the model's thread ends: %s", e)

    def _collect(self, room: int, *, idle: bool) -> list[Line]:
        """Take what waits; an idle model waits for a first line, and a moment for more."""
        with self._wake:
            if idle:
                self._wake.wait_for(lambda: self._waiting or self._closing)
                until = time.monotonic() + self._wait_s
                while len(self._waiting) < room and not self._closing and (left := until - time.monotonic()) > 0:
                    self._wake.wait(left)
            return [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]

    def _begin(self, lines: list[Line], loop: EventLoopToken) -> list[Group[R]]:
        over = [line for line in lines if line.over()]
        self._deliver(loop, [(line, [], True) for line in over])
        lines = [line for line in lines if line not in over]
        if not lines:
            return []
        try:
            rows, logits = self._model.start([x.prompt for x in lines], max(x.request.max_tokens for x in lines))
        except Exception as e:
            self._deliver(loop, [(line, [e], True) for line in lines])
            return []
        self._deliver(loop, [(line, [Tally(len(line.prompt))], False) for line in lines])
        return [Group(lines, rows, logits)]

    def _advance(self, group: Group[R], loop: EventLoopToken) -> None:
        """One token for each line of a group that is not over."""
        over = [line.over() for line in group.lines]
        self._deliver(loop, [(line, [], True) for line, o in zip(group.lines, over, strict=True) if o])
        group.keep([not o for o in over])
        if not group.lines:
            return
        try:
            if group.logits is None:
                group.logits = self._model.step(group.rows, [line.token for line in group.lines])
            made = self._tokens(group.lines, group.logits)
        except Exception as e:
            self._deliver(loop, [(line, [e], True) for line in group.lines])
            group.lines = []
            return
        group.logits = None
        self._deliver(loop, made)
        group.keep([not last for _, _, last in made])

    def _tokens(self, lines: list[Line], logits: Logits) -> list[tuple[Line, list[Item], bool]]:
        logprobs = log_softmax(logits)
        made: list[tuple[Line, list[Item], bool]] = []
        for line, row in zip(lines, logprobs, strict=True):
            token, logprob, top = pick(row, line.request, line.made)
            line.made += 1
            line.token = token
            ended = token in self._ends
            last = ended or line.made == line.request.max_tokens
            texts: tuple[str, ...] = ()
            if not line.request.return_tokens_as_token_ids:
                texts = tuple(self._vocabulary.text(t) for t, _ in top)
            items: list[Item] = [Piece(token, line.text.add(token, last=last), logprob, top, texts)]
            if ended:
                items.append(Tally(len(line.prompt), finish="stop"))
            made.append((line, items, last))
        return made

    def _deliver(self, loop: EventLoopToken, items: list[tuple[Line, list[Item], bool]]) -> None:
        if items:
            from_thread.run_sync(_hand_over, items, token=loop)


def _hand_over(items: list[tuple[Line, list[Item], bool]]) -> None:
    """On the event loop: give each line its items, and close it after the last."""
    for line, news, last in items:
        try:
            for item in news:
                line.send.send_nowait(item)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            line.cancelled = True
        if last:
            line.send.close()
