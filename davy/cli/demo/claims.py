"""The demo's claims: pure functions over what was read from the ledger, each with its margin.

A margin is how far the measured value is from failing, in the unit of the claim; negative is failed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from davy.cli.demo.cast import CHEATS, GOOD, Cast, Role
from davy.protocol.chain import EpochRecord, Issuance
from davy.protocol.words import Uid

CHEAT_SHARE: Final = 0.05
SELECTIVE_SHARE: Final = 0.5
SEEN_SHARE: Final = 0.9 * SELECTIVE_SHARE
"""The market goes on until the selective miner's pay is down to this: one epoch more or less then decides nothing."""
COPIER_LOSS: Final = 0.02
"""By so much at least sealing must cost the copier: what two equal subnets differ by is less."""


class Claim(NamedTuple):
    """One sentence, whether it held, and by how much."""

    name: str
    sentence: str
    margin: float

    @property
    def holds(self) -> bool:
        return self.margin >= 0


class Facts(NamedTuple):
    """What was read at the end of a run.

    Parameters
    ----------
    sealed, open
        Epochs of the subnet with commit–reveal and of the one without, in order.
    uids
        By node name, on each of the two subnets.
    stakes
        By validator's name, in base units, at the start.
    swap
        Epoch of the sealed subnet in which the first checkpoint was swapped.
    schedule
        What should have been issued by the height of `issuance`.
    killed
        Name of the validator that is killed: what that costs it is not counted for the copier.
    survived
        What each kill should not have lost, by the name of what was killed: empty when nothing was lost.
    """

    cast: Cast
    sealed: Sequence[EpochRecord]
    open: Sequence[EpochRecord]
    sealed_uids: Mapping[str, Uid]
    open_uids: Mapping[str, Uid]
    stakes: Mapping[str, int]
    swap: int
    issuance: Issuance
    schedule: int
    killed: str
    survived: Mapping[str, str]


def nearness(claim: Claim) -> float:
    """How near to failing: the margin. A claim of equality holds by 0 or fails, and holding is near to nothing."""
    return claim.margin or math.inf


def check(facts: Facts) -> list[Claim]:
    """Check every claim."""
    return [
        _good(facts),
        *(_cheat(facts, role) for role in CHEATS),
        _weak(facts),
        _selective(facts),
        _copier(facts),
        _issuance(facts),
        *(_survived(what, lost) for what, lost in facts.survived.items()),
    ]


def earned(records: Sequence[EpochRecord], uid: Uid) -> int:
    """Base units that a UID was paid as a miner."""
    return sum(r.miners[uid] for r in records if uid < len(r.miners))


def dividends(records: Sequence[EpochRecord], uid: Uid) -> int:
    """Base units that a UID's dividends paid."""
    return sum(r.validators[uid] for r in records if uid < len(r.validators))


def copier_ratio(facts: Facts, records: Sequence[EpochRecord], uids: Mapping[str, Uid]) -> float:
    """Dividends per stake of the weight copier ÷ those of an honest validator, from the first swap on."""
    after = [r for r in records if r.epoch >= facts.swap]
    per_stake = {v: dividends(after, uids[v.name]) / facts.stakes[v.name] for v in facts.cast.validators}
    honest = [x for v, x in per_stake.items() if not v.copies and v.name != facts.killed]
    copier = next(x for v, x in per_stake.items() if v.copies)
    return copier / max(sum(honest) / len(honest), 1e-12)


def of_a_good_one(cast: Cast, role: Role, records: Sequence[EpochRecord], uids: Mapping[str, Uid]) -> float:
    """A miner's pay ÷ that of the good miner who earned less; infinite where that one earned nothing."""
    good = min(earned(records, uids[cast.of(g).name]) for g in GOOD)
    return earned(records, uids[cast.of(role).name]) / good if good else math.inf


def _of_a_good_one(facts: Facts, role: Role) -> float:
    return of_a_good_one(facts.cast, role, facts.sealed, facts.sealed_uids)


def _good(facts: Facts) -> Claim:
    paid = sum(sum(r.miners) for r in facts.sealed)
    least = min(earned(facts.sealed, facts.sealed_uids[facts.cast.of(g).name]) for g in GOOD) / max(paid, 1)
    return Claim("good", f"each good miner earns, the one who earns less {least:.3f} of all", least or -1.0)


def _cheat(facts: Facts, role: Role) -> Claim:
    ratio = _of_a_good_one(facts, role)
    return Claim(
        f"cheat: {role}",
        f"the {role} miner earns {ratio:.3f} of a good one, at most {CHEAT_SHARE}",
        CHEAT_SHARE - ratio,
    )


def _weak(facts: Facts) -> Claim:
    ratio = _of_a_good_one(facts, Role.WEAK)
    return Claim("weak", f"the weak miner earns {ratio:.3f} of a good one, less than 1", 1 - ratio)


def _selective(facts: Facts) -> Claim:
    """Over the whole run, and in its last two epochs: it falls further."""
    ratio = _of_a_good_one(facts, Role.SELECTIVE)
    uid, good = facts.sealed_uids[facts.cast.of(Role.SELECTIVE).name], [facts.cast.of(g).name for g in GOOD]
    last = facts.sealed[-2:]
    least = min(earned(last, facts.sealed_uids[name]) for name in good)
    late = earned(last, uid) / least if least else math.inf
    return Claim(
        "selective",
        f"the selective miner earns {ratio:.3f} of a good one, at most {SELECTIVE_SHARE}, and {late:.3f} of it at the "
        "end, not more",
        min(SELECTIVE_SHARE - ratio, ratio - late),
    )


def _copier(facts: Facts) -> Claim:
    sealed = copier_ratio(facts, facts.sealed, facts.sealed_uids)
    openly = copier_ratio(facts, facts.open, facts.open_uids)
    return Claim(
        "weight copier",
        f"per stake the copier earns {sealed:.3f} of an honest validator under commit–reveal, {openly:.3f} "
        f"without, at least {COPIER_LOSS} more",
        openly - sealed - COPIER_LOSS if sealed else -1.0,  # one whose commits came too late shows nothing
    )


def _issuance(facts: Facts) -> Claim:
    issued, unminted = facts.issuance.issued, facts.issuance.unminted
    difference = abs(issued + unminted - facts.schedule)
    return Claim(
        "issuance",
        f"{issued} base units are issued at height {facts.issuance.height} and halts kept {unminted} from it; "
        f"the schedule says {facts.schedule}",
        float(-difference),
    )


def _survived(what: str, lost: str) -> Claim:
    return Claim(f"kill -9: {what}", f"{what} was killed and lost {lost or 'nothing'}", -1.0 if lost else 0.0)
