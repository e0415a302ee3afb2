"""Other files of the formats that the conformance command reads: right ones hold, hostile ones do not, nor break it.

The files are made here from polynomials and draws, in other sizes than the vectors have, with identifiers that leave
gaps; the shapes are those of RFC 9591's vectors and of the crate's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from davy.killswitch import frost
from davy.killswitch.conformance import postcard
from davy.killswitch.conformance.__main__ import check, main
from davy.killswitch.group import L, identifier, reduce
from davy.killswitch.sharing import Polynomial
from tests.killswitch import wrong
from tests.killswitch.ceremony import plain
from tests.killswitch.test_conformance import CHECKS, leaves, load, plain_terms, spoilt, transcript, verification
from tests.twins import SeededEntropy
from tests.twins.dealer import ListedEntropy, begin, deal_polynomial, shares_of

SIZES = [
    (2, [1, 2, 3], [1, 3]),
    (2, [7, 300, 65_535], [65_535, 7]),
    (3, [1, 2, 3, 4, 5], [5, 2, 4, 1]),
    (5, [2, 3, 5, 7, 11, 255, 256, 4_096], [2, 7, 11, 255, 256, 4_096]),
]
MESSAGES = {"none": b"", "a byte": b"\0", "long": bytes(range(256)) * 1_024}


def signing_file(t: int, numbers: list[int], signers: list[int], message: bytes) -> dict[str, Any]:
    """A signature under a dealt key, as RFC 9591's vectors print it."""
    entropy = SeededEntropy(t)
    coefficients = [reduce(entropy.bytes(64)) for _ in range(t)]
    group = deal_polynomial(coefficients, numbers)
    keys = [group.keys[identifier(n)] for n in sorted(signers)]
    draws = [entropy.bytes(32) for _ in range(2 * len(keys))]
    begun, again = (begin(keys, group.public, message, ListedEntropy(draws)) for _ in range(2))
    package = begun.package
    hashed, factors = frost.binding_factor_inputs(package), frost.binding_factors(package)
    rows: list[dict[str, Any]] = []
    for n, commitments in enumerate(package.commitments):
        i = commitments.identifier
        hiding, binding = again.nonces[i].spend()
        rows.append(
            {
                "identifier": sorted(signers)[n],
                "hiding_nonce_randomness": draws[2 * n].hex(),
                "binding_nonce_randomness": draws[2 * n + 1].hex(),
                "hiding_nonce": hiding.hex(),
                "binding_nonce": binding.hex(),
                "hiding_nonce_commitment": commitments.hiding.hex(),
                "binding_nonce_commitment": commitments.binding.hex(),
                "binding_factor_input": hashed[i].hex(),
                "binding_factor": factors[i].hex(),
            }
        )
    shares = shares_of(keys, group.public, begun)
    return {
        "config": {
            "MAX_PARTICIPANTS": str(len(numbers)),
            "NUM_PARTICIPANTS": str(len(signers)),
            "MIN_PARTICIPANTS": str(t),
            "group": "ed25519",
        },
        "inputs": {
            "participant_list": signers,
            "group_secret_key": coefficients[0].hex(),
            "group_public_key": group.public.group_key.hex(),
            "message": message.hex(),
            "share_polynomial_coefficients": [a.hex() for a in coefficients[1:]],
            "participant_shares": [
                {"identifier": n, "participant_share": group.keys[identifier(n)].signing_share.hex()} for n in numbers
            ],
        },
        "round_one_outputs": {"outputs": rows},
        "round_two_outputs": {
            "outputs": [
                {"identifier": n, "sig_share": s.share.hex()} for n, s in zip(sorted(signers), shares, strict=True)
            ]
        },
        "final_output": {"sig": frost.aggregate(group.public, package, shares).hex()},
    }


