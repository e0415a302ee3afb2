"""Neurons: how a hotkey gets a UID, what it says it serves, and who loses its UID when a subnet is full."""

from __future__ import annotations

from typing import Final

import numpy as np
from msgspec.structs import replace

from davy.incentive.pruning import immune, kept_by_stake, pruning_score
from davy.killswitch.scope import Subject
from davy.killswitch.verdict import Lapsed, Permitted
from davy.ledger.rules.accounts import burn, debit
from davy.ledger.rules.facts import neuron_of
from davy.ledger.rules.families import forget_family
from davy.ledger.rules.frozen import counted_blocks
from davy.ledger.rules.halts import (
    Verdicts,
    barred,
    kin_asked,
    registrant_subject,
    require_not_barred,
    require_running,
    served_subject,
    spend_kin,
)
from davy.ledger.rules.models import may_serve
from davy.ledger.rules.packed import amounts, flags
from davy.ledger.rules.records import (
    COMING,
    COMMITS,
    HOTKEYS,
    MODELS,
    NEURONS,
    OUTCOMES,
    RUNNING,
    SIGNED_FOR,
    SIGNERS,
    SUBNETS,
    SWAPS,
    TAKEN,
    UIDS,
    WEIGHTS,
    HotkeyRecord,
    NeuronRecord,
    RunningRecord,
    TakenRecord,
    UidRecord,
    neuron_key,
    subnet_key,
)
from davy.ledger.rules.rotation import note_left
from davy.ledger.rules.stake import require_current
from davy.ledger.rules.state import State
from davy.ledger.rules.subnets import SURGE, taken, turnover
from davy.ledger.rules.upgrades import (
    ALL_WORK_COUNTS_SINCE,
    COLDKEYS_APART_SINCE,
    PLACES_COST_SINCE,
    RAISED_ARE_PRUNED_SINCE,
    SERVING_IS_WORK_SINCE,
)
from davy.protocol.chain import ServedModel
from davy.protocol.errors import BadSignature, TxCode, TxFailed
from davy.protocol.limits import MAX_LINEAGE, MAX_MODELS_A_REGISTRANT, MAX_SERVED_MODELS, Hyperparameters
from davy.protocol.manifest import ModelClass
from davy.protocol.signing import Domain, verify
from davy.protocol.transaction import Register, Serve, Served, consent_bytes, weight_subject
from davy.protocol.words import Moment, tokens

KIN_A_HOTKEY: Final = MAX_SERVED_MODELS * (1 + MAX_LINEAGE + 2 * MAX_MODELS_A_REGISTRANT)
"""Models that one block is asked about because of what one hotkey begins to serve: those of the largest `serve`."""
MAX_SUBNETS_A_HOTKEY: Final = 64
MAX_SEATED_BY_STAKE: Final = 64
"""UIDs that stake alone keeps from pruning, at most; and at most a quarter of a subnet."""

_UNKNOWN: Final = "there is no subnet of this netuid; ask /subnets"
_NOBODY: Final = "every neuron is immune, halted or kept by its stake; try again later"


