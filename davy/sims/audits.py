"""Evidence for mechanisms that read it: rows as reports, and what auditors found, under both arms alike.

A report is the place of a miner in the row that pays (`davy.incentive.places`), so each attack reports as it weighs. In
every epoch auditors draw some columns, the same in both arms, and measure these once more with the honest validators'
eyes but more carefully; of the others they know as much as a careful validator. Labels become known when the rows
measured in the same epoch are revealed.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np

from davy.incentive.evidence import NOTHING, Evidence, Int8
from davy.incentive.fixed_point import Bool, Int64, UInt16
from davy.incentive.places import places
from davy.sims.noise import UNIT_BITS, Draws, Purpose, normal

if TYPE_CHECKING:
    from davy.sims.experiment import Scenario

READERS: Final = ("correlated", "audited")
"""Mechanisms that read evidence: under the others none is made."""


class Audits:
    """Of a chunk of runs: what was found and not told yet, and the window that the mechanism looks back on."""

    def __init__(self, s: Scenario, runs: range) -> None:
        self.s = s
        self._draws = Draws(s.seed, runs, Purpose.AUDITS)
        self._error = normal(s.market.audit_noise, 1.0, 0.0)
        self._found: deque[Int8] = deque()
        self._window: deque[tuple[Int8, Int8]] = deque(maxlen=s.market.window)

    def find(self, quality: Int64, alarms: Int64, *, attacking: bool) -> None:
        """Audit an epoch: `quality` [2, runs, M] as validators would measure it without an error."""
        if self.s.mechanism not in READERS:
            return
        columns, attack, seats = self.s.seats.columns, self.s.attack, self.s.seats
        scores = (quality * self._draws.of(self._error, columns)) >> UNIT_BITS
        if attacking:
            one = attack.judged(scores[1][:, None], quality[1], seats)
            scores[1] = attack.convicted(one, alarms[:, :1], seats)[:, 0]
        order = np.argsort(self._draws.words(columns), axis=-1, kind="stable")
        drawn = np.zeros(order.shape, dtype=np.bool_)
        np.put_along_axis(drawn, order[:, : self.s.market.audits], True, axis=-1)
        self._found.append(np.where(drawn, places(scores), np.int8(NOTHING)))

    def evidence(self, rows: UInt16 | None, missed: Bool) -> Evidence | None:
        """What the mechanism is told when `rows` [2, runs, V, M] were due, but for those that `missed` their reveal."""
        if self.s.mechanism not in READERS or rows is None:
            return None
        said = np.where(missed[..., None], np.int8(NOTHING), places(rows))
        self._window.append((said, self._found.popleft()))
        both = [[np.broadcast_to(each, (*said.shape[:2], *each.shape[2:])) for each in told] for told in self._window]
        reports, labels = (np.stack(each, axis=2) for each in zip(*both, strict=True))
        columns = np.broadcast_to(np.arange(labels.shape[-1], dtype=np.int64), labels.shape)
        return Evidence(reports=reports, labels=labels, columns=columns)
