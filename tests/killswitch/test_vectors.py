"""Every vector of signing and of making a key: RFC 9591's, the crate frost-ed25519's, and its transcript."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from davy.killswitch import frost
from davy.killswitch.dkg import (
    Confirmed,
    Round1Package,
    Round2Secret,
    Round2Share,
    Terms,
    check_round1,
    part1,
    part2,
    part3,
    proof_challenge,
)
from davy.killswitch.group import (
    ZERO,
    add_scalars,
    identifier,
    is_point,
    is_scalar,
    multiply_base,
    multiply_scalars,
    nonzero,
    number,
    subtract_scalars,
)
from davy.killswitch.keys import KeyPackage, PublicKeyPackage, VerifyingShare, check_key, check_public
from davy.killswitch.sharing import Polynomial, is_share
from davy.protocol.signing import verify_raw
from tests.twins.dealer import Group, ListedEntropy, Round, begin, deal_polynomial, shares_of

FOLDER = Path(__file__).parents[1] / "vectors" / "frost"
SIGNING = [
    "rfc9591-cfrg-frost-ed25519-sha512",
    "frost-ed25519-vectors",
    "frost-ed25519-vectors-big-identifier",
]


@cache
def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def h(text: str) -> bytes:
    return bytes.fromhex(text)


class SigningVector:
    """A file of one signature under a key that a dealer made."""

    def __init__(self, name: str) -> None:
        vector = read(name)
        inputs = vector["inputs"]
        self.message = h(inputs["message"])
        self.signers = [identifier(n) for n in inputs["participant_list"]]
        self.shares = {
            identifier(row["identifier"]): h(row["participant_share"]) for row in inputs["participant_shares"]
        }
        coefficients = [h(inputs["group_secret_key"]), *map(h, inputs["share_polynomial_coefficients"])]
        self.polynomial = Polynomial(coefficients)
        self.group_key = h(inputs.get("group_public_key") or inputs["verifying_key_key"])
        # 257 are more than one package may name: the signers and those around them are enough.
        numbers = sorted({*map(number, self.signers), *sorted(map(number, self.shares))[-200:]})
        self.group: Group = deal_polynomial(coefficients, numbers)
        self.round_one = {identifier(row["identifier"]): row for row in vector["round_one_outputs"]["outputs"]}
        self.round_two = {
            identifier(row["identifier"]): h(row["sig_share"]) for row in vector["round_two_outputs"]["outputs"]
        }
        self.signature = h(vector["final_output"]["sig"])

    def keys(self) -> list[KeyPackage]:
        return [self.group.keys[i] for i in self.signers]

    def begin(self) -> Round:
        draws = [
            h(self.round_one[i][f"{kind}_nonce_randomness"]) for i in self.signers for kind in ("hiding", "binding")
        ]
        return begin(self.keys(), self.group.public, self.message, ListedEntropy(draws))


@pytest.fixture(params=SIGNING)
def vector(request: pytest.FixtureRequest) -> SigningVector:
    return SigningVector(request.param)


def test_shares_of_the_key(vector: SigningVector) -> None:
    assert vector.group.public.group_key == vector.group_key
    for i, share in vector.shares.items():
        assert vector.polynomial.at(i) == share
        assert is_share(share, vector.polynomial.commitment(), i)
    check_public(vector.group.public)


def test_round_one(vector: SigningVector) -> None:
    begun = vector.begin()
    assert begun.package.identifiers() == tuple(vector.signers)
    for commitments in begun.package.commitments:
        row = vector.round_one[commitments.identifier]
        assert commitments.hiding == h(row["hiding_nonce_commitment"])
        assert commitments.binding == h(row["binding_nonce_commitment"])
        spent = begun.nonces[commitments.identifier].spend()
        assert spent == (h(row["hiding_nonce"]), h(row["binding_nonce"]))


def test_binding_factors(vector: SigningVector) -> None:
    package = vector.begin().package
    inputs, factors = frost.binding_factor_inputs(package), frost.binding_factors(package)
    for i, row in vector.round_one.items():
        assert inputs[i] == h(row["binding_factor_input"])
        assert factors[i] == h(row["binding_factor"])


def test_round_two_and_the_signature(vector: SigningVector) -> None:
    begun = vector.begin()
    shares = shares_of(vector.keys(), vector.group.public, begun)
    assert {each.identifier: each.share for each in shares} == vector.round_two
    for each in shares:
        frost.verify_share(vector.group.public, begun.package, each)
    assert frost.aggregate(vector.group.public, begun.package, shares) == vector.signature
    verify_raw(vector.group_key, vector.message, vector.signature)


DKG = "frost-ed25519-vectors_dkg"


def dkg_members() -> dict[int, Any]:
    return {n: read(DKG)["inputs"][str(n)] for n in (1, 2, 3)}


def dkg_terms() -> Terms:
    config = read(DKG)["config"]
    return Terms(config["MIN_PARTICIPANTS"], tuple(identifier(n) for n in range(1, config["MAX_PARTICIPANTS"] + 1)))


def proof_nonce(row: Any, i: bytes) -> bytes:
    """Return k = z − a_0 c: what the member drew for its proof, which the file does not list."""
    proof = h(row["proof_of_knowledge"])
    c = proof_challenge(i, h(row["vss_commitments"][0]), proof[:32], b"")
    return subtract_scalars(proof[32:], multiply_scalars(h(row["signing_key"]), c))


def test_dkg() -> None:
    terms, rows = dkg_terms(), dkg_members()
    secrets, packages = {}, []
    for n, row in rows.items():
        drawn = [h(row["signing_key"]), h(row["coefficient"]), proof_nonce(row, identifier(n))]
        secrets[n], package = part1(terms, identifier(n), ListedEntropy(d.ljust(64, b"\0") for d in drawn))
        assert package.commitment == tuple(map(h, row["vss_commitments"]))
        assert package.proof == h(row["proof_of_knowledge"])
        packages.append(package)
    confirmed = Confirmed(check_round1(terms, packages))
    dealt = {n: part2(secret, confirmed) for n, secret in secrets.items()}
    sent = {(number(s.sender), number(s.recipient)): s for _, shares in dealt.values() for s in shares}
    for n, row in rows.items():
        for sender, share in row["signing_shares"].items():
            assert sent[int(sender), n].share == h(share)
        key, public = part3(dealt[n][0], [s for (_, to), s in sent.items() if to == n])
        assert key.signing_share == h(row["signing_share"])
        assert key.verifying_share == h(row["verifying_share"]) == public.shares()[identifier(n)]
        assert key.group_key == public.group_key == h(read(DKG)["inputs"]["verifying_key"])
        assert (key.threshold, public.threshold) == (2, 2)
        check_public(public)
        check_key(key, public)
    secret = ZERO
    for row in rows.values():
        secret = add_scalars(secret, h(row["signing_key"]))
    assert multiply_base(secret) == h(read(DKG)["inputs"]["verifying_key"])


def test_elements_and_samples() -> None:
    assert not is_point(h(read("frost-ed25519-elements")["elements"]["invalid_element"]))
    samples = read("frost-ed25519-samples")
    assert nonzero(h(samples["identifier"]), "") == identifier(42)
    assert h(samples["element1"]) == multiply_base(identifier(1))
    assert is_point(h(samples["element2"]))
    assert is_scalar(h(samples["scalar1"]))
    assert samples["proof_of_knowledge"] == samples["element1"] + samples["scalar1"]


TRANSCRIPT = "transcript-dkg-sign-2of3"


def transcript_public() -> PublicKeyPackage:
    public = read(TRANSCRIPT)["public"]
    shares = tuple(VerifyingShare(h(i), h(y)) for i, y in sorted(public["verifying_shares"].items()))
    return PublicKeyPackage(1, read(TRANSCRIPT)["t"], h(public["verifying_key"]), shares)


def transcript_round1() -> list[Round1Package]:
    return [
        Round1Package(1, b"", h(r["identifier"]), tuple(map(h, r["vss_commitment"])), h(r["proof_of_knowledge"]))
        for r in read(TRANSCRIPT)["dkg"]["round1"]
    ]


def test_transcript_of_a_dkg() -> None:
    whole = read(TRANSCRIPT)
    terms = Terms(whole["t"], tuple(identifier(n) for n in range(1, whole["n"] + 1)))
    confirmed = Confirmed(check_round1(terms, transcript_round1()))
    shares = [Round2Share(1, b"", h(r["from"]), h(r["to"]), h(r["signing_share"])) for r in whole["dkg"]["round2"]]
    for row in whole["key_packages"]:
        i, final = h(row["identifier"]), h(row["signing_share"])
        received = [s for s in shares if s.recipient == i]
        # What a member dealt itself is not in the transcript; it is what is missing to its final share.
        kept = final
        for each in received:
            kept = subtract_scalars(kept, each.share)
        key, public = part3(Round2Secret(confirmed, i, kept), received)
        own = next(p for p in confirmed.checked.packages if p.identifier == i)
        assert is_share(kept, own.commitment, i)
        assert (key.signing_share, key.verifying_share) == (final, h(row["verifying_share"]))
        assert public == transcript_public()
        check_key(key, public)
    check_public(transcript_public())


def test_fields_are_those_of_the_crate_s_wire_form() -> None:
    """Version, checksum of the ciphersuite's name, then our very fields: so the two forms translate field by field."""
    for package, row in zip(transcript_round1(), read(TRANSCRIPT)["dkg"]["round1"], strict=True):
        postcard = h("00b169f0da") + bytes([len(package.commitment)]) + b"".join(package.commitment)
        assert postcard + bytes([64]) + package.proof == h(row["postcard"])


