"""The conformance command: every vector holds, one changed byte is noticed, a bad file is refused in a sentence."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nacl import bindings

from davy.killswitch import frost
from davy.killswitch.conformance import postcard
from davy.killswitch.conformance.__main__ import check, main
from davy.killswitch.dkg import Round1Package, Round2Share, Terms
from davy.killswitch.group import L, identifier
from davy.killswitch.keys import KeyPackage, PublicKeyPackage
from davy.protocol.errors import Malformed
from tests.killswitch import wrong
from tests.killswitch.ceremony import plain
from tests.twins import SeededEntropy
from tests.twins.dealer import begin, deal, shares_of

FOLDER = Path(__file__).parents[1] / "vectors" / "frost"
CHECKS = {
    "rfc9591-cfrg-frost-ed25519-sha512": 22,
    "frost-ed25519-vectors": 22,
    "frost-ed25519-vectors-big-identifier": 282,
    "frost-ed25519-vectors_dkg": 14,
    "frost-ed25519-repair-share": 9,
    "frost-ed25519-elements": 1,
    "frost-ed25519-samples": 5,
    "transcript-dkg-sign-2of3": 22,
}
"""Things that each file gives to compare."""
UNCOMPARED = {"frost-ed25519-vectors_dkg": ["secret"] * 4}
"""What belongs to no other number of its file, for each place."""


def load(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


@pytest.mark.parametrize("name", CHECKS)
def test_every_vector_holds(name: str) -> None:
    report = check(str(FOLDER / f"{name}.json"))
    assert report.failures() == []
    assert len(report.checks) == CHECKS[name]
    assert report.unread == UNCOMPARED.get(name, [])
    assert len(list(report.lines())) == CHECKS[name] + len(set(report.unread))


def test_no_vector_is_left_out() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == CHECKS.keys()


# Fields that no number of the file depends on, and that are said to be so.
UNREAD = {"secret", "name", "group", "hash", "crate"}


def leaves(value: Any, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict | list):
        rows: Any = value.items() if isinstance(value, dict) else enumerate(value)
        return [found for key, inner in rows if key not in UNREAD for found in leaves(inner, (*place, key))]
    return [place]


def spoilt(content: Any, place: tuple[str | int, ...]) -> Any:
    """A copy in which one value is another of its kind: a digit in the middle, or a number one more."""
    copy = json.loads(json.dumps(content))
    record = copy
    for key in place[:-1]:
        record = record[key]
    value = record[place[-1]]
    if isinstance(value, int):
        record[place[-1]] = value + 1
    elif value.isdigit() and len(value) < 9:
        record[place[-1]] = str(int(value) + 1) if len(value) < 4 else value[:-1] + "5"
    else:
        middle = len(value) // 4 * 2
        record[place[-1]] = value[:middle] + ("1" if value[middle] != "1" else "2") + value[middle + 1 :]
    return copy


@pytest.mark.parametrize(
    "name", ["rfc9591-cfrg-frost-ed25519-sha512", "frost-ed25519-vectors_dkg", "transcript-dkg-sign-2of3"]
)
def test_a_change_of_any_value_is_noticed(tmp_path: Path, name: str) -> None:
    content = load(name)
    places = leaves(content)
    assert len(places) > 25
    for place in places:
        path = tmp_path / "spoilt.json"
        path.write_text(json.dumps(spoilt(content, place)))
        assert main([str(path)]) != 0, place


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("frost-ed25519-elements", ("elements", "invalid_element")),
        ("frost-ed25519-samples", ("element2",)),
        ("frost-ed25519-samples", ("proof_of_knowledge",)),
        ("frost-ed25519-repair-share", ("scalar_generation", "random_scalar_2")),
        ("frost-ed25519-repair-share", ("sigma_generation", "sigma_sum")),
        ("frost-ed25519-vectors-big-identifier", ("inputs", "participant_shares", 255, "participant_share")),
        ("frost-ed25519-vectors-big-identifier", ("round_one_outputs", "outputs", 2, "binding_factor_input")),
        ("transcript-dkg-sign-2of3", ("dkg", "round1", 2, "postcard")),
    ],
)
def test_one_wrong_value_fails_and_is_no_bad_file(tmp_path: Path, name: str, place: tuple[str | int, ...]) -> None:
    content = load(name)
    record = content
    for key in place[:-1]:
        record = record[key]
    right = record[place[-1]]
    record[place[-1]] = (
        wrong.BASE.hex() if name.endswith("elements") else ("03" if right[:2] != "03" else "04") + right[2:]
    )
    (tmp_path / "wrong.json").write_text(json.dumps(content))
    assert main([str(tmp_path / "wrong.json")]) == 1


def plain_terms(t: int, numbers: list[int]) -> Terms:
    return Terms(t, tuple(map(identifier, numbers)))


def transcript(t: int, numbers: list[int], signers: list[int]) -> dict[str, Any]:
    """A transcript of davy's own, with every form on the wire that could stand in one."""
    made = plain_terms(t, numbers)
    parts = plain(made)
    keys = {i: key for i, (key, _) in parts.finish().items()}
    public = next(iter(parts.finish().values()))[1]
    packages = parts.secrets[made.members[0]].confirmed.checked.packages
    return {
        "t": t,
        "n": len(numbers),
        "dkg": {"round1": [_round1(p) for p in packages], "round2": [_round2(s) for s in parts.shares]},
        "key_packages": [_key(key) for key in keys.values()],
        "public": {
            "verifying_key": public.group_key.hex(),
            "verifying_shares": {i.hex(): y.hex() for i, y in public.shares().items()},
            "public_key_package_postcard": postcard.from_public(public).hex(),
        },
        "signing": signed_by([keys[identifier(n)] for n in signers], public, signers),
    }


