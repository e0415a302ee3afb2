"""What the ledger answers, from the state after the last block.

Indexes that only queries need (a coldkey's positions) are derived from the rows and kept beside the state, not in it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from davy.ledger.rules import packed
from davy.ledger.rules.accounts import account
from davy.ledger.rules.coldkeys import owner_by
from davy.ledger.rules.facts import keys_read, neuron_of, subject_facts
from davy.ledger.rules.families import children_of, in_force, parents_of
from davy.ledger.rules.frozen import counted_blocks
from davy.ledger.rules.kept import Kept
from davy.ledger.rules.models import access_of
from davy.ledger.rules.producers import producer_record, producing
from davy.ledger.rules.records import (
    ATTESTATIONS,
    BRAKE,
    BUDGETS,
    CHAIN,
    COMING,
    DRILLS,
    HOTKEYS,
    ISSUANCE,
    MODELS,
    NEURONS,
    ORDERS,
    OUTCOMES,
    PAID,
    RETIRED,
    RUNNING,
    SIGNERS,
    STAKES,
    SUBNETS,
    SWAPS,
    WEIGHTS,
    OutcomeRecord,
    epoch_key,
    neuron_key,
    subnet_key,
)
from davy.ledger.rules.stake import stake_of
from davy.ledger.rules.state import Changes, State
from davy.ledger.rules.take import may_raise
from davy.protocol.chain import (
    Account,
    ColdkeyInfo,
    ComingHyperparameters,
    EpochRecord,
    Family,
    HotkeyInfo,
    LentStake,
    Metagraph,
    ModelRecord,
    ModelState,
    Neuron,
    ProducerInfo,
    ProducerList,
    Proof,
    RevealedRow,
    RowInForce,
    RowsInForce,
    SubnetInfo,
    SubnetList,
)
from davy.protocol.encoding import Wire, encode
from davy.protocol.errors import Malformed, TxCode, TxFailed
from davy.protocol.genesis import Genesis
from davy.protocol.limits import MAX_ACCESSES_ASKED, MAX_BRAKE_PAGE, MAX_RESULT_BYTES
from davy.protocol.recorded import (
    AccessList,
    AttestationPage,
    Attested,
    BrakePage,
    OrderRecord,
    ProvedRow,
    SubjectFacts,
    SubjectRows,
)

_PAGE_BYTES: Final = MAX_RESULT_BYTES // 4
"""Of rows: what is made at one go, or the ledger would do nothing else for long."""
_WEIGHT_BYTES: Final = 7
_ROW_BYTES: Final = 18
_AMOUNT_BYTES: Final = 9
"""The most that the encoding takes for them."""


class Queries:
    """Answers by path.

    /nonce /metagraph /weights /epoch /subnets /coming /model /issuance /parameters /genesis /brake /attestations
    /subject /subject_rows /hotkey /subnet /neuron /model_state /access /budget /family /coldkey /producers
    """

    def __init__(self, g: Genesis, s: State, prove: Callable[[bytes], tuple[bytes | None, Proof]]) -> None:
        self._genesis, self._state, self._prove = g, s, prove
        self._positions: dict[bytes, set[bytes]] = {}
        self._kept = Kept()
        self._orders: dict[bytes, int] = {}
        """Keys of orders and drills, and their numbers."""
        self._answers: dict[bytes, list[bytes]] = {}
        """Who answered an order, sorted."""
        for key in s.records:
            if key[:1] != ATTESTATIONS.tag:
                self._index(key, stands=True)
        for key in sorted(key for key in s.records if key[:1] == ATTESTATIONS.tag):
            self._index(key, stands=True)
        self._paths: dict[str, Callable[[bytes, int], Wire]] = {
            "/nonce": self._account,
            "/metagraph": self._metagraph,
            "/weights": self._weights,
            "/epoch": self._epoch,
            "/subnets": self._subnets,
            "/coming": self._coming,
            "/model": self._model,
            "/brake": self._brake,
            "/attestations": self._attestations,
            "/subject": self._subject,
            "/subject_rows": self._subject_rows,
            "/hotkey": self._hotkey,
            "/subnet": self._subnet,
            "/neuron": self._neuron,
            "/model_state": self._model_state,
            "/access": self._access,
            "/budget": lambda data, height: s.need(BUDGETS, _exactly(data, 32), "there is no budget of this id"),
            "/family": self._family,
            "/coldkey": self._coldkey,
            "/producers": self._producers,
            "/issuance": lambda data, height: s.need(ISSUANCE, _exactly(data, 0), "the chain has no issuance"),
            "/parameters": lambda data, height: s.parameters,
            "/genesis": lambda data, height: g,
        }

    def answer(self, path: str, data: bytes, height: int) -> bytes:
        """Answer a query.

        Raises
        ------
        TxFailed, Malformed
            See `Machine.query`.
        """
        kept = self._kept.get(path, data)
        if kept is not None:
            return kept
        if path not in self._paths:
            raise TxFailed(TxCode.NOT_FOUND, f"there is no query of this name; the names are: {', '.join(self._paths)}")
        raw = encode(self._paths[path](data, height))
        if len(raw) > MAX_RESULT_BYTES:
            raise TxFailed(TxCode.OUT_OF_RANGE, f"the answer has {len(raw)} bytes, and at most {MAX_RESULT_BYTES} go")
        self._kept.note(path, data, raw)
        return raw

    def follow(self, changes: Changes) -> None:
        """Bring the indexes up to a block."""
        self._kept.follow(changes.puts.keys() | changes.deletes)
        for key in changes.deletes:
            self._index(key, stands=False)
        for key in changes.puts:
            self._index(key, stands=True)

    def _index(self, key: bytes, *, stands: bool) -> None:
        if key[:1] == STAKES.tag:
            hotkey, coldkey = key[1:33], key[33:]
            held = self._positions.setdefault(coldkey, set())
            held.add(hotkey) if stands else held.discard(hotkey)
        elif key[:1] in (ORDERS.tag, DRILLS.tag):
            row = self._state.records.get(key)
            if isinstance(row, OrderRecord):
                self._orders[key] = row.number
            else:
                self._orders.pop(key, None)
        elif key[:1] == ATTESTATIONS.tag:
            _keep_sorted(self._answers.setdefault(key[1:33], []), key[33:], stands=stands)
            if not self._answers[key[1:33]]:
                del self._answers[key[1:33]]

    def _account(self, data: bytes, height: int) -> Account:
        key = owner_by(self._state, _exactly(data, 32))
        a = account(self._state, key)
        stakes = tuple((h, stake_of(self._state, h, key)) for h in sorted(self._positions.get(key, ())))
        return Account(a.nonce, a.free, a.unbonding, stakes)

    def _hotkey(self, data: bytes, height: int) -> HotkeyInfo:
        s = self._state
        h = s.need(HOTKEYS, _exactly(data, 32), "the ledger does not know this hotkey; register it first")
        owned = stake_of(s, data, h.owner)
        everything = sum(stake_of(s, data, coldkey) for coldkey in h.delegators)
        return HotkeyInfo(data, h.owner, h.take, may_raise(s, h), owned, everything - owned, h.netuids)

    def _metagraph(self, data: bytes, height: int) -> Metagraph:
        netuid = int.from_bytes(_exactly(data, 2), "big")
        info = subnet_info(self._state, netuid)
        return Metagraph(height, info, tuple(neurons(self._state, netuid, height)))

    def _weights(self, data: bytes, height: int) -> RowsInForce:
        """Of a subnet (2 bytes); or a page of them, from a UID on (2 more)."""
        subnet, first = _paged(data, 2)
        netuid = int.from_bytes(subnet, "big")
        n = self._state.need(RUNNING, subnet, "there is no subnet of this netuid; ask /subnets").neurons
        found = ((uid, self._state.get(WEIGHTS, neuron_key(netuid, uid))) for uid in range(first or 0, n))
        rows = [(uid, w) for uid, w in found if w is not None]
        taken = _taken([packed.row_length(w.row) for _, w in rows], 0, page=first is not None)
        told = (RowInForce(uid, w.height, packed.row_pairs(w.row)) for uid, w in rows[:taken])
        return RowsInForce(netuid, height, tuple(told))

    def _epoch(self, data: bytes, height: int) -> EpochRecord:
        """Of a subnet, by number (10 bytes); or with a page of its rows, from a UID on (2 more)."""
        which, first = _paged(data, 10)
        return epoch_record(self._state, int.from_bytes(which[:2], "big"), int.from_bytes(which[2:], "big"), first)

    def _subnets(self, data: bytes, height: int) -> SubnetList:
        _exactly(data, 0)
        return SubnetList(tuple(subnet_info(self._state, n) for n in self._state.need(CHAIN, b"", "no chain").netuids))

    def _coming(self, data: bytes, height: int) -> ComingHyperparameters:
        netuid = int.from_bytes(_exactly(data, 2), "big")
        ends = self._state.need(RUNNING, data, "there is no subnet of this netuid; ask /subnets").ends
        coming = self._state.get(COMING, data)
        return ComingHyperparameters(netuid, ends, () if coming is None else (coming.hyperparameters,))

    def _model(self, data: bytes, height: int) -> ModelRecord:
        return self._state.need(MODELS, _exactly(data, 32), "no model of this id is registered").model

    def _model_state(self, data: bytes, height: int) -> ModelState:
        found = self._state.need(MODELS, _exactly(data, 32), "no model of this id is registered")
        retired = self._state.get(RETIRED, data)
        return ModelState(found.model, found.bond, 0 if retired is None else retired.leaves)

    def _access(self, data: bytes, height: int) -> AccessList:
        """Of one model (32 bytes) or several, MAX_ACCESSES_ASKED at most."""
        models = [data[n : n + 32] for n in range(0, len(data), 32)]
        if not models or len(models[-1]) != 32 or len(models) > MAX_ACCESSES_ASKED:
            raise Malformed(f"this query takes 32 bytes for each of up to {MAX_ACCESSES_ASKED} models, not {len(data)}")
        return AccessList(tuple(access_of(self._state, model) for model in models))

    def _subnet(self, data: bytes, height: int) -> SubnetInfo:
        return subnet_info(self._state, int.from_bytes(_exactly(data, 2), "big"))

    def _neuron(self, data: bytes, height: int) -> Neuron:
        """A hotkey's neuron on a subnet (34 bytes)."""
        netuid = int.from_bytes(_exactly(data, 34)[:2], "big")
        uid, _ = neuron_of(self._state, netuid, data[2:])
        return next(islice(neurons(self._state, netuid, height, uid), 1))

    def _family(self, data: bytes, height: int) -> Family:
        """Of a hotkey on a subnet (34 bytes)."""
        s, netuid, hotkey = self._state, int.from_bytes(_exactly(data, 34)[:2], "big"), data[2:]
        epoch = s.need(RUNNING, data[:2], "there is no subnet of this netuid; ask /subnets").epoch
        record = children_of(s, netuid, hotkey)
        parents = (
            LentStake(parent, loan.proportion)
            for parent in parents_of(s, netuid, hotkey, epoch)
            for loan in in_force(children_of(s, netuid, parent), epoch)
            if loan.hotkey == hotkey
        )
        now, coming = (
            tuple(LentStake(loan.hotkey, loan.proportion) for loan in loans)
            for loans in (in_force(record, epoch), record.coming)
        )
        return Family(netuid, hotkey, epoch, now, coming, tuple(parents))

    def _coldkey(self, data: bytes, height: int) -> ColdkeyInfo:
        """By the name of what it owns, or by the key that signs for it."""
        owner = owner_by(self._state, _exactly(data, 32))
        signer, swap = self._state.get(SIGNERS, owner), self._state.get(SWAPS, owner)
        return ColdkeyInfo(owner, owner if signer is None else signer.key, 0 if swap is None else swap.due)

    def _producers(self, data: bytes, height: int) -> ProducerList:
        _exactly(data, 0)
        p = producing(self._state)
        told = (
            ProducerInfo(key, r.owner, r.bond, key in p.waiting, key in p.leaving)
            for key in (*p.seated, *p.waiting)
            for r in (producer_record(self._state, key),)
        )
        return ProducerList(height, tuple(told))

    def _brake(self, data: bytes, height: int) -> BrakePage:
        """Orders and drills from a number on (8 bytes), MAX_BRAKE_PAGE at most."""
        first = int.from_bytes(_exactly(data, 8), "big")
        keys = sorted((n, key) for key, n in self._orders.items() if n >= first)
        rows = tuple(self._order(key) for _, key in keys[:MAX_BRAKE_PAGE])
        said = self._state.need(BRAKE, b"", "the chain has no brake")
        return BrakePage(height, said, rows, len(keys) > MAX_BRAKE_PAGE)

    def _order(self, key: bytes) -> OrderRecord:
        return self._state.need(ORDERS if key[:1] == ORDERS.tag else DRILLS, key[1:], "an order without a record")

    def _attestations(self, data: bytes, height: int) -> AttestationPage:
        """Answers to an order (32 bytes) by hotkeys above another (32 more, zeros for all), MAX_BRAKE_PAGE at most."""
        order, after = _exactly(data, 64)[:32], data[32:]
        answered = self._answers.get(order, [])
        first = bisect_right(answered, after)
        nodes = answered[first : first + MAX_BRAKE_PAGE + 1]
        told = (Attested(n, self._state.need(ATTESTATIONS, order + n, "no answer")) for n in nodes[:MAX_BRAKE_PAGE])
        return AttestationPage(height, tuple(told), len(nodes) > MAX_BRAKE_PAGE)

    def _subject(self, data: bytes, height: int) -> SubjectFacts:
        """What the brake is asked about: a hotkey on a subnet (34 bytes) with what it serves, or with a model (32)."""
        return subject_facts(self._state, height, *_place(data))

    def _subject_rows(self, data: bytes, height: int) -> SubjectRows:
        """What `/subject` is read from, each row with its proof."""
        rows: list[ProvedRow] = []
        for key in keys_read(self._state, *_place(data)):
            value, proof = self._prove(key)
            rows.append(ProvedRow(key, () if value is None else (value,), proof))
        return SubjectRows(height, tuple(rows))