def test_transcript_of_a_signature() -> None:
    whole, public = read(TRANSCRIPT), transcript_public()
    signing, message = whole["signing"], h(whole["signing"]["message"])
    keys = {
        h(r["identifier"]): KeyPackage(
            1, h(r["identifier"]), whole["t"], h(r["signing_share"]), h(r["verifying_share"]), public.group_key
        )
        for r in whole["key_packages"]
    }
    nonces = {h(r["identifier"]): frost.Nonces(h(r["hiding_nonce"]), h(r["binding_nonce"])) for r in signing["round1"]}
    commitments = [
        frost.SigningCommitments(1, h(r["identifier"]), h(r["hiding_commitment"]), h(r["binding_commitment"]))
        for r in signing["round1"]
    ]
    for each in commitments:
        mine = nonces[each.identifier]
        assert (mine.hiding, mine.binding) == (each.hiding, each.binding)
    package = frost.signing_package(public, message, commitments)
    assert package.identifiers() == tuple(identifier(n) for n in signing["signers"])
    shares = shares_of([keys[i] for i in package.identifiers()], public, Round(nonces, package))
    assert [s.share for s in shares] == [h(r["sig_share"]) for r in signing["round2"]]
    assert frost.aggregate(public, package, shares) == h(signing["signature"])
    verify_raw(public.group_key, message, h(signing["signature"]))
