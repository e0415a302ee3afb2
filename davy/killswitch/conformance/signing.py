"""One signature under a key that a dealer made, with everything in between: RFC 9591's vectors and the crate's."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from davy.killswitch import frost
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
from davy.killswitch.frost import Nonces, SigningCommitments
from davy.killswitch.group import CONTEXT, Identifier, Scalar, hash_to_scalar, multiply_base, named, number
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, VerifyingShare
from davy.killswitch.sharing import Polynomial
from davy.protocol.signing import verify_raw

_READ = ("config", "inputs", "round_one_outputs", "round_two_outputs", "final_output")
_INPUTS = ("participant_list", "participant_shares", "group_secret_key", "message", "share_polynomial_coefficients")
_GROUP_KEY = ("verifying_key_key", "group_public_key", "verifying_key")
_ROUND_ONE = (
    *("identifier", "hiding_nonce_randomness", "binding_nonce_randomness", "hiding_nonce", "binding_nonce"),
    *("hiding_nonce_commitment", "binding_nonce_commitment", "binding_factor_input", "binding_factor"),
)


def check(content: Any, report: Report) -> None:
    """Compare shares of the key, nonces and commitments, binding factors, signature shares and the signature."""
    note_others(content, _READ, report)
    inputs = member(content, "inputs")
    note_others(inputs, (*_INPUTS, spelt(inputs, *_GROUP_KEY)), report)
    coefficients = [
        octets(inputs, "group_secret_key"),
        *(from_hex(a, "a coefficient") for a in member(inputs, "share_polynomial_coefficients")),
    ]
    polynomial, t = Polynomial(coefficients), len(coefficients)
    config = member(content, "config")
    check_config(config, ("MAX_PARTICIPANTS", "MIN_PARTICIPANTS", "NUM_PARTICIPANTS"), report)
    report.equal("threshold", t, count(config, "MIN_PARTICIPANTS"))
    report.equal("number of shares", len(rows(inputs, "participant_shares")), count(config, "MAX_PARTICIPANTS"))
    group_key = octets(inputs, *_GROUP_KEY)
    report.equal("group key", multiply_base(coefficients[0]), group_key)
    shared = by_member(rows(inputs, "participant_shares"))
    for i, row in shared.items():
        note_others(row, ("identifier", "participant_share"), report)
        report.equal(f"share of {named([i])}", polynomial.at(i), octets(row, "participant_share"))
    signers = sorted(map(member_of, rows(inputs, "participant_list")), key=number)
    report.equal("number of signers", len(shared.keys() & set(signers)), count(config, "NUM_PARTICIPANTS"))
    keys: dict[Identifier, KeyPackage] = {}
    for i in signers:
        share = polynomial.at(i)
        keys[i] = KeyPackage(1, i, t, share, multiply_base(share), group_key)
    # The others' verifying shares do not enter a signature, and 257 are more than a package may name.
    shares = tuple(VerifyingShare(i, key.verifying_share) for i, key in keys.items())
    _sign(content, PublicKeyPackage(1, t, group_key, shares), keys, octets(inputs, "message"), report)


def _sign(
    content: Any, public: PublicKeyPackage, keys: dict[Identifier, KeyPackage], message: bytes, report: Report
) -> None:
    one = _outputs(content, "round_one_outputs", _ROUND_ONE, report)
    two = _outputs(content, "round_two_outputs", ("identifier", "sig_share"), report)
    report.equal("signers", (sorted(one), sorted(two)), (sorted(keys), sorted(keys)))
    nonces, commitments = dict[Identifier, Nonces](), list[SigningCommitments]()
    for i, key in keys.items():
        row = one[i]
        pair = [octets(row, "hiding_nonce"), octets(row, "binding_nonce")]
        for kind, nonce in zip(("hiding", "binding"), pair, strict=True):
            drawn = octets(row, f"{kind}_nonce_randomness")
            report.equal(f"{kind} nonce of {named([i])}", _nonce(drawn, key), nonce)
        nonces[i] = Nonces(*pair)
        found = octets(row, "hiding_nonce_commitment"), octets(row, "binding_nonce_commitment")
        report.equal(f"commitments of {named([i])}", (nonces[i].hiding, nonces[i].binding), found)
        commitments.append(SigningCommitments(1, i, *found))
    package = frost.signing_package(public, message, commitments)
    hashed, factors = frost.binding_factor_inputs(package), frost.binding_factors(package)
    shares: list[frost.SignatureShare] = []
    for i, key in keys.items():
        report.equal(f"binding factor input of {named([i])}", hashed[i], octets(one[i], "binding_factor_input"))
        report.equal(f"binding factor of {named([i])}", factors[i], octets(one[i], "binding_factor"))
        shares.append(frost.sign(key, public, nonces[i], package, message))
        report.equal(f"signature share of {named([i])}", shares[-1].share, octets(two[i], "sig_share"))
    note_others(member(content, "final_output"), ["sig"], report)
    signature = octets(member(content, "final_output"), "sig")
    report.holds("signature", lambda: frost.aggregate(public, package, shares) == signature)
    report.accepts("signature as plain Ed25519", lambda: verify_raw(public.group_key, message, signature))


def _outputs(content: Any, name: str, known: Collection[str], report: Report) -> dict[Identifier, Any]:
    section = member(content, name)
    note_others(section, ["outputs"], report)
    for row in rows(section, "outputs"):
        note_others(row, known, report)
    return by_member(rows(section, "outputs"))


def _nonce(drawn: bytes, key: KeyPackage) -> Scalar:
    return hash_to_scalar(CONTEXT, b"nonce", drawn, key.signing_share)