def subnet_info(s: State, netuid: int) -> SubnetInfo:
    """A subnet as the ledger answers it.

    Raises
    ------
    TxFailed
        NOT_FOUND.
    """
    key = subnet_key(netuid)
    x = s.need(SUBNETS, key, "there is no subnet of this netuid; ask /subnets")
    r = s.need(RUNNING, key, "a subnet without epochs")
    return SubnetInfo(
        netuid, x.owner, x.task, x.mechanism, x.hyperparameters, x.share, r.epoch, r.ends, r.price, r.pending
    )


def neurons(s: State, netuid: int, height: int, first: int = 0) -> Iterator[Neuron]:
    """A subnet's neurons by UID, from `first` on; what the last epoch found is zero for those who came after it."""
    key = subnet_key(netuid)
    running = s.need(RUNNING, key, "a subnet without epochs")
    n = running.neurons
    cutoff = s.need(SUBNETS, key, "no such subnet").hyperparameters.activity_cutoff
    outcome = s.get(OUTCOMES, key)
    found = None if outcome is None else _found(outcome, n)
    for uid in range(first, n):
        neuron = s.need(NEURONS, neuron_key(netuid, uid), "a UID without a neuron")
        hotkey = s.need(HOTKEYS, neuron.hotkey, "a neuron without a hotkey")
        row = s.get(WEIGHTS, neuron_key(netuid, uid))
        last, frozen = (neuron.registered_at, neuron.frozen) if row is None else (row.height, row.frozen)
        new = outcome is None or neuron.registered_at > outcome.height
        results = dict.fromkeys(FOUND, 0) if new or found is None else {name: found[name][uid] for name in FOUND}
        yield Neuron(
            uid=uid,
            hotkey=neuron.hotkey,
            coldkey=neuron.coldkey,
            registered_at=neuron.registered_at,
            last_update=last,
            stake=sum(stake_of(s, neuron.hotkey, coldkey) for coldkey in hotkey.delegators),
            permit=results.pop("permits") == 1,
            active=counted_blocks(running, last, frozen, height) <= cutoff,
            endpoint=hotkey.endpoint,
            model=neuron.model,
            **results,
        )


