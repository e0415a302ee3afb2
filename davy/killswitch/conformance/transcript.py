"""A run of the crate from the making of a key to a signature, as its members saw it."""

from __future__ import annotations

from collections.abc import Collection
from itertools import permutations
from typing import Any, cast

from davy.killswitch import dkg, frost
from davy.killswitch.conformance import mended, postcard
from davy.killswitch.conformance.packages import (
    compare_forms,
    first_round,
    key_packages,
    public_package,
    second_round,
)
from davy.killswitch.conformance.reading import (
    BadFile,
    count,
    member,
    member_of,
    note_others,
    octets,
    rows,
    spelt,
)
from davy.killswitch.conformance.report import Report
from davy.killswitch.dkg import Confirmed, Round2Secret, Round2Share, Terms
from davy.killswitch.frost import Nonces, SignatureShare, SigningCommitments
from davy.killswitch.group import CONTEXT, Identifier, named, number, subtract_scalars
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, VerifyingShare
from davy.killswitch.sharing import committed, is_share, sum_of_commitments
from davy.protocol.signing import verify_raw

_READ = {"ciphersuite", "n", "t", "dkg", "key_packages", "public", "signing", "refresh", "repair"}
_ROUND_ONE = ("identifier", "hiding_nonce", "binding_nonce", "hiding_commitment", "binding_commitment")
_WITH_A_KEY = {"public", "key_packages", "signing", "refresh", "repair"}
_WITH_KEYS = _WITH_A_KEY - {"public"}


def check(content: dict[str, Any], report: Report) -> None:
    """Compare proofs, shares, keys, and each signature, and every form on the wire that stands beside them.

    A transcript may end with the making of the key, or with the keys; a refresh and a repair may follow.
    """
    made_by = ["crate"] if str(content.get("crate", "")).startswith("frost-ed25519 ") else []
    note_others(content, [*_READ, *made_by], report)
    if content.get("ciphersuite", CONTEXT.decode()) != CONTEXT.decode():
        raise BadFile(f"its ciphersuite is another than {CONTEXT.decode()}")
    public = public_package(content, report) if content.keys() & _WITH_A_KEY else None
    keys = key_packages(content, public, report) if public and content.keys() & _WITH_KEYS else {}
    if "dkg" in content:
        _make(content, public, keys, report)
    elif public:
        n = count(content, "n") if "n" in content else len(public.shares())
        report.equal("members", (len(public.shares()), set(keys)), (n, set(public.shares())))
    if public:
        _signings(content, public, keys, report)
        if _is_read(content, "repair", mended.REPAIR, report):
            mended.repair_share(content, public, keys, report)
        if _is_read(content, "refresh", mended.REFRESH, report):
            new_public, new_keys = mended.refresh_shares(content, public, keys, report)
            _signings(content["refresh"], new_public, new_keys, report)


def _is_read(content: dict[str, Any], name: str, shape: Collection[str], report: Report) -> bool:
    """Whether there is such a section; one with none of the members that such a section has here is noted instead."""
    section = content.get(name)
    if isinstance(section, dict) and any(each in shape for each in cast("dict[str, Any]", section)):
        return True
    report.unread += [name] if name in content else []
    return False


def _signings(section: Any, public: PublicKeyPackage, keys: dict[Identifier, KeyPackage], report: Report) -> None:
    if "signing" in section:
        signings = member(section, "signing")
        for signing in rows(section, "signing") if isinstance(signings, list) else [signings]:
            _sign(signing, public, keys, report)


def _make(content: Any, public: PublicKeyPackage | None, keys: dict[Identifier, KeyPackage], report: Report) -> None:
    made = member(content, "dkg")
    note_others(made, ("round1", "round2"), report)
    packages = first_round(made, report)
    terms = Terms(count(content, "t"), tuple(sorted((p.identifier for p in packages), key=number)))
    having = set(keys) or set(terms.members)
    report.equal("members", (len(terms.members), having), (count(content, "n"), set(terms.members)))
    report.accepts("proofs of knowledge", lambda: dkg.check_round1(terms, packages))
    if report.failures():
        return
    confirmed = Confirmed(dkg.check_round1(terms, packages))
    shares = second_round(made, report)
    if public is None or not keys:
        _dealt(confirmed, shares, public, report)
        return
    for i, key in keys.items():
        received = [each for each in shares if each.recipient == i]
        _finish(confirmed, received, key, public, report)


