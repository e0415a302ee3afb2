"""What a keyholder has of a key, as a transcript shows it: the packages of the key, of a refresh and of a repair."""

from __future__ import annotations

from typing import Any

from davy.killswitch.conformance import postcard
from davy.killswitch.conformance.reading import (
    by_member,
    count,
    from_hex,
    is_form,
    member,
    member_of,
    note_others,
    octets,
    rows,
    spelt,
)
from davy.killswitch.conformance.report import Report
from davy.killswitch.dkg import Round1Package, Round2Share
from davy.killswitch.group import Identifier, named, number
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, VerifyingShare, check_key, check_public


def public_package(content: Any, report: Report) -> PublicKeyPackage:
    """Read `public`, whose threshold is `t`."""
    row = member(content, "public")
    note_others(row, ("verifying_key", "verifying_shares"), report, forms=True)
    shares = [(member_of(i), from_hex(y, "a verifying share")) for i, y in member(row, "verifying_shares").items()]
    ordered = tuple(VerifyingShare(*each) for each in sorted(shares, key=lambda each: number(each[0])))
    public = PublicKeyPackage(1, count(content, "t"), octets(row, "verifying_key"), ordered)
    report.accepts("public key package", lambda: check_public(public))
    compare_forms(row, "public key package", report, *_public_forms(public))
    return public


def key_packages(content: Any, public: PublicKeyPackage, report: Report) -> dict[Identifier, KeyPackage]:
    """Read `key_packages`, whose rows may name the group's key and the threshold too."""
    keys: dict[Identifier, KeyPackage] = {}
    for i, row in by_member(rows(content, "key_packages")).items():
        known = ("identifier", "signing_share", "verifying_share", "verifying_key", "min_signers")
        note_others(row, known, report, forms=True)
        parts = octets(row, "signing_share"), octets(row, "verifying_share")
        keys[i] = key = KeyPackage(1, i, public.threshold, *parts, public.group_key)
        report.accepts(f"key package of {named([i])}", lambda key=key: check_key(key, public))
        if "verifying_key" in row:
            report.equal(f"verifying key of {named([i])}", octets(row, "verifying_key"), public.group_key)
        if "min_signers" in row:
            report.equal(f"threshold of {named([i])}", count(row, "min_signers"), public.threshold)
        compare_forms(row, f"key package of {named([i])}", report, postcard.from_key(key))
    return keys


def _public_forms(public: PublicKeyPackage) -> tuple[bytes, bytes]:
    """With the threshold, and as the crate wrote it before 3.0.0."""
    whole = postcard.from_public(public)
    return whole, whole[: -1 - len(postcard.varint(public.threshold))]


def compare_forms(row: Any, what: str, report: Report, *forms: bytes) -> None:
    """Compare what stands beside as the crate's own form on the wire with those that it may have."""
    for name in row:
        if is_form(name):
            report.equal(f"{what}, {name}", octets(row, name) in forms, True)


def first_round(section: Any, report: Report) -> list[Round1Package]:
    """Read `round1`: what each committed to."""
    packages: list[Round1Package] = []
    for row in rows(section, "round1"):
        i = member_of(member(row, "identifier"))
        known = ("identifier", spelt(row, "vss_commitment", "vss_commitments"), "proof_of_knowledge")
        note_others(row, known, report, forms=True)
        commitment = tuple(from_hex(each, "a commitment") for each in rows(row, "vss_commitment", "vss_commitments"))
        packages.append(Round1Package(1, b"", i, commitment, octets(row, "proof_of_knowledge")))
        compare_forms(row, f"round one of {named([i])}", report, postcard.from_round1(packages[-1]))
    return packages


def second_round(section: Any, report: Report) -> list[Round2Share]:
    """Read `round2`: what each dealt to each."""
    shares: list[Round2Share] = []
    for row in rows(section, "round2"):
        note_others(row, ("from", "to", "signing_share"), report, forms=True)
        sender, recipient = member_of(member(row, "from")), member_of(member(row, "to"))
        shares.append(Round2Share(1, b"", sender, recipient, octets(row, "signing_share")))
        where = f"share of {named([sender])} for {named([recipient])}"
        compare_forms(row, where, report, postcard.from_round2(shares[-1]))
    return shares
