"""Weights: committed in one epoch, revealed `reveal_epochs` later, each weight bound to what it was given for.

The epochs of a commit are counters in the state, not quotients of heights, so a commit in an epoch's last block is
a commit of that epoch like any other.
"""

from __future__ import annotations

from msgspec.structs import replace

from davy.ledger.rules.facts import neuron_of
from davy.ledger.rules.halts import require_not_barred, require_running, subnet_subject
from davy.ledger.rules.packed import pack_row
from davy.ledger.rules.records import (
    COMMITS,
    NEURONS,
    OUTCOMES,
    RUNNING,
    SUBNETS,
    WEIGHTS,
    Commit,
    CommitsRecord,
    NeuronRecord,
    WeightsRecord,
    neuron_key,
    subnet_key,
)
from davy.ledger.rules.state import State
from davy.protocol.errors import TxCode, TxFailed
from davy.protocol.transaction import CommitWeights, RevealWeights, SetWeights, Weight, weights_commitment
from davy.protocol.words import Moment

_UNKNOWN = "there is no subnet of this netuid; ask /subnets"


def has_permit(s: State, netuid: int, uid: int, neuron: NeuronRecord) -> bool:
    """Whether the last epoch gave this neuron, and not one that had the UID before it, a validator permit."""
    outcome = s.get(OUTCOMES, subnet_key(netuid))
    if outcome is None or uid >= len(outcome.permits) or neuron.registered_at > outcome.height:
        return False
    return outcome.permits[uid] == 1


def commit_weights(s: State, at: Moment, sender: bytes, x: CommitWeights) -> None:
    """Keep a commitment of the running epoch `epoch`; a later one of the same epoch takes its place.

    Raises
    ------
    TxFailed
        NOT_FOUND; HALTED; BARRED; NOT_ENABLED where weights are set openly; WRONG_TIME: not the running epoch;
        NO_PERMIT.
    """
    _open_for_weights(s, at, x.netuid, sender)
    wants = s.need(SUBNETS, subnet_key(x.netuid), _UNKNOWN).hyperparameters
    if not wants.commit_reveal:
        raise TxFailed(TxCode.NOT_ENABLED, "this subnet takes open weights; use set_weights")
    uid = _voter(s, x.netuid, sender)
    epoch = s.need(RUNNING, subnet_key(x.netuid), _UNKNOWN).epoch
    if x.epoch != epoch:
        raise TxFailed(TxCode.WRONG_TIME, f"the running epoch is {epoch}, not {x.epoch}; commit for that one")
    key = neuron_key(x.netuid, uid)
    kept = tuple(c for c in _commits(s, key) if c.epoch != epoch)
    made = Commit(epoch, epoch + wants.reveal_epochs, at.height, x.commitment)
    s.put(COMMITS, key, CommitsRecord((*kept, made)))


def reveal_weights(s: State, at: Moment, sender: bytes, x: RevealWeights) -> None:
    """Open the commitment of `epoch` in the one epoch it is due in; the row replaces the validator's last one.

    It needs no permit any more: whether a row counts is decided at the epoch.

    Raises
    ------
    TxFailed
        NOT_FOUND: no such commit. WRONG_TIME: before or after its epoch. MISMATCH: other weights, another salt, or
        another's commitment. OUT_OF_RANGE: see `well_formed_row`. HALTED; BARRED.
    """
    _open_for_weights(s, at, x.netuid, sender)
    uid, neuron = neuron_of(s, x.netuid, sender)
    key = neuron_key(x.netuid, uid)
    commits = _commits(s, key)
    made = next((c for c in commits if c.epoch == x.epoch), None)
    if made is None:
        raise TxFailed(TxCode.NOT_FOUND, f"this hotkey has no open commit of epoch {x.epoch}")
    running = s.need(RUNNING, subnet_key(x.netuid), _UNKNOWN)
    if running.epoch != made.due:
        raise TxFailed(TxCode.WRONG_TIME, f"it is revealed in epoch {made.due}, and {running.epoch} is running")
    hidden = weights_commitment(s.chain, x.netuid, sender, neuron.registered_at, x.epoch, x.weights, x.salt)
    if hidden != made.commitment:
        raise TxFailed(TxCode.MISMATCH, "this is not what was committed; reveal the same weights and salt")
    well_formed_row(x.weights, running.neurons)
    _keep_commits(s, key, tuple(c for c in commits if c.epoch != x.epoch))
    s.put(WEIGHTS, key, WeightsRecord(at.height, pack_row(x.weights), running.frozen))


def set_weights(s: State, at: Moment, sender: bytes, x: SetWeights) -> None:
    """Replace a validator's row in the open.

    Raises
    ------
    TxFailed
        NOT_FOUND; HALTED; BARRED; NOT_ENABLED where weights are committed; NO_PERMIT; OUT_OF_RANGE: see
        `well_formed_row`.
    """
    _open_for_weights(s, at, x.netuid, sender)
    if s.need(SUBNETS, subnet_key(x.netuid), _UNKNOWN).hyperparameters.commit_reveal:
        raise TxFailed(TxCode.NOT_ENABLED, "this subnet hides weights at first; use commit_weights")
    uid = _voter(s, x.netuid, sender)
    running = s.need(RUNNING, subnet_key(x.netuid), _UNKNOWN)
    well_formed_row(x.weights, running.neurons)
    s.put(WEIGHTS, neuron_key(x.netuid, uid), WeightsRecord(at.height, pack_row(x.weights), running.frozen))


def well_formed_row(weights: tuple[Weight, ...], neurons: int) -> None:
    """Check that a row names each UID once, in order, and none that was never given out.

    Raises
    ------
    TxFailed
        OUT_OF_RANGE.
    """
    last = -1
    for w in weights:
        if not last < w.uid < neurons:
            raise TxFailed(TxCode.OUT_OF_RANGE, f"weights go by rising UID, each below {neurons}; sort them")
        last = w.uid


def expire(s: State, netuid: int, uid: int, epoch: int) -> int | None:
    """At the end of `epoch`, drop what was due in it; whoever did not reveal pays from its next dividends.

    Returns the height of the neuron's earliest commit that is still open.
    """
    key = neuron_key(netuid, uid)
    record = s.get(COMMITS, key)
    if record is None:
        return None
    still = tuple(c for c in record.commits if c.due > epoch)
    if len(still) < len(record.commits):
        _keep_commits(s, key, still)
        neuron = s.need(NEURONS, key, "a UID without a neuron")
        s.put(NEURONS, key, replace(neuron, unrevealed=1))
    return min((c.height for c in still), default=None)


def _open_for_weights(s: State, at: Moment, netuid: int, hotkey: bytes) -> None:
    """A halted miner or model does not stop its hotkey from voting, or the halt would cost it an unrevealed commit."""
    require_running(s, at, subnet_subject(s, netuid), "weighing on this subnet")
    require_not_barred(s, hotkey)


def _voter(s: State, netuid: int, hotkey: bytes) -> int:
    uid, neuron = neuron_of(s, netuid, hotkey)
    if not has_permit(s, netuid, uid, neuron):
        raise TxFailed(TxCode.NO_PERMIT, "no validator permit; hold enough stake over a whole epoch")
    return uid


def _commits(s: State, key: bytes) -> tuple[Commit, ...]:
    record = s.get(COMMITS, key)
    return () if record is None else record.commits


def _keep_commits(s: State, key: bytes, commits: tuple[Commit, ...]) -> None:
    if commits:
        s.put(COMMITS, key, CommitsRecord(commits))
    else:
        s.delete(COMMITS, key)