def making_file(t: int, numbers: list[int]) -> dict[str, Any]:
    """The making of a key as the crate's vectors print it; the coefficients beyond the second in a list."""
    terms = plain_terms(t, numbers)
    entropy = SeededEntropy(0)
    drawn = {i: [reduce(entropy.bytes(64)) for _ in range(t + 1)][:t] for i in terms.members}
    parts = plain(terms)
    inputs: dict[str, Any] = {}
    for n, (i, (key, public)) in zip(numbers, parts.finish().items(), strict=True):
        package = next(p for p in parts.secrets[i].confirmed.checked.packages if p.identifier == i)
        assert Polynomial(drawn[i]).commitment() == package.commitment
        rest = [a.hex() for a in drawn[i][1:]]
        inputs["verifying_key"] = public.group_key.hex()
        inputs[str(n)] = {
            "identifier": n,
            "signing_key": drawn[i][0].hex(),
            **({"coefficient": rest[0]} if t == 2 else {"coefficients": rest}),
            "vss_commitments": [c.hex() for c in package.commitment],
            "proof_of_knowledge": package.proof.hex(),
            "signing_shares": {str(int.from_bytes(s.sender, "little")): s.share.hex() for s in parts.received(i)},
            "verifying_share": key.verifying_share.hex(),
            "signing_share": key.signing_share.hex(),
        }
    config = {"MAX_PARTICIPANTS": len(numbers), "MIN_PARTICIPANTS": t, "group": "ed25519"}
    return {"config": config, "inputs": inputs}


def write(folder: Path, content: Any) -> str:
    path = folder / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize(("t", "numbers", "signers"), SIZES)
def test_another_signature_holds(tmp_path: Path, t: int, numbers: list[int], signers: list[int], message: str) -> None:
    content = signing_file(t, numbers, signers, MESSAGES[message])
    report = check(write(tmp_path, content))
    assert report.failures() == []
    assert len(report.checks) == 4 + len(numbers) + 1 + 6 * len(signers) + 2
    if message == "a byte" and len(numbers) == 3:
        for place in leaves(content):
            assert main([write(tmp_path, spoilt(content, place))]) != 0, place


@pytest.mark.parametrize(("t", "numbers"), [(2, [1, 2]), (2, [9, 256, 65_535]), (4, [1, 2, 3, 4, 5, 6])])
def test_another_making_of_a_key_holds(tmp_path: Path, t: int, numbers: list[int]) -> None:
    content = making_file(t, numbers)
    report = check(write(tmp_path, content))
    assert report.failures() == []
    assert len(report.checks) == 2 + len(numbers) * (1 + len(numbers) - 1 + 1)
    for place in leaves(content) if len(numbers) < 4 else []:
        assert main([write(tmp_path, spoilt(content, place))]) != 0, place


def test_the_crate_s_form_of_nonces_may_stand_beside_them(tmp_path: Path) -> None:
    content = transcript(2, [1, 2, 3], [1, 3])
    for row in content["signing"]["round1"]:
        secrets = bytes.fromhex(row["hiding_nonce"] + row["binding_nonce"])
        row["nonces_postcard"] = (postcard.HEADER + secrets + bytes.fromhex(row["postcard"])).hex()
    assert check(write(tmp_path, content)).failures() == []
    content["signing"]["round1"][0]["nonces_postcard"] += "00"
    assert main([write(tmp_path, content)]) == 1


def test_hexadecimal_may_have_capitals(tmp_path: Path) -> None:
    content = load("rfc9591-cfrg-frost-ed25519-sha512")
    content["final_output"]["sig"] = content["final_output"]["sig"].upper()
    assert main([write(tmp_path, content)]) == 0


HOSTILE: list[Any] = [
    None, True, 1.5, -1, 0, 2**32, 10**30, "", "0", "zz", "0g" * 32, [], {}, [[]], "\ud800",
    "00" * 32, "01" + "00" * 31, "ff" * 32, L.to_bytes(32, "little").hex(), "00" * 31, "00" * 33, "00" * 64, "00" * 65,
    wrong.POINTS["order 8"].hex(), wrong.POINTS["mixed order"].hex(), wrong.POINTS["y = p + 1"].hex(),
]  # fmt: skip


def put(content: Any, place: tuple[str | int, ...], value: Any) -> Any:
    copy = json.loads(json.dumps(content))
    record = copy
    for key in place[:-1]:
        record = record[key]
    record[place[-1]] = value
    return copy


def _subtrees(content: Any, place: tuple[str | int, ...] = ()) -> Iterable[tuple[str | int, ...]]:
    if isinstance(content, dict | list):
        rows: Any = content.items() if isinstance(content, dict) else enumerate(content)
        for key, inner in rows:
            yield (*place, key)
            yield from _subtrees(inner, (*place, key))


def names_the_first(place: tuple[str | int, ...], value: Any) -> bool:
    """Identifiers may be written as numbers or as scalars, and this scalar is that of the first keyholder."""
    return value == (1).to_bytes(32, "little").hex() and not NAMING.isdisjoint(map(str, place))


