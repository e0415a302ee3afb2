"""The ledger's state machine: blocks in, results and app hash out; the same blocks give the same bytes everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from davy.ledger.rules import upgrades
from davy.ledger.rules.block import begin_block, end_block
from davy.ledger.rules.brake import brake_of, brake_order
from davy.ledger.rules.coldkeys import signs_for
from davy.ledger.rules.conservation import issuance, places
from davy.ledger.rules.door import NONCE_WINDOW, Door
from davy.ledger.rules.genesis import genesis_state
from davy.ledger.rules.producers import producing
from davy.ledger.rules.queries import Queries
from davy.ledger.rules.records import CHAIN, ISSUANCE, MAX_RECORD_BYTES, table_of
from davy.ledger.rules.state import Changes, State
from davy.ledger.rules.transactions import (
    Signatures,
    apply_order,
    apply_transaction,
    known_sender,
    open_checked,
    open_checked_order,
)
from davy.ledger.rules.trie import Trie
from davy.protocol.chain import Issuance, Proof, TxResult
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import Malformed, Refused, TxCode, TxFailed
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import MAX_BLOCK_TXS, MAX_PENDING_TXS
from davy.protocol.proof import value_hash
from davy.protocol.transaction import is_brake_order, tx_hash
from davy.protocol.words import Moment


class Verdict(NamedTuple):
    """What the door says of a transaction. Below a signature that is right, `sender` is empty and `nonce` 0.

    An order of keyholders has neither; `order` is its id, and empty for anything else.
    """

    code: TxCode
    message: str
    sender: bytes
    nonce: int
    hash: bytes
    order: bytes = b""


class ProducerUpdate(NamedTuple):
    """A producer that joined, or left."""

    key: bytes
    joined: bool


class BlockResult(NamedTuple):
    """What a block did. `faults`: internal errors that were rolled back, for the operator's log, not consensus."""

    results: tuple[TxResult, ...]
    app_hash: bytes
    producer_updates: tuple[ProducerUpdate, ...]
    changes: Changes
    faults: tuple[str, ...]