def _dealt(confirmed: Confirmed, shares: list[Round2Share], public: PublicKeyPackage | None, report: Report) -> None:
    """As far as a transcript goes that has no keys: what each dealt to each, and the key that follows."""
    members, packages = confirmed.checked.terms.members, confirmed.checked.packages
    pairs = [(each.sender, each.recipient) for each in shares]
    report.equal("one share of each for each other", sorted(pairs), sorted(permutations(members, 2)))
    if report.failures():
        return
    commitments = {p.identifier: p.commitment for p in packages}
    for s in shares:
        name = f"share of {named([s.sender])} for {named([s.recipient])}"
        report.holds(name, lambda s=s: is_share(s.share, commitments[s.sender], s.recipient))
    if public is not None:
        report.holds("public key package of these commitments", lambda: _sum(confirmed) == public)


def _sum(confirmed: Confirmed) -> PublicKeyPackage:
    terms, packages = confirmed.checked
    total = sum_of_commitments([p.commitment for p in packages])
    shares = tuple(VerifyingShare(i, committed(total, i)) for i in terms.members)
    return PublicKeyPackage(1, terms.threshold, total[0], shares)


def _finish(
    confirmed: Confirmed, received: list[Round2Share], key: KeyPackage, public: PublicKeyPackage, report: Report
) -> None:
    """What a member dealt itself is not in a transcript: it is what is missing to its share."""
    kept = key.signing_share
    for each in received:
        kept = subtract_scalars(kept, each.share)
    own = next(p for p in confirmed.checked.packages if p.identifier == key.identifier)
    report.holds(f"own share of {named([key.identifier])}", lambda: is_share(kept, own.commitment, key.identifier))
    secret = Round2Secret(confirmed, key.identifier, kept)
    report.holds(f"keys of {named([key.identifier])}", lambda: dkg.part3(secret, received) == (key, public))


def _sign(signing: Any, public: PublicKeyPackage, keys: dict[Identifier, KeyPackage], report: Report) -> None:
    note_others(signing, ("message", "round1", "round2", "signature", "signers"), report, forms=True)
    message = octets(signing, "message")
    nonces, commitments = dict[Identifier, Nonces](), list[SigningCommitments]()
    for row in rows(signing, "round1"):
        note_others(row, _ROUND_ONE, report, forms=True)
        i = member_of(member(row, "identifier"))
        nonces[i] = Nonces(octets(row, "hiding_nonce"), octets(row, "binding_nonce"))
        commitments.append(
            SigningCommitments(1, i, octets(row, "hiding_commitment"), octets(row, "binding_commitment"))
        )
        listed = commitments[-1].hiding, commitments[-1].binding
        report.equal(f"commitments of {named([i])}", (nonces[i].hiding, nonces[i].binding), listed)
        public_form = postcard.from_commitments(commitments[-1])
        secret_form = postcard.HEADER + octets(row, "hiding_nonce") + octets(row, "binding_nonce") + public_form
        compare_forms(row, f"commitments or nonces of {named([i])}", report, public_form, secret_form)
    package = frost.signing_package(public, message, commitments)
    report.equal("signers", package.identifiers(), tuple(sorted(map(member_of, rows(signing, "signers")), key=number)))
    shares: list[SignatureShare] = []
    for row in rows(signing, "round2"):
        i = member_of(member(row, "identifier"))
        shares.append(SignatureShare(1, i, octets(row, "sig_share", "signature_share")))
        compared = i in nonces and i in keys
        note_others(row, ("identifier", spelt(row, "sig_share", "signature_share")), report, forms=compared)
        if compared:
            name = f"signature share of {named([i])}"
            report.holds(
                name, lambda i=i, share=shares[-1]: frost.sign(keys[i], public, nonces[i], package, message) == share
            )
            bare = shares[-1].share
            compare_forms(row, name, report, bare, postcard.HEADER + bare)
    signature = octets(signing, "signature")
    whole = postcard.from_signing_package(package), signature, postcard.varint(64) + signature
    compare_forms(signing, "signing package or signature", report, *whole)
    report.holds("signature", lambda: frost.aggregate(public, package, shares) == signature)
    report.accepts("signature as plain Ed25519", lambda: verify_raw(public.group_key, message, signature))