def signed_by(some: list[KeyPackage], public: PublicKeyPackage, signers: list[int]) -> dict[str, Any]:
    """The section of a signature."""
    begun = begin(some, public, b"halt", SeededEntropy(8))
    nonces = {i: n.spend() for i, n in begun.nonces.items()}
    again = begin(some, public, b"halt", SeededEntropy(8))
    shares = shares_of(some, public, again)
    return {
        "message": b"halt".hex(),
        "signers": signers,
        "signing_package_postcard": postcard.from_signing_package(again.package).hex(),
        "round1": [
            {
                "identifier": c.identifier.hex(),
                "hiding_nonce": nonces[c.identifier][0].hex(),
                "binding_nonce": nonces[c.identifier][1].hex(),
                "hiding_commitment": c.hiding.hex(),
                "binding_commitment": c.binding.hex(),
                "postcard": postcard.from_commitments(c).hex(),
            }
            for c in again.package.commitments
        ],
        "round2": [{"identifier": s.identifier.hex(), "sig_share": s.share.hex()} for s in shares],
        "signature": frost.aggregate(public, again.package, shares).hex(),
    }


def _round1(p: Round1Package) -> dict[str, Any]:
    return {
        "identifier": p.identifier.hex(),
        "vss_commitment": [c.hex() for c in p.commitment],
        "proof_of_knowledge": p.proof.hex(),
        "postcard": postcard.from_round1(p).hex(),
    }


def _round2(s: Round2Share) -> dict[str, Any]:
    return {
        "from": s.sender.hex(),
        "to": s.recipient.hex(),
        "signing_share": s.share.hex(),
        "postcard": postcard.from_round2(s).hex(),
    }


def _key(key: KeyPackage) -> dict[str, Any]:
    return {
        "identifier": key.identifier.hex(),
        "signing_share": key.signing_share.hex(),
        "verifying_share": key.verifying_share.hex(),
        "key_package_postcard": postcard.from_key(key).hex(),
    }


@pytest.mark.parametrize(
    ("t", "numbers", "signers"),
    [(2, [1, 2], [1, 2]), (3, [1, 2, 3, 4, 5], [5, 3, 1, 2]), (2, [127, 128, 256, 2**40], [256, 128])],
)
def test_another_transcript_holds_and_every_form_in_it_counts(
    tmp_path: Path, t: int, numbers: list[int], signers: list[int]
) -> None:
    content, path = transcript(t, numbers, signers), tmp_path / "transcript.json"
    path.write_text(json.dumps(content))
    assert check(str(path)).failures() == []
    for place in leaves(content):
        if place[-1] in ("n", "t") or "postcard" in str(place[-1]):
            path.write_text(json.dumps(spoilt(content, place)))
            assert main([str(path)]) != 0, place


