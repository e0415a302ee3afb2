"""Writes into a node's log what its operator should do something about, once: see `davy.killswitch.notices`."""

from __future__ import annotations

import logging
from typing import Final

import anyio

from davy.killswitch.brake import on_record
from davy.killswitch.guard import Guard
from davy.killswitch.notices import notices
from davy.protocol.words import ModelId

_LOOK_S: Final = 10.0

_log = logging.getLogger(__name__)


class Telling:
    """A node's notices; `run` lives as long as the node."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._told: dict[ModelId, int] = {}

    async def run(self) -> None:
        """Look whenever something changes, and now and then, until cancelled."""
        while True:
            with anyio.move_on_after(_LOOK_S):
                await self._guard.change()
            self.look()

    def look(self) -> None:
        """Tell what was not told yet; what is over can be told again."""
        if not self._guard.is_open:
            return
        guard = self._guard
        due = {n.topic: n for n in notices(on_record(guard.state), guard.serving, guard.clocks, guard.ahead)}
        for topic, notice in due.items():
            if notice.urgency != self._told.get(topic):
                _log.warning("%s", notice.text)
        if b"" in self._told and b"" not in due:
            _log.warning("this node is not stale any more")
        self._told = {topic: notice.urgency for topic, notice in due.items()}