class Machine:
    """The state after the last applied block. Not for two threads at once."""

    height: int
    time: int
    app_hash: bytes

    def __init__(self, g: Genesis, state: State, height: int, time: int, begins: tuple[int, ...] | None = None) -> None:
        self.genesis = g
        self._begins = upgrades.begins(chain_id(g)) if begins is None else begins
        state.edition = upgrades.edition(self._begins, height + 1)
        state.first_producers = g.producers
        self.height, self.time = height, time
        self.state = state
        brake_of(state)
        self._known = Signatures(2 * MAX_PENDING_TXS)
        self._door = Door()
        rows = sorted((key, encode(record)) for key, record in state.records.items())
        self._trie = Trie((key, value_hash(value)) for key, value in rows)
        self._queries = Queries(g, state, self.prove)
        self.app_hash = self._trie.root()

    @classmethod
    def from_genesis(cls, g: Genesis, begins: tuple[int, ...] | None = None) -> Machine:
        """The machine before the first block.

        Parameters
        ----------
        begins
            The heights at which editions of the rules begin; those of `upgrades` if not given.

        Raises
        ------
        Malformed
            See `genesis.genesis_state`.
        """
        s = genesis_state(g)
        s.journal.clear()
        return cls(g, s, 0, g.time, begins)

    @classmethod
    def restore(
        cls,
        g: Genesis,
        rows: Iterable[tuple[bytes, bytes]],
        height: int,
        time: int,
        begins: tuple[int, ...] | None = None,
    ) -> Machine:
        """The machine after block `height`, from all rows that `Changes` ever put and did not delete again.

        Raises
        ------
        Malformed
            A row that is no record; rows of another chain or height; rows whose base units do not add up. The app
            hash is for the caller to compare with the block's.
        """
        records: dict[bytes, Wire] = {}
        for key, value in rows:
            records[key] = decode(value, table_of(key).kind, limit=MAX_RECORD_BYTES)
        s = State(records)
        chain, counted = s.get(CHAIN), s.get(ISSUANCE)
        if chain is None or counted is None or chain.chain != chain_id(g):
            raise Malformed("the stored state is of another chain; use the home that belongs to this genesis")
        if counted != Issuance(**{**places(s.records.values()), "height": height}):
            raise Malformed(f"the stored state is not whole at height {height}; restore a backup")
        return cls(g, s, height, time, begins)

    def rows(self) -> Iterable[tuple[bytes, bytes]]:
        """The whole state as `restore` takes it, in key order."""
        return ((key, encode(record)) for key, record in sorted(self.state.records.items()))

    def check_tx(self, raw: bytes, *, at_door: bool = True, waits: bool = False) -> Verdict:
        """Whether a block would take this transaction, by the state after the last block; its rule is not run.

        An order is taken if it would change the state.

        Parameters
        ----------
        at_door
            Its nonce may be as far ahead as `door.room` says, so that a sender can hand in several for one block, and
            it is counted. False: the verdict follows from the state alone, as whoever votes on a block needs it.
        waits
            It is asked about again after a block, and may not lose its place to others (`door.Door.admit`).
        """
        if is_brake_order(raw):
            return self._check_order(raw)
        sender, nonce = b"", 0
        try:
            opened = open_checked(self.state, raw, self._known)
            self._known.remember(opened.hash)
            sender, nonce = opened.body.sender, opened.body.nonce
            owner = signs_for(self.state, sender)
            expected = known_sender(self.state, owner)
            if not expected <= nonce < expected + NONCE_WINDOW:
                raise TxFailed(TxCode.WRONG_NONCE, f"the sender's next nonce is {expected}, not {nonce}; sign again")
            if at_door:
                self._door.admit(self.state, sender, owner, nonce, expected, waits=waits)
        except TxFailed as e:
            return Verdict(e.code, str(e), sender, nonce, tx_hash(raw))
        except MemoryError:
            raise
        except Exception as e:  # an engine stops at an exception, and hands what waits to all others
            return Verdict(TxCode.INTERNAL, _internal(e), sender, nonce, tx_hash(raw))
        return Verdict(TxCode.OK, "", sender, nonce, opened.hash)

    def apply_block(
        self,
        height: int,
        time: int,
        txs: Sequence[bytes],
        evidence: Sequence[bytes] = (),
        absent: Sequence[bytes] = (),
    ) -> BlockResult:
        """Apply the next block. Nothing that stands in `txs` can make it raise.

        Parameters
        ----------
        evidence
            Producers that the engine found to have voted twice, by their addresses (`producers.convict_producer`).
        absent
            Those whose vote for the block before is missing in its commit, likewise (`absences`).

        Raises
        ------
        Refused
            `height` is not the next one: the caller lost or repeated a block. Nothing was changed.
        """
        if height != self.height + 1:
            raise Refused(f"block {height} was handed in after block {self.height}; hand in {self.height + 1}")
        s = self.state
        at = Moment(height, max(time, self.time))
        s.edition = upgrades.edition(self._begins, height)
        faults: list[str] = []
        before = producing(s).seated
        begun = begin_block(s, at, faults, evidence, absent)
        results = tuple(self._deliver(at, index, raw, faults) for index, raw in enumerate(txs))
        end_block(s, at, begun, faults)
        s.put(ISSUANCE, b"", issuance(s, height))
        changes = s.settle()
        for key in sorted(changes.deletes):
            self._trie.delete(key)
        for key, value in changes.puts.items():
            self._trie.put(key, value_hash(value))
        self.height, self.time, self.app_hash = height, at.time, self._trie.root()
        s.edition = upgrades.edition(self._begins, height + 1)
        self._queries.follow(changes)
        self._door.next_block()
        return BlockResult(results, self.app_hash, _updates(before, producing(s).seated), changes, tuple(faults))

    @property
    def producers(self) -> tuple[bytes, ...]:
        """Who makes blocks by the state after the last one, sorted: from two blocks later on."""
        return producing(self.state).seated

    def query(self, path: str, data: bytes) -> bytes:
        """Answer from the state after the last block; the paths are `queries.Queries`'.

        Raises
        ------
        TxFailed
            NOT_FOUND: no such path, or nothing there.
        Malformed
            `data` is not what the path takes.
        """
        return self._queries.answer(path, data, self.height)

    def prove(self, key: bytes) -> tuple[bytes | None, Proof]:
        """The bytes at a key (None: absent) and the proof against `app_hash`; `records` says how keys are made."""
        record = self.state.records.get(key)
        return (None if record is None else encode(record)), self._trie.prove(key)

    def _check_order(self, raw: bytes) -> Verdict:
        s, h = self.state, tx_hash(raw)
        mark = s.savepoint()
        try:
            v = open_checked_order(s, raw, self._known)
            self._known.remember(h)
            brake_order(s, Moment(self.height + 1, self.time), v)
        except TxFailed as e:
            return Verdict(e.code, str(e), b"", 0, h)
        except MemoryError:
            raise
        except Exception as e:
            return Verdict(TxCode.INTERNAL, _internal(e), b"", 0, h)
        finally:
            s.rollback(mark)
        return Verdict(TxCode.OK, "", b"", 0, h, v.id)

    def _deliver(self, at: Moment, index: int, raw: bytes, faults: list[str]) -> TxResult:
        mark = self.state.savepoint()
        try:
            if index >= MAX_BLOCK_TXS:
                raise TxFailed(TxCode.TOO_EXPENSIVE, "the block holds more transactions than it may; hand it in again")
            if is_brake_order(raw):
                apply_order(self.state, at, raw, self._known)
            else:
                apply_transaction(self.state, at, open_checked(self.state, raw, self._known).body)
        except TxFailed as e:
            if e.code is TxCode.INTERNAL:
                faults.append(str(e))
            return TxResult(at.height, index, int(e.code), str(e)[:1_000])
        except MemoryError:  # this machine's, not the transaction's: to go on would fork from the others
            raise
        except Exception as e:  # before its rule began
            self.state.rollback(mark)
            faults.append(_internal(e))
            return TxResult(at.height, index, int(TxCode.INTERNAL), _internal(e)[:1_000])
        return TxResult(at.height, index, int(TxCode.OK), "")


def _internal(e: Exception) -> str:
    return f"internal error: {type(e).__name__}: {e}"


def _updates(before: Sequence[bytes], after: Sequence[bytes]) -> tuple[ProducerUpdate, ...]:
    """By key; both are sorted and without repetition."""
    return tuple(ProducerUpdate(key, key in after) for key in sorted({*before} ^ {*after}))