def register(s: State, at: Moment, sender: bytes, x: Register) -> None:
    """Burn the registration price and give `hotkey` a UID: a new one, or in a full subnet that of `least_deserving`.

    Raises
    ------
    TxFailed
        NOT_FOUND: no such subnet. EXISTS: it has a UID there. TOO_EXPENSIVE: the price is above `price_limit`; no
        work is left (`halts.spend_kin`, `least_deserving`). BAD_SIGNATURE: the hotkey did not consent. NOT_OWNER: it is
        another coldkey's, or stands for a coldkey. HALTED: the subnet, the hotkey, or a model that the coldkey
        registered. BARRED: convicted, or replaced. INSUFFICIENT. FULL: SURGE times the wanted registrations were made
        in this epoch, `turnover` UIDs were taken from others, nobody may be pruned, or the hotkey is on
        MAX_SUBNETS_A_HOTKEY subnets.
    """
    key = subnet_key(x.netuid)
    wants = s.need(SUBNETS, key, _UNKNOWN).hyperparameters
    running = s.need(RUNNING, key, _UNKNOWN)
    spend_kin(s, sender)
    require_running(s, at, registrant_subject(s, sender, x.netuid, x.hotkey), "registering", lease=False)
    require_not_barred(s, x.hotkey)
    if s.get(UIDS, key + x.hotkey) is not None:
        raise TxFailed(TxCode.EXISTS, "this hotkey has a UID on this subnet already")
    if running.price > x.price_limit:
        raise TxFailed(
            TxCode.TOO_EXPENSIVE, f"registration burns {tokens(running.price)} tokens now; raise the limit or wait"
        )
    if running.registrations >= SURGE * wants.registrations_an_epoch:
        raise TxFailed(TxCode.FULL, f"this epoch takes no more registrations; try after height {running.ends}")
    try:
        verify(x.hotkey, Domain.CONSENT, consent_bytes(s.chain, sender, x.hotkey), x.consent)
    except BadSignature as e:
        raise TxFailed(TxCode.BAD_SIGNATURE, f"the hotkey's consent: {e}") from None
    hotkey = _owned(s, at, x.hotkey, sender)
    if len(hotkey.netuids) >= MAX_SUBNETS_A_HOTKEY:
        raise TxFailed(TxCode.FULL, f"one hotkey is on at most {MAX_SUBNETS_A_HOTKEY} subnets; use another one")
    debit(s, sender, running.price)
    burn(s, running.price)
    uid = running.neurons
    coming = s.get(COMING, key)
    seats = wants.max_uids if coming is None else min(wants.max_uids, coming.hyperparameters.max_uids)
    if uid >= seats:
        if s.edition >= PLACES_COST_SINCE:
            _take_from_others(s, x.netuid, wants, running)
        uid = _room_by_pruning(s, at, sender, x.netuid, wants, running)
        deregister(s, x.netuid, uid)
    seated = neuron_key(x.netuid, uid)
    subject = weight_subject(x.hotkey, at.height, b"")
    s.put(NEURONS, seated, NeuronRecord(x.hotkey, sender, at.height, (), subject, 0, running.frozen))
    s.put(UIDS, key + x.hotkey, UidRecord(uid))
    s.put(HOTKEYS, x.hotkey, replace(hotkey, netuids=tuple(sorted((*hotkey.netuids, x.netuid)))))
    neurons = max(running.neurons, uid + 1)
    s.put(RUNNING, key, replace(running, neurons=neurons, registrations=running.registrations + 1))


def _room_by_pruning(
    s: State, at: Moment, sender: bytes, netuid: int, wants: Hyperparameters, running: RunningRecord
) -> int:
    """`least_deserving`, looked for once in a block on a subnet where it found nobody."""
    if s.edition >= ALL_WORK_COUNTS_SINCE and netuid in s.full:
        raise TxFailed(TxCode.FULL, _NOBODY)
    s.spend(running.neurons, sender, subnet_key(netuid))
    try:
        return least_deserving(s, at, netuid, wants, running)
    except TxFailed as e:
        if e.code is TxCode.FULL:
            s.full.add(netuid)
        raise


def _take_from_others(s: State, netuid: int, wants: Hyperparameters, running: RunningRecord) -> None:
    """Count a UID that a newcomer takes; so nobody empties a full subnet in one block, nor without raising the price.

    Raises
    ------
    TxFailed
        FULL.
    """
    count = taken(s, netuid, running.epoch)
    if count >= turnover(wants.max_uids):
        raise TxFailed(
            TxCode.FULL, f"the subnet is full, and this epoch takes no more UIDs from others; try after {running.ends}"
        )
    s.put(TAKEN, subnet_key(netuid), TakenRecord(running.epoch, count + 1))


