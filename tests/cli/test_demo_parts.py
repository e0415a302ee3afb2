"""The demo's parts that need no process: who plays what, what is claimed, what a report says, what may be imported."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from davy.cli.demo import cast, claims, report, sabotage
from davy.cli.demo.brake_claims import BrakeFacts, Paid, Rogue, check_brake
from davy.cli.demo.cast import Cast, Role
from davy.cli.demo.claims import Claim, nearness
from davy.cli.demo.council import Given
from davy.cli.demo.play import Market, Plan
from davy.cli.demo.prober import Answers
from davy.cli.demo.users import Ended
from davy.protocol.chain import EpochRecord, Issuance

FOLDER = Path(cast.__file__).parent
ALLOWED = (
    "davy.cli.demo", "davy.cli.ask", "davy.ledger.client", "davy.protocol", "davy.models", "davy.host", "davy.network",
    "davy",
)  # fmt: skip


def facts(
    paid: dict[Role, int], *, dividends: tuple[int, int, int] = (90, 100, 100), issued: int = 10, lost: str = ""
) -> claims.Facts:
    played = Cast(
        tuple(cast.Miner(role.name, role) for role in Role),
        tuple(cast.Validator(f"v{i}", i == 0) for i in range(3)),
    )
    uids = {m.name: i for i, m in enumerate(played.miners)} | {f"v{i}": 8 + i for i in range(3)}
    miners = (*(paid.get(m.role, 0) for m in played.miners), 0, 0, 0)
    sealed = EpochRecord(1, 5, 50, 100, 0, miners, (*(0,) * 8, *dividends), ())
    plain = EpochRecord(2, 5, 50, 100, 0, miners, (*(0,) * 8, 99, 100, 100), ())
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
        (facts(HONEST | {Role.SELECTIVE: 41}), "selective"),
        (facts(HONEST, dividends=(100, 100, 100)), "weight copier"),
        (facts(HONEST, dividends=(0, 100, 100)), "weight copier"),
        (facts(HONEST, issued=11), "issuance"),
        (facts(HONEST, lost="a transfer"), "kill -9: the ledger"),
    ],
)
def test_each_claim_can_fail(changed: claims.Facts, name: str) -> None:
    assert failed(changed) == {name}


def test_where_a_good_miner_earns_nothing_nothing_is_shown_of_the_others() -> None:
    without = failed(facts({**dict.fromkeys(HONEST, 0), Role.FIRST_GOOD: 100}))
    assert without == {"good", "weak", "selective", *(f"cheat: {role}" for role in cast.CHEATS)}


def test_every_sabotage_names_a_claim() -> None:
    names = {c.name for c in claims.check(facts(HONEST))} | {"kill -9: a validator"}
    names |= {c.name for c in check_brake(braked())}
    assert {cause.claim for cause in sabotage.SABOTAGE.values()} - {""} <= names


HALTED_AT = 1_000
CUT = Ended(5, 200, "model_halted", b"halt", HALTED_AT + 200)
ENDS = (
    Ended(3, 200, "broken", b"", HALTED_AT - 1),
    Ended(9, 200, "", b"", HALTED_AT + 100),
    CUT,
    Ended(0, 451, "model_halted", b"halt", HALTED_AT + 300),
)


def braked(**changed: Any) -> BrakeFacts:
    """A halt as it should go."""
    halt = Given(b"h" * 32, b"halt", ("alice", "bob", "carol"), HALTED_AT)
    lift = Given(b"l" * 32, b"lift", ("alice", "bob", "carol", "dave"), 0)
    facts = BrakeFacts(
        everybody=2, halt=halt, too_few_to_halt="too few", stopped={"a": 300, "b": 400}, watched=2,
        ends=ENDS,
        attested={"a": 250, "b": 350}, restarted=Answers(0, 5, 1), restored=Answers(0, 5, 0),
        rogue=Rogue(3, 451, "model_halted", "10", ""), paid=Paid(0.4, 0, 0.4, 2), too_few_to_lift="too few", lift=lift,
        resumed=5.0, drill=halt, drilled={"a": 1, "b": 2}, answered_in_drill=200, records=(),
    )  # fmt: skip
    return facts._replace(**changed)


def test_a_halt_that_goes_as_it_should_fails_nothing() -> None:
    assert [c.name for c in check_brake(braked()) if not c.holds] == []


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"too_few_to_halt": ""}, "two cannot halt"),
        ({"too_few_to_lift": ""}, "three cannot lift"),
        ({"lift": Given(b"", b"", ("alice", "bob", "carol"), 0)}, "three cannot lift"),
        ({"stopped": {"a": 300, "b": 5_001}}, "time to stop"),
        ({"stopped": {}}, "time to stop"),
        ({"stopped": {"a": 300}}, "time to stop"),
        ({"ends": ()}, "streams"),
        ({"ends": (CUT._replace(order=b"another"),)}, "streams"),
        ({"ends": (CUT, CUT._replace(code="broken", order=b""))}, "streams"),
        ({"ends": (CUT, CUT._replace(code="unavailable"))}, "streams"),
        ({"attested": {"a": 250}}, "attested: halt"),
        ({"drilled": {}}, "attested: drill"),
        ({"restarted": Answers(1, 5, 0)}, "stays halted: a restarted miner"),
        ({"restarted": Answers(0, 0, 9)}, "stays halted: a restarted miner"),
        ({"restored": Answers(2, 5, 0)}, "stays halted: a miner on an old backup"),
        ({"paid": Paid(0.4, 1, 0.4, 2)}, "halted earn nothing"),
        ({"paid": Paid(0.4, 0, 0.1, 2)}, "not to rivals"),
        ({"paid": Paid(0.0, 0, 0.0, 2)}, "not to rivals"),
        ({"rogue": Rogue(3, 200, "", "10", "")}, "gateway refuses"),
        ({"rogue": Rogue(3, 451, "model_halted", "", "no")}, "rogue"),
        ({"rogue": Rogue(0, 451, "model_halted", "10", "")}, "rogue"),
        ({"resumed": 41.0}, "resumes"),
        ({"answered_in_drill": 451}, "drill stops nothing"),
    ],
)
def test_each_claim_of_a_halt_can_fail(changed: dict[str, Any], name: str) -> None:
    assert [c.name for c in check_brake(braked(**changed)) if not c.holds] == [name]


def test_a_seed_deals_all_roles_and_seeds_differ() -> None:
    dealt = [cast.deal(seed) for seed in range(20)]
    assert all({m.role for m in c.miners} == set(Role) for c in dealt)
    assert all(sum(v.copies for v in c.validators) == 1 for c in dealt)
    assert len({tuple(m.role for m in c.miners) for c in dealt}) > 15
    assert cast.deal(7) == cast.deal(7)


def test_a_report_stands_by_itself_and_escapes_what_it_shows() -> None:
    f = facts(HONEST)
    told = report.Report(
        1, f.cast, claims.check(f), {"run": 1.0}, 2**30, f.sealed, f.sealed_uids, ["<script>alert(1)</script>"], {}
    )
    page = report.as_html(told)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<svg" in page
    value = json.loads(report.as_json(told))
    assert value["holds"] is True
    assert value["earned"]["FIRST_GOOD"] == [100]


class Watched(Market):
    """A market whose epochs are given: the selective miner is paid as a good one for three, and then maybe no more."""

    def __init__(self, *, seen_through: bool) -> None:
        self.plan, self.epoch, self._seen = Plan(end=8), 4, seen_through
        self.cast = facts(HONEST).cast

    async def epoch_now(self) -> int:
        return self.epoch

    async def until_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    async def pay(self, role: Role) -> float:
        selective = {Role.SELECTIVE: 100}
        paid = [facts(HONEST | (selective if n < 3 or not self._seen else {})) for n in range(self.epoch)]
        return claims.of_a_good_one(self.cast, role, [f.sealed[0] for f in paid], paid[0].sealed_uids)


@pytest.mark.anyio
@pytest.mark.parametrize(("seen_through", "epoch"), [(True, 9), (False, 12)])
async def test_the_market_goes_on_until_the_selective_miner_is_outearned(seen_through: bool, epoch: int) -> None:
    ended, share = await Watched(seen_through=seen_through).until_outearned(Role.SELECTIVE)
    assert ended == epoch
    assert (share <= claims.SEEN_SHARE) is seen_through


def test_the_demo_sees_only_what_anybody_could_see() -> None:
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                ours = module.split(".")[0] == "davy"
                assert not ours or module in ALLOWED or module.startswith(tuple(f"{a}." for a in ALLOWED[:-1])), path


def test_the_weakest_claim_is_the_nearest_to_failing() -> None:
    exact, near, far = Claim("exact", "", 0.0), Claim("near", "", 0.01), Claim("far", "", 40.0)
    assert min((far, exact, near), key=nearness) is near, "equality that holds is not near to failing"
    assert min((near, Claim("unequal", "", -1.0)), key=nearness).name == "unequal"
