"""Transcripts that go on after the key was made: a refresh, of all or of fewer, and a repair, right and wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from davy.killswitch.conformance import postcard
from davy.killswitch.conformance.__main__ import check, main
from davy.killswitch.group import L, identifier
from tests.killswitch.ceremony import plain
from tests.killswitch.mending import begun, mended
from tests.killswitch.test_conformance import leaves, plain_terms, signed_by, spoilt, transcript
from tests.killswitch.test_conformance_others import put, write
from tests.twins.dealer import Group

NUMBERS = [1, 2, 3, 300]


def group_of(t: int) -> Group:
    """The key of `transcript`."""
    made = plain(plain_terms(t, NUMBERS)).finish()
    return Group({i: key for i, (key, _) in made.items()}, next(iter(made.values()))[1])


def refreshed(group: Group, numbers: list[int]) -> dict[str, Any]:
    made = begun(group, [identifier(n) for n in numbers])
    new = made.finish()
    packages = next(iter(made.secrets.values())).confirmed.checked.packages
    return {
        "round1": [
            {
                "identifier": p.identifier.hex(),
                "vss_commitment": [c.hex() for c in p.commitment],
                "proof_of_knowledge": p.proof.hex(),
                "postcard": postcard.from_round1(p).hex(),
            }
            for p in packages
        ],
        "round2": [
            {"from": s.sender.hex(), "to": s.recipient.hex(), "signing_share": s.share.hex()} for s in made.shares
        ],
        "key_packages": [
            {
                "identifier": i.hex(),
                "signing_share": key.signing_share.hex(),
                "verifying_share": key.verifying_share.hex(),
            }
            for i, key in new.keys.items()
        ],
        "public": {
            "verifying_key": new.public.group_key.hex(),
            "verifying_shares": {i.hex(): y.hex() for i, y in new.public.shares().items()},
        },
    }


def repaired(group: Group, lost: int, helpers: list[int], *, own: bool) -> dict[str, Any]:
    """With or without what each helper keeps for itself."""
    made = mended(group, identifier(lost), [identifier(n) for n in helpers])
    kept = [(i, i, secret.deltas[i]) for i, secret in made.secrets.items()] if own else []
    deltas = [(d.sender, d.recipient, d.delta) for d in made.deltas] + kept
    return {
        "lost": lost,
        "helpers": helpers,
        "deltas": [{"from": a.hex(), "to": b.hex(), "delta": delta.hex()} for a, b, delta in deltas],
        "sigmas": [{"identifier": s.sender.hex(), "sigma": s.sigma.hex()} for s in made.sigmas()],
        "signing_share": made.finish().signing_share.hex(),
    }


def whole(t: int = 2, *, refreshing: tuple[int, ...] = (1, 2, 300), own: bool = False) -> dict[str, Any]:
    group = group_of(t)
    return {
        **transcript(t, NUMBERS, NUMBERS[:t]),
        "refresh": refreshed(group, list(refreshing)),
        "repair": repaired(group, 3, [1, 2, 300][:t], own=own),
    }


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("t", [2, 3])
@pytest.mark.parametrize("refreshing", [(1, 2, 300), (1, 2, 3, 300)])
def test_a_refresh_and_a_repair_hold(tmp_path: Path, t: int, refreshing: tuple[int, ...], own: bool) -> None:
    report = check(write(tmp_path, whole(t, refreshing=refreshing, own=own)))
    assert report.failures() == []
    assert report.unread == []


@pytest.mark.parametrize("section", ["refresh", "repair"])
def test_a_change_of_any_value_is_noticed_and_so_is_whatever_is_missing(tmp_path: Path, section: str) -> None:
    content = whole(own=True)
    for place in leaves(content[section], (section,)):
        assert main([write(tmp_path, spoilt(content, place))]) != 0, place
    for name in content[section]:
        copy = json.loads(json.dumps(content))
        del copy[section][name]
        assert main([write(tmp_path, copy)]) != 0, name
    for name, rows in content[section].items():
        for n in range(len(rows)) if isinstance(rows, list) else ():
            without = [*rows[:n], *rows[n + 1 :]]
            assert main([write(tmp_path, put(content, (section, name), without))]) != 0, (name, n)
            assert main([write(tmp_path, put(content, (section, name), [*rows, rows[n]]))]) != 0, (name, n)


def test_a_scalar_that_is_not_reduced_is_none(tmp_path: Path) -> None:
    content = whole()
    for name, field in (("deltas", "delta"), ("sigmas", "sigma")):
        value = int.from_bytes(bytes.fromhex(content["repair"][name][0][field]), "little")
        longer = (value + L).to_bytes(32, "little").hex()
        assert main([write(tmp_path, put(content, ("repair", name, 0, field), longer))]) == 1


def shifted(section: dict[str, Any], rows: str, field: str, by: dict[int, int]) -> dict[str, Any]:
    """Add so much to the scalars of some rows."""
    copy = json.loads(json.dumps(section))
    for n, more in by.items():
        value = (int.from_bytes(bytes.fromhex(copy[rows][n][field]), "little") + more) % L
        copy[rows][n][field] = value.to_bytes(32, "little").hex()
    return copy


def test_errors_that_cancel_each_other_out_are_noticed(tmp_path: Path) -> None:
    content = whole(3, own=True)
    right = content["repair"]
    to_one = [n for n, row in enumerate(right["deltas"]) if row["to"] == right["deltas"][0]["to"]]
    for wrong in (
        shifted(right, "sigmas", "sigma", {0: 1, 1: -1}),
        shifted(right, "deltas", "delta", {to_one[0]: 1, to_one[1]: -1}),
    ):
        assert main([write(tmp_path, {**content, "repair": wrong})]) == 1


def test_shares_of_another_refresh_do_not_pass_and_neither_does_its_key(tmp_path: Path) -> None:
    content, other = whole(), whole(3)
    assert main([write(tmp_path, {**content, "refresh": other["refresh"]})]) != 0
    assert main([write(tmp_path, {**content, "repair": other["repair"]})]) != 0
    assert main([write(tmp_path, {k: v for k, v in content.items() if k != "key_packages"})]) == 2


def test_what_is_signed_with_refreshed_shares_is_compared(tmp_path: Path) -> None:
    content, new = whole(), begun(group_of(2), [identifier(n) for n in (1, 2, 300)]).finish()
    content["refresh"]["signing"] = signed_by([new.keys[identifier(n)] for n in (2, 300)], new.public, [2, 300])
    assert main([write(tmp_path, content)]) == 0
    content["refresh"]["signing"] = content["signing"]
    assert main([write(tmp_path, content)]) == 1, "it was signed with the shares before"
    content["refresh"] = {**content["refresh"], "signing": []}
    assert main([write(tmp_path, content)]) == 2


def test_whatever_stands_in_a_row_beside_is_told(tmp_path: Path) -> None:
    content = whole()
    for section, rows in (("refresh", REFRESH_ROWS), ("repair", REPAIR_ROWS)):
        for name in rows:
            report = check(write(tmp_path, put(content, (section, name, 0, "junk"), "00ff")))
            assert (report.failures(), report.unread) == ([], ["junk"]), (section, name)
    for name in REPAIR_ROWS:
        report = check(write(tmp_path, put(content, ("repair", name, 0, "postcard"), "00ff")))
        assert (report.failures(), report.unread) == ([], ["postcard"]), name
    of_key = put(content, ("refresh", "key_packages", 0, "verifying_key"), content["public"]["verifying_key"])
    assert check(write(tmp_path, of_key)).failures() == []
    for name, wrong in (("verifying_key", "00" * 32), ("min_signers", 3)):
        report = check(write(tmp_path, put(content, ("refresh", "key_packages", 0, name), wrong)))
        assert len(report.failures()) == 1, name


REFRESH_ROWS = ("round1", "round2", "key_packages")
REPAIR_ROWS = ("deltas", "sigmas")