def verification() -> list[dict[str, Any]]:
    """A right signature, and what looser verifiers take: small order, y ≥ p, s ≥ L."""
    public, secret = bindings.crypto_sign_seed_keypair(bytes(32))
    signature = bindings.crypto_sign(b"x", secret)[:64]
    s = int.from_bytes(signature[32:], "little")
    shifted = signature[:32] + (s + L).to_bytes(32, "little")
    cases = [("right", public, signature, True), ("s + L", public, shifted, False), ("R", public, bytes(64), False)]
    cases += [(f"key {name}", bad, bad + bytes(32), False) for name, bad in wrong.POINTS.items()]
    cases.append(("short", public[:31], signature, False))
    return [
        {"name": name, "public_key": key.hex(), "message": "78", "signature": sig.hex(), "expected_strict": expected}
        for name, key, sig, expected in cases
    ]


def test_cases_of_plain_verification(tmp_path: Path) -> None:
    cases, path = verification(), tmp_path / "cases.json"
    path.write_text(json.dumps(cases))
    assert main([str(path)]) == 0
    for place in range(len(cases)):
        other = json.loads(json.dumps(cases))
        other[place]["expected_strict"] = not other[place]["expected_strict"]
        path.write_text(json.dumps(other))
        assert check(str(path)).failures() == [check(str(path)).checks[place][0]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "7",
        '{"a": 1}',
        "[7]",
        '[{"name": "x", "public_key": "00", "message": "", "signature": ""}]',
        '[{"name": "x", "public_key": "zz", "message": "", "signature": "", "expected_strict": true}]',
        '[{"name": "x", "public_key": "0 0", "message": "", "signature": "", "expected_strict": true}]',
        '[{"name": "x", "public_key": "00", "message": "", "signature": "", "expected_strict": 1}]',
        '{"elements": {}}',
        '{"elements": [1]}',
        '{"elements": {"a": 7}}',
        '{"sigma_generation": {"sigma_1": "00"}}',
        '{"sigma_generation": {"sigma_sum": "00"}}',
        '{"round_one_outputs": {}, "inputs": {"group_secret_key": "01"}}',
        '{"key_packages": [], "signing": {}}',
        '{"key_packages": {}, "signing": {}, "t": 2, "public": {"verifying_key": "", "verifying_shares": []}}',
        '{"inputs": {"1": {"vss_commitments": [], "identifier": -1}}, "config": {}}',
        '{"inputs": [], "config": {"MIN_PARTICIPANTS": "x"}}',
        "[" * 100_000,
    ],
)
def test_a_file_that_is_none_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "file.json").write_text(text)
    assert main([str(tmp_path / "file.json")]) == 2
    said = capsys.readouterr()
    assert (said.err.count("\n"), said.out) == (1, "")
    assert "file.json" in said.err


def test_the_command() -> None:
    command = [sys.executable, "-m", "davy.killswitch.conformance"]
    files = [str(FOLDER / f"{name}.json") for name in ("frost-ed25519-vectors_dkg", "frost-ed25519-repair-share")]
    done = subprocess.run([*command, *files], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[-1], len(lines)) == (0, "23 of 23 checks hold", 25)
    assert sum(line.startswith("holds  frost-ed25519-") for line in lines) == 23
    assert "       frost-ed25519-vectors_dkg.json: secret is not compared" in lines
    assert subprocess.run(command, capture_output=True).returncode == 2
    assert subprocess.run([*command, "none.json"], capture_output=True).returncode == 2


def test_the_crate_s_form_is_read_strictly() -> None:
    group = deal(2, 3)
    package = next(iter(plain(plain_terms(2, [1, 2])).secrets.values())).confirmed.checked.packages[0]
    data = postcard.from_round1(package)
    assert postcard.to_round1(data, package.identifier) == package
    overlong = data[:5] + b"\x82\x00" + data[6:]
    for bad in (data + b"\0", data[:-1], b"\1" + data[1:], data[:1] + b"\0" + data[2:], overlong, b"", data[:5]):
        with pytest.raises(Malformed):
            postcard.to_round1(bad, package.identifier)
    long = data[:5] + b"\xff\xff\xff\xff\x01" + data[6:]
    with pytest.raises(Malformed, match="too large"):
        postcard.to_round1(long, package.identifier)
    public = postcard.from_public(group.public)
    assert postcard.to_public(public) == group.public
    with pytest.raises(Malformed):
        postcard.to_public(public[:-2])
    for key in group.keys.values():
        assert postcard.to_key(postcard.from_key(key)) == key
