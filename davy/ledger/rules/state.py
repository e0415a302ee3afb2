"""The records in memory, and what a block changes in them: one journal, savepoints in it, dirty records at the end."""

from __future__ import annotations

from typing import Final, NamedTuple

from davy.killswitch.brake import BrakeState
from davy.killswitch.scope import ModelFacts
from davy.ledger.rules.records import BRAKE, CHAIN, MAX_RECORD_BYTES, PARAMETERS, STAKES, R, Table, table_of
from davy.ledger.rules.upgrades import ALL_WORK_COUNTS_SINCE
from davy.protocol.chain import ModelRecord
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.limits import ChainParameters
from davy.protocol.words import Hotkey, ModelId

WORK_A_COLDKEY: Final = 1 << 14
"""Units that one block spends for what one coldkey does, of each room of work."""
WORK_A_SUBNET: Final = 1 << 16
"""And for those who register on one subnet."""
_KEPT_BRAKES: Final = 8
_KEPT_FACTS: Final = 16_384
_KEPT_HELD: Final = 65_536
_KEY_BYTES: Final = 32
_HOTKEY: Final = slice(len(STAKES.tag), len(STAKES.tag) + _KEY_BYTES)
"""Of a position's key."""


class Changes(NamedTuple):
    """What a block changed in the persisted rows; keys are disjoint."""

    puts: dict[bytes, bytes]
    deletes: set[bytes]


class Held(NamedTuple):
    """What the positions on a hotkey come to."""

    amount: int
    short: dict[tuple[int, int], int]
    """By netuid and epoch in which some position held less than now: how much less all of them counted in it."""