FOUND: Final = (
    "permits", "consensus", "incentive", "dividends", "trust", "validator_trust", "emission", "earned",
)  # fmt: skip
"""What of an `OutcomeRecord` a `Neuron` shows."""


def _found(outcome: OutcomeRecord, n: int) -> dict[str, list[int]]:
    kinds = {"permits": packed.flags, "emission": packed.amounts, "earned": packed.amounts}
    return {field: [int(v) for v in kinds.get(field, packed.shares)(getattr(outcome, field), n)] for field in FOUND}


def epoch_record(s: State, netuid: int, epoch: int, first: int | None = None) -> EpochRecord:
    """What an epoch paid, and which rows voted; or a page of these, from UID `first` on.

    Raises
    ------
    TxFailed
        NOT_FOUND: it has not ended, was skipped, paid nobody, or is older than the records kept. OUT_OF_RANGE: it is
        told in pages only.
    """
    paid = s.need(
        PAID, epoch_key(netuid, epoch), f"there is no record of epoch {epoch}; see the subnet's running epoch"
    )
    n = len(paid.miners) // 8
    rows = [(uid, row) for uid, row in zip(paid.voters, paid.weights, strict=True) if uid >= (first or 0)]
    taken = _taken([packed.pairs_length(row) for _, row in rows], n, page=first is not None)
    return EpochRecord(
        netuid,
        epoch,
        paid.height,
        paid.minted,
        paid.owner,
        tuple(packed.amounts(paid.miners, n).tolist()),
        tuple(packed.amounts(paid.validators, n).tolist()),
        tuple(RevealedRow(uid, packed.pairs(row)) for uid, row in rows[:taken]),
    )


