"""The second half's claims: pure functions over what users, an outsider and the ledger saw of a halt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

from davy.cli.demo.claims import Claim
from davy.cli.demo.council import HALT, LIFT, Given
from davy.cli.demo.prober import Answers
from davy.cli.demo.users import Ended
from davy.protocol.chain import EpochRecord

STOP_MS: Final = 5_000
"""After the signature, by when the last node must have stopped; a halt waits for no block."""
RESUME_S: Final = 40.0


class Rogue(NamedTuple):
    """What became of the miner without a guard."""

    served: int
    """Answers to direct callers after the halt."""
    status: int
    """What the gateway answered who asked for its model."""
    code: str
    burned: str
    """Tokens that its conviction cost its owner; empty where it was not convicted."""
    reason: str
    """Why not."""


class Paid(NamedTuple):
    """What epochs under the halt paid, as fractions of what miners were paid in the last one before."""

    before: float
    """The halted model's honest miner."""
    halted: int
    """Base units paid to those who serve the halted model."""
    withheld: float
    epochs: int


class BrakeFacts(NamedTuple):
    """What was seen. Times are ms after the signature, by the coordinator's and the observers' clock."""

    everybody: int
    halt: Given
    too_few_to_halt: str
    """Why two could not; empty where they could."""
    stopped: Mapping[str, int]
    """When an outsider saw each node refuse, or tell of the order."""
    watched: int
    """Nodes that the outsider looked at."""
    ends: Sequence[Ended]
    attested: Mapping[str, int]
    restarted: Answers
    restored: Answers
    rogue: Rogue
    paid: Paid
    too_few_to_lift: str
    lift: Given
    resumed: float
    """Seconds."""
    drill: Given
    drilled: Mapping[str, int]
    answered_in_drill: int
    records: Sequence[EpochRecord]
    """Of the whole run."""


def check_brake(f: BrakeFacts) -> list[Claim]:
    """Check every claim."""
    return [
        _quorum("two cannot halt", f.too_few_to_halt, f.halt, HALT),
        _time(f),
        _streams(f),
        _attested("halt", f.attested, f.everybody),
        _stays("a restarted miner", f.restarted),
        _stays("a miner on an old backup", f.restored),
        _unpaid(f.paid),
        _withheld(f.paid),
        _gateway(f.rogue),
        _convicted(f.rogue),
        _quorum("three cannot lift", f.too_few_to_lift, f.lift, LIFT),
        _resumes(f.resumed),
        _attested("drill", f.drilled, f.everybody),
        _drill(f),
    ]


def _quorum(name: str, refusal: str, given: Given, needed: int) -> Claim:
    signers = len(given.signers)
    ok = bool(refusal) and signers == needed
    return Claim(name, f"{name}; {signers} of five did ({', '.join(given.signers)})", 0.0 if ok else -1.0)


def _time(f: BrakeFacts) -> Claim:
    times = sorted(f.stopped.values())
    last = times[-1] if times else STOP_MS * 2
    middle = median(times) if times else 0
    return Claim(
        "time to stop",
        f"an outsider saw {len(times)} of {f.watched} nodes stop, half of them within {middle:.0f} ms of the "
        f"signature, the last after {last} ms, at most {STOP_MS}",
        float(STOP_MS - last if len(times) == f.watched else len(times) - f.watched),
    )


def _streams(f: BrakeFacts) -> Claim:
    broken = [e for e in f.ends if e.tokens and e.code and e.at >= f.halt.signed_at]
    signed = sum((e.code, e.order) == ("model_halted", f.halt.raw) for e in broken)
    return Claim(
        "streams",
        f"{len(broken)} users' streams were broken off, {signed} with the signed order, at least 1 and all",
        float(signed - max(1, len(broken))),
    )


def _attested(name: str, attested: Mapping[str, int], everybody: int) -> Claim:
    last = max(attested.values(), default=0)
    return Claim(
        f"attested: {name}",
        f"{len(attested)} of {everybody} nodes attest the {name} on the ledger; the last had stopped after {last} ms",
        float(len(attested) - everybody),
    )


def _stays(who: str, a: Answers) -> Claim:
    sentence = f"{who} refused {a.halted} times and served {a.served}; it should never"
    return Claim(f"stays halted: {who}", sentence, float(-a.served if a.halted else -1))


def _unpaid(p: Paid) -> Claim:
    sentence = f"{p.epochs} epochs under the halt paid {p.halted} base units to who serves the model, the rogue too"
    return Claim("halted earn nothing", sentence, float(-p.halted))


def _withheld(p: Paid) -> Claim:
    return Claim(
        "not to rivals",
        f"{p.withheld:.3f} of miners' pay is not minted under the halt, where the halted miner had {p.before:.3f}; at "
        "least half of that",
        p.withheld - p.before / 2 if p.before else -1.0,
    )


def _gateway(r: Rogue) -> Claim:
    return Claim(
        "gateway refuses",
        f"the gateway answers {r.status} ({r.code}) for the halted model, while the rogue serves",
        0.0 if (r.status, r.code) == (451, "model_halted") else -1.0,
    )


def _convicted(r: Rogue) -> Claim:
    became = (
        f"is convicted by its receipt, which burns {r.burned} tokens" if r.burned else f"is not convicted: {r.reason}"
    )
    return Claim(
        "rogue", f"the rogue served {r.served} direct callers and {became}", 0.0 if r.burned and r.served else -1.0
    )


def _resumes(seconds: float) -> Claim:
    sentence = f"users get the model again {seconds:.1f} s after the LIFT, at most {RESUME_S}"
    return Claim("resumes", sentence, RESUME_S - seconds)


def _drill(f: BrakeFacts) -> Claim:
    return Claim(
        "drill stops nothing",
        f"the gateway answers {f.answered_in_drill} for the drilled model",
        0.0 if f.answered_in_drill == 200 else -1.0,
    )