class State:
    """Records by key. Every write is journalled with what stood there before, so that any part can be undone.

    Reads see all writes at once. A savepoint is a position in the journal.
    """

    def __init__(self, records: dict[bytes, Wire]) -> None:
        self.records = records
        self.journal: list[tuple[bytes, Wire | None]] = []
        self.work = 0
        """Units of work that the block's transactions may still spend."""
        self.key_work = 0
        """The same for keys that take another's place: nothing else uses it up."""
        self.spent: dict[tuple[bool, bytes], int] = {}
        """Of work or key work, by coldkey and by netuid, what was spent in this block."""
        self.changed: set[int] = set()
        """Subnets whose hyperparameters this block was asked to change."""
        self.full: set[int] = set()
        """Subnets on which this block found nobody to prune."""
        self.kin: dict[Hotkey, int] = {}
        """By hotkey, how many models this block was asked about because of what that begins to serve."""
        self.edition = 1
        """Of the rules that the next block, or the one that is being made, is made under (`upgrades`)."""
        self.order_room = 0
        """Orders of keyholders that the block may still look at."""
        self.first_producers: tuple[bytes, ...] = ()
        """The genesis': they make blocks until a record says otherwise."""
        self.brakes: dict[bytes, BrakeState] = {}
        """Brakes read from the records, by the digest that stands there for all orders: nothing to undo."""
        self.facts: dict[ModelId, tuple[ModelRecord, ModelFacts]] = {}
        """What orders can know models by, and the records that it follows from: nothing to undo."""
        self.held: dict[Hotkey, Held | None] = {}
        """What follows from all positions on a hotkey, None before it is made; what writes or undoes one drops it."""
        self._encoded: dict[bytes, tuple[Wire, bytes]] = {}
        """What this block wrote last at a key, and its bytes: another record there has others."""

    def get(self, table: Table[R], key: bytes = b"") -> R | None:
        return self.records.get(table.tag + key)  # type: ignore[return-value]  # a tag holds one kind

    def need(self, table: Table[R], key: bytes, missing: str) -> R:
        """Return a record.

        Raises
        ------
        TxFailed
            NOT_FOUND with the sentence `missing`.
        """
        found = self.get(table, key)
        if found is None:
            raise TxFailed(TxCode.NOT_FOUND, missing)
        return found

    def put(self, table: Table[R], key: bytes, record: R) -> None:
        full = table.tag + key
        self.journal.append((full, self.records.get(full)))
        self.records[full] = record
        if table is STAKES:
            self.held.pop(key[:_KEY_BYTES], None)

    def delete(self, table: Table[R], key: bytes) -> None:
        full = table.tag + key
        if full in self.records:
            self.journal.append((full, self.records.pop(full)))
            if table is STAKES:
                self.held.pop(full[_HOTKEY], None)

    def spend(self, units: int, *names: bytes, keys: bool = False) -> None:
        """Pay for work that is not in proportion to a transaction's bytes; a rollback gives nothing back.

        Parameters
        ----------
        names
            For whom: a coldkey, a subnet's key. Each has a part of the block's work, so that it leaves some for others.
        keys
            For a key that takes another's place.

        Raises
        ------
        TxFailed
            TOO_EXPENSIVE: the block, or one of the names, has not that much left.
        """
        counts = self.edition >= ALL_WORK_COUNTS_SINCE
        keys = keys and counts
        if units > (self.key_work if keys else self.work):
            raise TxFailed(TxCode.TOO_EXPENSIVE, "this block has no work left for it; hand it in again")
        parts = {(keys, name): self.spent.get((keys, name), 0) + units for name in names if counts}
        for (_, name), spent in parts.items():
            if spent > (WORK_A_COLDKEY if len(name) == _KEY_BYTES else WORK_A_SUBNET):
                whose = "this coldkey" if len(name) == _KEY_BYTES else "this subnet"
                raise TxFailed(TxCode.TOO_EXPENSIVE, f"{whose} has no part left of this block's work; hand it in again")
        self.spent |= parts
        if keys:
            self.key_work -= units
        else:
            self.work -= units

    def keep_brake(self, digest: bytes, brake: BrakeState) -> None:
        """Keep a brake under the digest of its records, and the present one; the oldest of a few is dropped."""
        present = self.get(BRAKE)
        if present is not None and present.recorded in self.brakes:
            self.brakes[present.recorded] = self.brakes.pop(present.recorded)
        self.brakes[digest] = brake
        while len(self.brakes) > _KEPT_BRAKES:
            del self.brakes[next(iter(self.brakes))]

    def keep_facts(self, i: ModelId, record: ModelRecord, facts: ModelFacts) -> None:
        """Keep what follows from a model's record; the oldest of many is dropped."""
        self.facts[i] = record, facts
        if len(self.facts) > _KEPT_FACTS:
            del self.facts[next(iter(self.facts))]

    def keep_held(self, hotkey: Hotkey, held: Held | None) -> None:
        """Keep what follows from the positions on a hotkey; the oldest of many is dropped."""
        self.held[hotkey] = held
        if len(self.held) > _KEPT_HELD:
            del self.held[next(iter(self.held))]

    @property
    def parameters(self) -> ChainParameters:
        return self.need(PARAMETERS, b"", "the chain has no parameters")

    @property
    def chain(self) -> bytes:
        return self.need(CHAIN, b"", "the chain has no id").chain

    def savepoint(self) -> int:
        """Return a mark that `rollback` returns to."""
        return len(self.journal)

    def rollback(self, mark: int) -> None:
        """Undo every write since `mark`."""
        for key, before in reversed(self.journal[mark:]):
            if before is None:
                self.records.pop(key, None)
            else:
                self.records[key] = before
            if key[:1] == STAKES.tag:
                self.held.pop(key[_HOTKEY], None)
        del self.journal[mark:]

    def touched(self, mark: int) -> dict[bytes, Wire | None]:
        """Keys written since `mark` and what each held at `mark`."""
        before: dict[bytes, Wire | None] = {}
        for key, old in self.journal[mark:]:
            before.setdefault(key, old)
        return before

    def read_back(self, mark: int) -> None:
        """Encode what was written since `mark`, as a restart will read it.

        A record that could not be encoded would stop every node at the end of the block, one that could not be decoded
        at its next start.

        Raises
        ------
        Malformed, TooLarge
            Not a record that `Machine.restore` takes. What has no encoding raises what msgspec does.
        """
        for key in self.touched(mark):
            record, known = self.records.get(key), self._encoded.get(key)
            if record is not None and (known is None or known[0] is not record):
                data = encode(record)
                decode(data, table_of(key).kind, limit=MAX_RECORD_BYTES)
                self._encoded[key] = record, data

    def settle(self) -> Changes:
        """End the block: what differs from its beginning, encoded, in key order; the journal is empty afterwards."""
        puts: dict[bytes, bytes] = {}
        deletes: set[bytes] = set()
        touched = self.touched(0)
        for key in sorted(touched):
            before, now = touched[key], self.records.get(key)
            if now is None:
                if before is not None:
                    deletes.add(key)
            elif now is not before and now != before:
                known = self._encoded.get(key)
                puts[key] = known[1] if known is not None and known[0] is now else encode(now)
        self.journal.clear()
        self._encoded.clear()
        return Changes(puts, deletes)