def _taken(rows: Sequence[int], paid: int, *, page: bool) -> int:
    """How many of these rows, by the weights they hold, are told: at least one in a page, else all.

    Raises
    ------
    TxFailed
        OUT_OF_RANGE: all would be too many; nothing was made of them.
    """
    size, most = 128 + 2 * paid * _AMOUNT_BYTES, _PAGE_BYTES if page else MAX_RESULT_BYTES
    for i, weights in enumerate(rows):
        size += _ROW_BYTES + weights * _WEIGHT_BYTES
        if size > most and not page:
            said = "add the UID, in two bytes, from which on you want the next rows; go on until there are none"
            raise TxFailed(TxCode.OUT_OF_RANGE, f"these rows are told in pages only: {said}")
        if size > most and i:
            return i
    return len(rows)


def _paged(data: bytes, width: int) -> tuple[bytes, int | None]:
    """What a query asks about, and the UID from which on it wants a page (None: everything)."""
    if len(data) == width + 2:
        return data[:width], int.from_bytes(data[width:], "big")
    return _exactly(data, width), None


def _place(data: bytes) -> tuple[int, bytes, bytes | None]:
    """A hotkey on a subnet (34 bytes), and a model if one is named (32 more)."""
    _exactly(data, 66 if data[34:] else 34)
    return int.from_bytes(data[:2], "big"), data[2:34], data[34:] or None


def _keep_sorted(names: list[bytes], name: bytes, *, stands: bool) -> None:
    """Put a name among others, or take it away, once."""
    at = bisect_left(names, name)
    known = names[at : at + 1] == [name]
    if stands and not known:
        names.insert(at, name)
    elif known and not stands:
        del names[at]


def _exactly(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise Malformed(f"this query takes {length} bytes of data, not {len(data)}")
    return data
