"""The making of a key by its members, with their secrets: the crate's vectors of its DKG."""

from __future__ import annotations

from typing import Any, Final, cast

from davy.killswitch import dkg
from davy.killswitch.conformance.reading import (
    by_member,
    check_config,
    count,
    from_hex,
    member,
    member_of,
    note_others,
    octets,
    rows,
    spelt,
)
from davy.killswitch.conformance.report import Report
from davy.killswitch.dkg import Confirmed, Round1Package, Round2Secret, Round2Share, Terms
from davy.killswitch.group import Identifier, Scalar, named, number
from davy.killswitch.keys import check_public
from davy.killswitch.sharing import Polynomial
from davy.protocol.errors import Malformed

_READ: Final = (
    *("identifier", "signing_key", "vss_commitments", "proof_of_knowledge"),
    *("signing_shares", "verifying_share", "signing_share"),
)


def check(content: Any, report: Report) -> None:
    """Compare commitments, proofs, what each dealt to each, and what each then has.

    `signing_shares` of a member is what it received, by sender. `secret` belongs to none of the other numbers.
    """
    inputs, config = member(content, "inputs"), member(content, "config")
    check_config(config, ("MAX_PARTICIPANTS", "MIN_PARTICIPANTS"), report)
    note_others(content, ["inputs", "config"], report)
    given = cast("dict[str, Any]", inputs)
    dealers = [name for name, row in given.items() if isinstance(row, dict) and "vss_commitments" in row]
    note_others(given, [*dealers, spelt(given, "verifying_key", "verifying_key_key")], report)
    for name in dealers:
        note_others(given[name], (*_READ, spelt(given[name], "coefficient", "coefficients")), report)
    found = by_member([given[name] for name in dealers])
    members = tuple(sorted(found, key=number))
    terms = Terms(count(config, "MIN_PARTICIPANTS"), members)
    dkg.check_terms(terms)
    report.equal("members", len(members), count(config, "MAX_PARTICIPANTS"))
    polynomials = {i: Polynomial(_coefficients(found[i])) for i in members}
    packages: list[Round1Package] = []
    for i in members:
        commitment = tuple(from_hex(each, "a commitment") for each in rows(found[i], "vss_commitments"))
        report.equal(f"commitment of {named([i])}", polynomials[i].commitment(), commitment)
        packages.append(Round1Package(1, b"", i, commitment, octets(found[i], "proof_of_knowledge")))
    report.accepts("proofs of knowledge", lambda: dkg.check_round1(terms, packages))
    if report.failures():
        return
    confirmed = Confirmed(dkg.check_round1(terms, packages))
    key = octets(inputs, "verifying_key", "verifying_key_key")
    for i in members:
        received = _received(found[i], i)
        for each in received:
            if each.sender not in polynomials:
                raise Malformed(f"{named([each.sender])} dealt a share and has no commitment in the file")
            expected = polynomials[each.sender].at(i)
            report.equal(f"share of {named([each.sender])} for {named([i])}", expected, each.share)
        _finish(Round2Secret(confirmed, i, polynomials[i].at(i)), received, found[i], key, report)


def _finish(secret: Round2Secret, received: list[Round2Share], row: Any, key: bytes, report: Report) -> None:
    name = named([secret.identifier])

    def holds() -> bool:
        made, public = dkg.part3(secret, received)
        check_public(public)
        has = made.signing_share, made.verifying_share, public.shares()[secret.identifier], made.group_key
        verifying = octets(row, "verifying_share")
        return has == (octets(row, "signing_share"), verifying, verifying, key)

    report.holds(f"keys of {name}", holds)


def _coefficients(row: Any) -> list[Scalar]:
    """All but the constant stand under `coefficient`, or where they are many, in a list."""
    found = member(row, "coefficient", "coefficients")
    others = cast("list[Any]", found) if isinstance(found, list) else [found]
    return [octets(row, "signing_key"), *(from_hex(a, "a coefficient") for a in others)]


def _received(row: Any, recipient: Identifier) -> list[Round2Share]:
    dealt = cast("dict[str, Any]", member(row, "signing_shares"))
    return [Round2Share(1, b"", member_of(s), recipient, from_hex(share, "a share")) for s, share in dealt.items()]