NAMING = {"identifier", "participant_list", "signers", "from", "to"}


FILES: dict[str, Any] = {
    "signing": lambda: signing_file(2, [1, 2, 3], [1, 3], b"x"),
    "making": lambda: making_file(2, [1, 2]),
    "transcript": lambda: transcript(2, [1, 2], [1, 2]),
    "repair": lambda: load("frost-ed25519-repair-share"),
    "elements": lambda: load("frost-ed25519-elements"),
    "samples": lambda: load("frost-ed25519-samples"),
    "cases": verification,
}
OPTIONAL = {"dkg", "group", "name", "signing"}
"""What a file may lack; and the name of a case is any."""
MAY_HOLD = {*OPTIONAL, "public_key", "message", "signature", "invalid_element"}
"""Where another value may make as right a file: what is refused all the same, or no point either."""
ALONE = "samples"
"""What stands in one has nothing to do with the rest, and may be any scalar or point."""


@pytest.mark.parametrize("kind", FILES)
def test_no_hostile_value_passes_or_breaks_the_command(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = FILES[kind]()
    for place in _subtrees(content):
        for value in HOSTILE:
            code = main([write(tmp_path, put(content, place, value))])
            may_hold = (
                place[-1] in MAY_HOLD
                or (place[-1], value) == ("expected_strict", True)
                or kind == ALONE
                or names_the_first(place, value)
            )
            assert code in ((0, 1, 2) if may_hold else (1, 2)), (place, value)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", FILES)
def test_no_file_that_lacks_something_passes(tmp_path: Path, kind: str) -> None:
    content = FILES[kind]()
    for place in _subtrees(content):
        if place[-1] in OPTIONAL or "postcard" in str(place[-1]) or kind in ("cases", "repair", "samples"):
            continue
        copy = json.loads(json.dumps(content))
        record = copy
        for key in place[:-1]:
            record = record[key]
        del record[place[-1]]
        assert main([write(tmp_path, copy)]) != 0, place


@pytest.mark.parametrize("kind", FILES)
def test_no_file_that_was_cut_off_is_used(tmp_path: Path, kind: str) -> None:
    text = json.dumps(FILES[kind]())
    for cut in range(0, len(text), max(1, len(text) // 40)):
        assert main([write(tmp_path, text[:cut])]) == 2


def test_what_would_be_compared_by_half_is_refused(tmp_path: Path) -> None:
    """Two rows of one keyholder, of which one is right; no signature at all; a member that is named twice."""
    signing = signing_file(2, [1, 2, 3], [1, 3], b"x")
    doubled = put(signing, ("inputs", "participant_shares", 1), signing["inputs"]["participant_shares"][0])
    assert main([write(tmp_path, doubled)]) == 1
    again = put(signing, ("inputs", "participant_list"), [1, 1, 3])
    assert main([write(tmp_path, put(again, ("config", "NUM_PARTICIPANTS"), "3"))]) == 1
    told = transcript(2, [1, 2], [1, 2])
    false = {**told["key_packages"][0], "signing_share": told["key_packages"][1]["signing_share"]}
    assert main([write(tmp_path, {**told, "key_packages": [false, *told["key_packages"]]})]) == 1
    assert main([write(tmp_path, {**told, "signing": []})]) == 2
    assert main([write(tmp_path, {**told, "signing": [told["signing"], told["signing"]]})]) == 0
    case = json.dumps(verification()[0])
    assert main([write(tmp_path, f"[{case}]")]) == 0
    assert main([write(tmp_path, f"[{case[:-1]}, " + '"expected_strict": true}]')]) == 2
    assert main([write(tmp_path, "[]")]) == 2


def test_another_group_is_not_compared(tmp_path: Path) -> None:
    for content in (signing_file(2, [1, 2], [1, 2], b""), making_file(2, [1, 2])):
        assert main([write(tmp_path, put(content, ("config", "group"), "ristretto255"))]) == 2
    told = transcript(2, [1, 2], [1, 2])
    assert main([write(tmp_path, {**told, "ciphersuite": "FROST-RISTRETTO255-SHA512-v1"})]) == 2


@pytest.mark.parametrize("what", ["identity_element", "small_order", "mixed_order_point", "non_canonical", "INVALID"])
def test_what_is_called_no_point_is_none(tmp_path: Path, what: str) -> None:
    assert main([write(tmp_path, {"elements": {what: wrong.POINTS["mixed order"].hex()}})]) == 0
    assert main([write(tmp_path, {"elements": {what: wrong.BASE.hex()}})]) == 1
    assert main([write(tmp_path, {"elements": {"element": wrong.BASE.hex()}})]) == 0


def test_a_name_in_a_file_makes_no_line_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "x\nholds  all\x1b[2J\u202e\ud800"
    case = {**verification()[0], "name": name}
    assert main([write(tmp_path, [case])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.isascii() and line.isprintable() for line in lines)


def test_a_file_that_cannot_be_used_keeps_no_other_from_being_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text("[]")
    right = write(tmp_path, verification())
    assert main([str(tmp_path / "bad.json"), right, str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == f"{len(verification())} of {len(verification())} checks hold"
    assert said.err.count("\n") == 2


def test_an_endless_file_is_not_read_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/dev/zero"]) == 2
    assert "larger than" in capsys.readouterr().err


JUNK: list[Any] = [{}, [], {"round1": "junk"}, ["junk"], {"key_packages": [], "public": {}}, [[1]]]


def sections(kind: str) -> list[tuple[str | int, ...]]:
    """Where a file may have a section that nothing compares: at its top, and within those that are compared."""
    inner = {"transcript": [("dkg",), ("public",), ("signing",)], "making": [("inputs",)]}
    return [(), *inner.get(kind, [])]


@pytest.mark.parametrize("kind", [k for k in FILES if k != "cases"])
@pytest.mark.parametrize("name", ["refresh", "repair", "anything"])
def test_what_nothing_compares_is_told(
    tmp_path: Path, kind: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = FILES[kind]()
    assert main([write(tmp_path, content)]) == 0
    assert "is not compared" not in capsys.readouterr().out
    for place in sections(kind):
        for junk in [*JUNK, "from a person"]:
            begun = (kind, place, name) == ("transcript", (), "refresh") and isinstance(junk, dict) and len(junk) > 0
            assert main([write(tmp_path, put(content, (*place, name), junk))]) == (2 if begun else 0), (place, junk)
            told = capsys.readouterr()
            assert "Traceback" not in told.err
            assert begun or f"{name} is not compared" in told.out, (place, junk)


def without(content: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names}


TRANSCRIPTS = {
    "the making of the key alone": ("key_packages", "public", "signing"),
    "and the key": ("key_packages", "signing"),
    "and all shares": ("signing",),
    "a key that a dealer made": ("dkg",),
    "and nothing signed with it": ("dkg", "signing"),
}


@pytest.mark.parametrize("absent", TRANSCRIPTS.values(), ids=TRANSCRIPTS)
def test_a_transcript_is_compared_as_far_as_it_goes(tmp_path: Path, absent: tuple[str, ...]) -> None:
    for whole in (transcript(3, [1, 2, 4], [4, 1, 2]), load("transcript-dkg-sign-2of3")):
        content = without(whole, *absent)
        report = check(write(tmp_path, content))
        assert report.failures() == []
        assert report.unread == []
        for place in leaves(content):
            assert main([write(tmp_path, spoilt(content, place))]) != 0, place
        for place in _subtrees(content):
            if place[-1] in (*OPTIONAL, "n", "ciphersuite", "crate", *whole) or "postcard" in str(place[-1]):
                continue
            copy = json.loads(json.dumps(content))
            record = copy
            for key in place[:-1]:
                record = record[key]
            del record[place[-1]]
            assert main([write(tmp_path, copy)]) != 0, place


def test_a_transcript_lacks_nothing_that_another_part_of_it_needs(tmp_path: Path) -> None:
    whole = transcript(2, [1, 2], [1, 2])
    for absent in (("key_packages",), ("public",), ("public", "signing"), ("public", "key_packages"), ("t",)):
        assert main([write(tmp_path, without(whole, *absent))]) == 2, absent
    assert main([write(tmp_path, {"t": 2, "n": 3, "public": whole["public"]})]) == 2, "it made nothing"


@pytest.mark.parametrize("group", ["Ed25519", "ED25519", "ed25519 ", "", "edwards25519", None, ["ed25519"]])
def test_a_group_is_written_as_the_vectors_write_it(tmp_path: Path, group: Any) -> None:
    for content in (signing_file(2, [1, 2], [1, 2], b""), making_file(2, [1, 2])):
        assert main([write(tmp_path, put(content, ("config", "group"), group))]) == 2


MAPS = {"elements", "verifying_shares", "signing_shares"}
"""Whose members are all compared, whatever their names."""


def got(content: Any, place: tuple[str | int, ...]) -> Any:
    for key in place:
        content = content[key]
    return content


@pytest.mark.parametrize("name", ["junk", "junkpostcard", "junk_postcard", "postcard"])
@pytest.mark.parametrize("kind", [*FILES, *CHECKS])
def test_whatever_stands_beside_what_is_compared_is_told(tmp_path: Path, kind: str, name: str) -> None:
    """A form on the wire is compared, where there is one; nothing else fails, and all of it is named."""
    content = FILES[kind]() if kind in FILES else load(kind)
    told = 0
    for place in [(), *_subtrees(content)]:
        beside, third = got(content, place), any(isinstance(key, int) and key > 1 for key in place)
        if not isinstance(beside, dict) or not MAPS.isdisjoint(place[-1:]) or name in beside or third:
            continue
        report = check(write(tmp_path, put(content, (*place, name), "00ff")))
        if name in report.unread:
            assert report.failures() == [], place
            assert list(report.lines()).count(f"       file.json: {name} is not compared") == 1
            told += 1
        else:
            assert name in ("postcard", "junk_postcard"), place
            assert len(report.failures()) == 1, place
    assert told


def test_what_stands_in_many_rows_is_told_once(tmp_path: Path) -> None:
    content = load("frost-ed25519-vectors-big-identifier")
    for row in content["inputs"]["participant_shares"]:
        row["junk"] = 1
    lines = list(check(write(tmp_path, content)).lines())
    assert [line for line in lines if "not compared" in line] == ["       file.json: junk is not compared"]


def test_a_key_package_may_say_what_it_belongs_to_and_that_is_compared(tmp_path: Path) -> None:
    """As the crate's own has it: the group's key and the threshold."""
    content = load("transcript-dkg-sign-2of3")
    for row in content["key_packages"]:
        row.update(verifying_key=content["public"]["verifying_key"], min_signers=content["t"], header={"version": 0})
    report = check(write(tmp_path, content))
    assert (report.failures(), set(report.unread)) == ([], {"header"})
    assert len(report.checks) == CHECKS["transcript-dkg-sign-2of3"] + 6
    for name, wrong_one in (("verifying_key", "00" * 32), ("min_signers", 3)):
        assert len(check(write(tmp_path, put(content, ("key_packages", 1, name), wrong_one))).failures()) == 1


@pytest.mark.parametrize("kind", ["frost-ed25519-vectors", "frost-ed25519-vectors_dkg"])
def test_what_a_config_says_of_its_hash_is_compared(tmp_path: Path, kind: str) -> None:
    content = load(kind)
    unread = check(write(tmp_path, content)).unread
    for right in ("SHA-512", "sha512"):
        assert check(write(tmp_path, put(content, ("config", "hash"), right))).unread == unread
    for other in ("SHA-256", "SHAKE256", "SHA-512/256", "BLAKE2b-512"):
        assert main([write(tmp_path, put(content, ("config", "hash"), other))]) == 2
    for name in ("hash", "name"):
        for said in ("of another kind", None, ["SHA-512"]):
            report = check(write(tmp_path, put(content, ("config", name), said)))
            assert (report.failures(), report.unread.count(name)) == ([], 1)


TWICE = {
    ("transcript-dkg-sign-2of3", ("signing", "round2", 0)): "signature_share",
    ("transcript-dkg-sign-2of3", ("dkg", "round1", 0)): "vss_commitments",
    ("frost-ed25519-vectors_dkg", ("inputs", "1")): "coefficients",
    ("frost-ed25519-vectors", ("inputs",)): "group_public_key",
    ("transcript-dkg-sign-2of3", ()): "dkg_postcard",
}
"""Another spelling of what is read already, and a form on the wire of what has none."""


@pytest.mark.parametrize(("where", "name"), TWICE.items())
def test_of_two_spellings_the_one_that_is_not_read_is_told(
    tmp_path: Path, where: tuple[str, tuple[str | int, ...]], name: str
) -> None:
    report = check(write(tmp_path, put(load(where[0]), (*where[1], name), "00ff")))
    assert (report.failures(), report.unread.count(name)) == ([], 1)
