"""docs/peer-prediction.md: its commands run, its thresholds are the defaults, a row of each table is what is played."""

import re
import sys
from pathlib import Path

import pytest

from davy.cli import main
from davy.incentive.fixed_point import U16
from davy.incentive.mechanism import Params
from davy.incentive.registry import MECHANISMS
from davy.sims import scenario
from davy.sims.comparing import COMPARED, Compared, compare, measured, page
from davy.sims.market import Market

PAGE = (Path(__file__).parents[2] / "docs" / "peer-prediction.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for text in FENCED for line in text.splitlines()]


def cells(first: str) -> list[str]:
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {first} |")]
    return [c.strip() for c in line.strip("|").split("|")][1:]


def told(c: Compared, measure: str) -> str:
    row = c.row()
    return f"{row[measure]:.3f} ±{row[f'{measure}_error']:.3f}"


ROWS = ("commit-without-reveal", "front-running-reveals", "stake-grinding", "child-key-shuffling")
MINERS = ("sybils", "relaying", "selective-quality", "caching", "timing")


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) == 4
    assert all(c.startswith("davy sim ") for c in COMMANDS)
    for command in COMMANDS:
        words = command.split()
        if "--markdown" in words:  # the long ones, played small
            words = [word for word in words if not word.startswith(("runs=", "epochs="))]
            words = [w for n, w in enumerate(words) if w != "--set" or "=" in words[n + 1]]
            words += ["--set", "runs=2", "--set", "epochs=2"]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, command
        assert capfd.readouterr().out.count("\n") > 3, command


def test_a_row_of_the_table() -> None:
    yuma, correlated, audited = compare(scenario("lazy-random").having({"runs": 8, "watch": False}))
    assert cells("`lazy-random`") == [
        *(told(c, "validators") for c in (yuma, correlated, audited)),
        told(audited, "validators_settled"),
        told(yuma, "tau"),
        told(audited, "tau_gain"),
    ]


def test_rows_that_a_command_wrote() -> None:
    """The commands of the other attacks name each row of their tables, and a row of each is what they print."""
    for names, chosen in ((ROWS, COMPARED), (MINERS, ("yuma3", "audited"))):
        (command,) = [c for c in COMMANDS if names[0] in c]
        assert command.split()[3 : 3 + len(names)] == list(names)
        assert "--set runs=4 --set watch=false --markdown" in command
        assert (f"--mechanisms {','.join(chosen)}" in command) == (chosen != COMPARED)
        for name in names:
            assert len(cells(f"`{name}`")) == len(chosen) + 3
        again = compare(scenario(names[0]).having({"runs": 4, "watch": False}), chosen)
        assert page(again).splitlines()[-1] in PAGE.splitlines()


def test_a_row_of_the_frontier() -> None:
    s = scenario("lazy-random").having({"runs": 4, "watch": False, "mechanism": "audited", "market.audits": 4})
    c = measured(s)
    assert cells("`market.audits=4`")[2:] == [told(c, "validators_settled"), told(c, "unevenness")]


def test_the_thresholds_are_the_defaults() -> None:
    p, m = Params(), Market()
    assert cells("pay") == [f"gain at {p.audit_low / U16:.1g} of the reference".replace("0.", "."),
                            f"at {p.audit_high / U16:.1g}".replace("0.", "."), "the stake in D = S∘(B·I)"]  # fmt: skip
    assert cells("vote")[:2] == [
        f"{100 * p.audit_lost / U16:.3g}% of reports wrong",
        f"{100 * p.audit_wrong / U16:.3g}%",
    ]
    assert f"{p.audit_tolerance} places or more above or below" in PAGE
    assert f"below {p.audit_enough} audits" in PAGE
    assert f"between {p.audit_floor / U16:.2f} and 1".replace("0.", ".") in PAGE
    assert round(U16 / p.audit_penalty) == 6
    assert "λ is ⅙" in PAGE
    assert f"says so for {m.window} more epochs" in PAGE
    assert f"{m.audits} of {m.miners} miners" in PAGE
    assert set(COMPARED) < set(MECHANISMS)
