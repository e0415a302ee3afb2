"""What a ledger tells beside the headers it pushes, so that nobody has to ask after every block.

The brake is as good as its proof, which the next header completes. What changed is the ledger's word, like every view
that would be asked for instead; where a header was missed nothing is known of what changed meanwhile.
"""

from __future__ import annotations

from typing import NamedTuple

from davy.ledger.client.answers import NewsAnswer
from davy.ledger.client.rpc import to_bytes
from davy.protocol.chain import Proof
from davy.protocol.encoding import decode
from davy.protocol.limits import MAX_RESULT_BYTES
from davy.protocol.proof import verify_presence
from davy.protocol.recorded import BRAKE_KEY, BrakeRecord
from davy.protocol.words import Digest, Height, Netuid


class ToldRecord(NamedTuple):
    """The brake's record after a block, unproved until `check`."""

    height: Height
    raw: bytes
    proof: bytes

    @property
    def record(self) -> BrakeRecord:
        """The record; anybody could have written it.

        Raises
        ------
        Malformed
        """
        return decode(self.raw, BrakeRecord, limit=MAX_RESULT_BYTES)

    def check(self, app_hash: Digest) -> None:
        """Hold it against the app hash in the header after `height`.

        Raises
        ------
        Malformed, Refused
        """
        verify_presence(app_hash, BRAKE_KEY, self.raw, decode(self.proof, Proof, limit=MAX_RESULT_BYTES))


class Heard:
    """The news of an unbroken run of blocks, up to the newest header taken."""

    def __init__(self) -> None:
        self._first: Height | None = None
        """Of the run; None: there is none."""
        self._last: Height = 0
        self._changed: dict[Netuid, Height] = {}
        self._anywhere: Height = 0
        self._brake: ToldRecord | None = None

    def note(self, height: Height, news: NewsAnswer | None) -> None:
        """Take in what came with a header; None, or a header that is not the next one, ends the run."""
        if news is None:
            self.lose()
            return
        if self._first is None or height != self._last + 1:
            self.lose()
            self._first = height
        self._last = height
        if news.changed is None:
            self._anywhere = height
        else:
            self._changed.update(dict.fromkeys(news.changed, height))
        self._brake = ToldRecord(height, to_bytes(news.brake), to_bytes(news.proof)) if news.brake else None

    def lose(self) -> None:
        """Forget all: a header came some other way."""
        self._first, self._brake = None, None
        self._changed.clear()

    def unchanged(self, netuid: Netuid, since: Height) -> bool:
        """Whether no block after `since` had anything to look up on this subnet, as far as headers were taken."""
        if self._first is None or since + 1 < self._first:
            return False
        return max(self._anywhere, self._changed.get(netuid, 0)) <= since

    def brake(self) -> ToldRecord | None:
        """The brake's record after the newest block, if it was told."""
        return self._brake