def _owned(s: State, at: Moment, hotkey: bytes, owner: bytes) -> HotkeyRecord:
    """A hotkey's record; it belongs for good to the coldkey that registers it first."""
    h = s.get(HOTKEYS, hotkey)
    if h is None:
        followed = s.edition >= COLDKEYS_APART_SINCE and s.get(SWAPS, hotkey) is not None
        if followed or s.get(SIGNERS, hotkey) or s.get(SIGNED_FOR, hotkey):
            raise TxFailed(TxCode.NOT_OWNER, "this key stands for a coldkey; make a new one")
        return HotkeyRecord(owner, s.parameters.default_take, at.height, (), (), ())
    if h.owner != owner:
        raise TxFailed(TxCode.NOT_OWNER, "this hotkey belongs to another coldkey; make a new one")
    require_current(s, hotkey)
    return h


def least_deserving(s: State, at: Moment, netuid: int, wants: Hyperparameters, running: RunningRecord) -> int:
    """The UID that goes: the lowest emission at the last epoch, of equal ones the oldest, among those past immunity.

    One that was convicted goes before all others. Never one that is halted, nor one that was when the last epoch ended:
    it could not earn. One that is stopped for want of a LEASE is not halted if it is `raised_meanwhile`.

    Never one of the quarter (at most MAX_SEATED_BY_STAKE) of a subnet's UIDs that held the most stake over the last
    epoch. No hyperparameter enters that, so whatever an owner sets, and however many register, validators stay.

    Raises
    ------
    TxFailed
        FULL: everybody is immune or kept by stake. TOO_EXPENSIVE: while an order names any model, the kin of those who
        are asked about is work.
    """
    n = running.neurons
    neurons = [s.need(NEURONS, neuron_key(netuid, uid), "a UID without a neuron") for uid in range(n)]
    convicted = [uid for uid, neuron in enumerate(neurons) if barred(s, neuron.hotkey)]
    if convicted:
        return convicted[0]
    outcome = s.get(OUTCOMES, subnet_key(netuid))
    raised = np.array([raised_meanwhile(s, neuron) for neuron in neurons], dtype=np.bool_)
    was_halted = np.zeros(n, dtype=np.bool_)
    emission, stake = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    if outcome is not None:
        known = np.array([neuron.registered_at <= outcome.height for neuron in neurons])
        emission = np.where(known, amounts(outcome.emission, n), 0)
        stake = np.where(known, amounts(outcome.stake, n), 0)
        was_halted = flags(outcome.halted, n) & known & ~raised
    seated = [counted_blocks(running, neuron.registered_at, neuron.frozen, at.height) for neuron in neurons]
    score = pruning_score(
        emission,
        np.array([neuron.registered_at for neuron in neurons], dtype=np.int64),
        kept_by_stake(stake, MAX_SEATED_BY_STAKE) | was_halted,
        immune(np.array(seated, dtype=np.int64), wants.immunity),
    )
    line: list[int] = np.argsort(score, kind="stable").tolist()
    said = Verdicts(s, at, netuid)
    for uid in line:
        if score[uid] == n:
            break
        if s.edition >= ALL_WORK_COUNTS_SINCE and neurons[uid].model and said.known(neurons[uid]) is None:
            s.spend(kin_asked(s, neurons[uid].coldkey, neurons[uid].model[0].model_id), subnet_key(netuid))
        if isinstance(said.of(neurons[uid]), (Permitted, Lapsed) if raised[uid] else Permitted):
            return uid
    raise TxFailed(TxCode.FULL, _NOBODY)


def raised_meanwhile(s: State, neuron: NeuronRecord) -> bool:
    """Whether the model that a neuron serves was made systemic by its registrant after the neuron had begun to.

    To begin needs a LEASE. If such a neuron kept its UID for want of one, anybody could have a UID for good: by serving
    a model of its own, and then raising its class.
    """
    if s.edition < RAISED_ARE_PRUNED_SINCE or not neuron.model:
        return False
    (served,) = neuron.model
    m = s.need(MODELS, served.model_id, "a neuron serves a model that is not registered").model
    return m.model_class is ModelClass.SYSTEMIC and served.since <= m.class_since


