"""What may follow in a transcript once there is a key: its shares dealt anew, and one share given back."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any, Final

from davy.killswitch import refresh
from davy.killswitch.conformance.packages import first_round, key_packages, public_package, second_round
from davy.killswitch.conformance.reading import count, member, member_of, note_others, octets, rows, spelt
from davy.killswitch.conformance.report import Report
from davy.killswitch.dkg import Confirmed, Round2Secret, Round2Share, Terms
from davy.killswitch.group import (
    ZERO,
    Identifier,
    Scalar,
    add_scalars,
    is_scalar,
    multiply_scalars,
    named,
    number,
    subtract_scalars,
)
from davy.killswitch.keys import KeyPackage, PublicKeyPackage
from davy.killswitch.repair import RepairTerms, check_repair
from davy.killswitch.sharing import is_vanishing_share, lagrange

Keys = dict[Identifier, KeyPackage]
REFRESH: Final = ("round1", "round2", "key_packages", "public", "signing")
REPAIR: Final = ("lost", "helpers", "deltas", "sigmas", "signing_share")


def refresh_shares(content: Any, public: PublicKeyPackage, keys: Keys, report: Report) -> tuple[PublicKeyPackage, Keys]:
    """Compare `refresh`, which has the sections of a making: `round1`, `round2`, `key_packages` and `public`."""
    section = member(content, "refresh")
    note_others(section, REFRESH, report)
    after = {"t": count(content, "t"), **{name: member(section, name) for name in ("key_packages", "public")}}
    new_public = public_package(after, report)
    new_keys = key_packages(after, new_public, report)
    packages, shares = first_round(section, report), second_round(section, report)
    terms = Terms(public.threshold, tuple(sorted((p.identifier for p in packages), key=number)))
    report.equal("members of the refresh", set(new_keys), set(terms.members))
    report.accepts("proofs of the refresh", lambda: refresh.check_round1(terms, public, packages))
    if report.failures():
        return new_public, new_keys
    confirmed = Confirmed(refresh.check_round1(terms, public, packages))
    for i, key in new_keys.items():
        received = [each for each in shares if each.recipient == i]
        _finish(confirmed, received, (keys[i], public), (key, new_public), report)
    return new_public, new_keys


def _finish(
    confirmed: Confirmed,
    received: list[Round2Share],
    before: tuple[KeyPackage, PublicKeyPackage],
    after: tuple[KeyPackage, PublicKeyPackage],
    report: Report,
) -> None:
    """What a member dealt itself is not in a transcript: it is what is missing between its share and the one before."""
    i = after[0].identifier
    kept = subtract_scalars(after[0].signing_share, before[0].signing_share)
    for each in received:
        kept = subtract_scalars(kept, each.share)
    own = next(p for p in confirmed.checked.packages if p.identifier == i)
    report.holds(f"own part of {named([i])}", lambda: is_vanishing_share(kept, own.commitment, i))
    secret = Round2Secret(confirmed, i, kept)
    report.holds(f"refreshed keys of {named([i])}", lambda: refresh.part3(secret, received, *before) == after)


def repair_share(content: Any, public: PublicKeyPackage, keys: Keys, report: Report) -> None:
    """Compare `repair`: the `helpers`, the `deltas` that they sent each other, their `sigmas`, and the share of `lost`.

    Each helper's deltas add up to its part of the share, so the sigmas of all add up to the share. What a helper keeps
    for itself may be among its deltas, or left out.
    """
    section = member(content, "repair")
    note_others(section, REPAIR, report)
    lost = member_of(member(section, "lost"))
    helpers = tuple(sorted(map(member_of, rows(section, "helpers")), key=number))
    report.accepts("terms of the repair", lambda: check_repair(RepairTerms(public, lost, helpers)))
    deltas: dict[tuple[Identifier, Identifier], Scalar] = {}
    for row in rows(section, "deltas"):
        note_others(row, ("from", "to", "delta"), report)
        deltas[member_of(member(row, "from")), member_of(member(row, "to"))] = octets(row, "delta")
    for row in rows(section, "sigmas"):
        note_others(row, (spelt(row, "identifier", "from"), "sigma"), report)
    sigmas = {member_of(member(row, "identifier", "from")): octets(row, "sigma") for row in rows(section, "sigmas")}
    sent = len(rows(section, "deltas")), len(rows(section, "sigmas"))
    report.equal("one delta and one sigma of each", sent, (len(deltas), len(sigmas)))
    report.equal("deltas and sigmas are scalars", all(map(is_scalar, (*deltas.values(), *sigmas.values()))), True)
    everything = set(product(helpers, repeat=2))
    report.equal("deltas between the helpers", set(deltas) in (everything, set(permutations(helpers, 2))), True)
    report.equal("sigmas of the helpers", set(sigmas), set(helpers))
    if report.failures():
        return
    report.equal("repaired share", octets(section, "signing_share"), keys[lost].signing_share)
    for i in helpers:
        own = multiply_scalars(lagrange(i, helpers, lost), keys[i].signing_share)
        for j in helpers:
            own = subtract_scalars(own, deltas[i, j]) if i != j else own
        report.equal(f"deltas of {named([i])}", deltas.setdefault((i, i), own), own)
    for i in helpers:
        report.equal(f"sigma of {named([i])}", _total([deltas[j, i] for j in helpers]), sigmas[i])


def _total(scalars: list[Scalar]) -> Scalar:
    total = ZERO
    for each in scalars:
        total = add_scalars(total, each)
    return total
