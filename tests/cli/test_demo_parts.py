"""The demo's parts that need no process: who plays what, what is claimed, what a report says, what may be imported."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from davy.cli.demo import cast, claims, report, sabotage
from davy.cli.demo.cast import Cast, Role
from davy.protocol.chain import EpochRecord, Issuance

FOLDER = Path(cast.__file__).parent
ALLOWED = ("davy.cli.demo", "davy.ledger.client", "davy.protocol", "davy.models", "davy")


def facts(
    paid: dict[Role, int], *, dividends: tuple[int, int, int] = (90, 100, 100), issued: int = 10, lost: str = ""
) -> claims.Facts:
    played = Cast(
        tuple(cast.Miner(role.name, role) for role in Role),
        tuple(cast.Validator(f"v{i}", i == 0) for i in range(3)),
    )
    uids = {m.name: i for i, m in enumerate(played.miners)} | {f"v{i}": 7 + i for i in range(3)}
    miners = (*(paid.get(m.role, 0) for m in played.miners), 0, 0, 0)
    sealed = EpochRecord(1, 5, 50, 100, 0, miners, (*(0,) * 7, *dividends), ())
    plain = EpochRecord(2, 5, 50, 100, 0, miners, (*(0,) * 7, 99, 100, 100), ())
    issuance = Issuance(50, issued, issued, 0, 0, 0, 0, 0, 0, 0)
    stakes = {f"v{i}": 1 for i in range(3)}
    return claims.Facts(played, [sealed], [plain], uids, uids, stakes, 5, issuance, 10, "v2", {"the ledger": lost})


HONEST = {Role.FIRST_GOOD: 100, Role.SECOND_GOOD: 80, Role.WEAK: 10, Role.LOOKUP: 4}


def failed(f: claims.Facts) -> set[str]:
    return {c.name for c in claims.check(f) if not c.holds}


def test_an_honest_market_fails_nothing() -> None:
    assert failed(facts(HONEST)) == set()


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        (facts(HONEST | {Role.LOOKUP: 5}), "cheat: lookup"),
        (facts(HONEST | {Role.LIAR: 80}), "cheat: liar"),
        (facts(HONEST | {Role.WEAK: 81}), "weak"),
        (facts(HONEST, dividends=(100, 100, 100)), "weight copier"),
        (facts(HONEST, issued=11), "issuance"),
        (facts(HONEST, lost="a transfer"), "kill -9: the ledger"),
    ],
)
def test_each_claim_can_fail(changed: claims.Facts, name: str) -> None:
    assert failed(changed) == {name}


def test_where_a_good_miner_earns_nothing_nothing_is_shown_of_the_others() -> None:
    without = failed(facts({**dict.fromkeys(HONEST, 0), Role.FIRST_GOOD: 100}))
    assert without == {"good", "weak", *(f"cheat: {role}" for role in cast.CHEATS)}


def test_every_sabotage_names_a_claim() -> None:
    names = {c.name for c in claims.check(facts(HONEST))} | {"kill -9: a validator"}
    assert {cause.claim for cause in sabotage.SABOTAGE.values()} <= names


def test_a_seed_deals_all_roles_and_seeds_differ() -> None:
    dealt = [cast.deal(seed) for seed in range(20)]
    assert all({m.role for m in c.miners} == set(Role) for c in dealt)
    assert all(sum(v.copies for v in c.validators) == 1 for c in dealt)
    assert len({tuple(m.role for m in c.miners) for c in dealt}) > 15
    assert cast.deal(7) == cast.deal(7)


def test_a_report_stands_by_itself_and_escapes_what_it_shows() -> None:
    f = facts(HONEST)
    told = report.Told(
        1, f.cast, claims.check(f), {"run": 1.0}, 2**30, f.sealed, f.sealed_uids, ["<script>alert(1)</script>"], {}
    )
    page = report.as_html(told)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<svg" in page
    value = json.loads(report.as_json(told))
    assert value["holds"] is True
    assert value["earned"]["FIRST_GOOD"] == [100]


def test_the_demo_sees_only_what_anybody_could_see() -> None:
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                ours = module.split(".")[0] == "davy"
                assert not ours or module in ALLOWED or module.startswith(tuple(f"{a}." for a in ALLOWED[:-1])), path