def deregister(s: State, netuid: int, uid: int) -> None:
    """Take a UID from its neuron, with its weights and commits. Stake stays with the hotkey.

    Bonds and results of the last epoch are void by themselves: they are older than the next holder's registration.
    """
    seated = neuron_key(netuid, uid)
    neuron = s.need(NEURONS, seated, "a UID without a neuron")
    hotkey = s.need(HOTKEYS, neuron.hotkey, "a neuron without a hotkey")
    s.put(HOTKEYS, neuron.hotkey, replace(hotkey, netuids=tuple(n for n in hotkey.netuids if n != netuid)))
    forget_family(s, netuid, neuron.hotkey)
    s.delete(UIDS, subnet_key(netuid) + neuron.hotkey)
    s.delete(NEURONS, seated)
    s.delete(WEIGHTS, seated)
    s.delete(COMMITS, seated)


def serve(s: State, at: Moment, sender: bytes, x: Serve) -> None:
    """By a hotkey: replace where it listens and, on each of its subnets, which model it serves (none if not named).

    Where the model changes, so does the neuron's subject: weights given to the old model count zero from now on.

    Raises
    ------
    TxFailed
        NOT_FOUND: the hotkey has no UID on a subnet it names, or never registered. MALFORMED: a subnet named twice,
        or a next fingerprint that is neither empty nor 32 bytes. HALTED: everything, or a subnet, the hotkey, the
        model, what it descends from or another of its registrant's, where it is not what is served there already.
        BARRED, also one that was replaced. What `models.may_serve` refuses. TOO_EXPENSIVE: while an order names any
        model, the kin of each that it begins to serve is work, KIN_A_HOTKEY of it a hotkey and block.
    """
    require_running(s, at, Subject(), "serving")
    require_not_barred(s, sender)
    require_current(s, sender)
    hotkey = s.need(HOTKEYS, sender, "this key is not a registered hotkey; register it first")
    if len(x.endpoint.next) not in (0, 32):
        raise TxFailed(TxCode.MALFORMED, "the next fingerprint is a SHA-256, or empty")
    served = {m.netuid: m for m in x.models}
    if len(served) < len(x.models):
        raise TxFailed(TxCode.MALFORMED, "one UID serves one model a subnet; name each subnet once")
    for m in x.models:
        if m.netuid not in hotkey.netuids:
            raise TxFailed(TxCode.NOT_FOUND, f"this hotkey has no UID on subnet {m.netuid}; register it first")
        may_serve(s, at, m.model_id, m.identity)
        if [b.model_id for b in neuron_of(s, m.netuid, sender)[1].model] != [m.model_id]:
            if s.edition >= SERVING_IS_WORK_SINCE:
                _ask_about(s, sender, hotkey.owner, kin_asked(s, hotkey.owner, m.model_id))
            asked = served_subject(s, m.netuid, sender, hotkey.owner, m.model_id)
            require_running(s, at, asked, f"serving on subnet {m.netuid}")
    s.put(HOTKEYS, sender, replace(hotkey, endpoint=(x.endpoint,)))
    for netuid in hotkey.netuids:
        _serve_on(s, at, netuid, sender, served.get(netuid))


def _ask_about(s: State, hotkey: bytes, owner: bytes, kin: int) -> None:
    """Spend work for one hotkey: as much a block as its largest `serve` needs, so that it leaves room for others."""
    asked = s.kin.get(hotkey, 0) + kin
    if asked > KIN_A_HOTKEY:
        raise TxFailed(TxCode.TOO_EXPENSIVE, "a hotkey changes what it serves once in a block; hand it in again")
    s.spend(kin, owner)
    s.kin[hotkey] = asked


def _serve_on(s: State, at: Moment, netuid: int, hotkey: bytes, m: Served | None) -> None:
    uid, neuron = neuron_of(s, netuid, hotkey)
    before = [(b.model_id, b.identity) for b in neuron.model]
    if before == ([] if m is None else [(m.model_id, m.identity)]):
        return
    if m is None or [b.model_id for b in neuron.model] != [m.model_id]:
        note_left(s, at, neuron)
    model = () if m is None else (ServedModel(m.model_id, m.identity, at.height),)
    subject = weight_subject(hotkey, neuron.registered_at, b"" if m is None else m.model_id)
    s.put(NEURONS, neuron_key(netuid, uid), replace(neuron, model=model, subject=subject))
