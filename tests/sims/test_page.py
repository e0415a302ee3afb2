"""docs/simulate.md: every command and every block of it runs as it stands, and its figures are those of the code."""

from __future__ import annotations

import contextlib
import io
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from davy.cli import main
from davy.sims import run, scenario, scenarios, study
from davy.sims.beyond.graphs import TOPOLOGIES
from davy.sims.metrics import METRICS
from tests.sims.stage import median, played

PAGE = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
BLOCKS = [text for language, text in FENCED if language == "python"]
COMMANDS = [line for language, text in FENCED if not language for line in text.splitlines()]
SHOWN = ("relative_pay", "emission_share", "honest_loss", "griefing", "cost", "noticed")


def test_the_page_has_commands_and_blocks() -> None:
    assert len(BLOCKS) == 6
    assert len(COMMANDS) == 5
    assert all(c.startswith("davy sim ") for c in COMMANDS)


def test_the_commands_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        monkeypatch.setattr(sys, "argv", command.split())
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, command
        assert capfd.readouterr().out.count("\n") > 8, command
    assert {p.name for p in tmp_path.iterdir()} == {"copying", "copying.csv", "copying.parquet"}


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_runs(block: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(block, "simulate.md", "exec", dont_inherit=True), {"__name__": "page"})


def cells(first: str) -> list[str]:
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {first} |")]
    return [c.strip() for c in line.strip("|").split("|")]


@pytest.mark.parametrize("name", list(METRICS))
def test_a_metric_is_defined_as_the_code_says(name: str) -> None:
    assert cells(f"`{name}`")[1:] == list(METRICS[name])


def word(value: float) -> str:
    return "∞" if math.isinf(value) else "–" if math.isnan(value) else f"{value:.3g}"


@pytest.mark.parametrize("name", [n for n in scenarios() if n != "honest"])
def test_the_table_is_what_the_scenarios_come_to(name: str) -> None:
    result = run(scenario(name).having({"runs": 8}))
    assert cells(f"`{name}`")[1:] == [word(float(np.median(result.metrics[m]))) for m in SHOWN]


def test_what_noise_on_sybils_answers_and_a_cheap_model_come_to_is_what_is_computed() -> None:
    noisy = run(scenario("sybils").having({"runs": 8, "watch": False, "attack.jitter": 0.2}))
    assert f"and pays {np.median(noisy.metrics['relative_pay']):.2f}-fold" in PAGE
    two_faced = scenario("selective-quality")
    spent = [two_faced.attack.spends(two_faced.market, attacking=attacking) for attacking in (True, False)]
    assert "for a good third of the cost" in PAGE
    assert 1 / 3 < spent[0] / spent[1] < 0.36


def test_the_copier_s_figures_are_those_computed() -> None:
    for concealment in (0, 12):
        s = scenario("weight-copying").having({"runs": 8, "start": 25, "market.concealment": concealment})
        for metric in ("relative_pay", "relative_dividend"):
            assert f"{median(s, metric):.3f}" in PAGE


REGISTRATIONS: dict[str, dict[str, object]] = {
    "sniping, one model": {},
    "sniping, many models": {"alike": False},
    "sniping, for up to 20 tokens": {"alike": False, "limit": 20.0},
    "sitting, worthless": {"plan": "sit", "quality": 0.0, "most": 48},
    "sitting, for up to 20 tokens": {"plan": "sit", "quality": 0.0, "most": 48, "limit": 20.0},
    "sitting, immunity of one epoch": {"plan": "sit", "quality": 0.0, "most": 48, "limit": 20.0, "immunity": 360},
}


def registration_row(name: str) -> list[str]:
    s = study("registrations").having({"runs": 8} | REGISTRATIONS[name])
    metrics = ("roi", "cost", "harm", "griefing", "held", "quality_loss", "noticed")
    return [word(median(s, metric)) for metric in metrics]


@pytest.mark.parametrize("name", list(REGISTRATIONS))
def test_what_registrations_come_to_is_what_is_computed(name: str) -> None:
    assert cells(name)[1:] == registration_row(name)


@pytest.mark.parametrize("bribed", [0.3, 0.4, 0.5, 0.6])
def test_what_the_briber_s_promise_costs_is_what_is_computed(bribed: float) -> None:
    s = study("plus-epsilon").having({"runs": 8, "bribed": bribed})
    told = [f"{median(s, m):.3g}" for m in ("relative_pay", "bribe_rate", "refusing", "roi", "honest_loss")]
    assert cells(f"{bribed:.1f}")[1:] == told


GOVERNANCE: dict[str, tuple[str, dict[str, object]]] = {
    "a false halt, ordinary": ("keyholder-bribery", {}),
    "a false halt, systemic": ("keyholder-bribery", {"systemic": True}),
    "a LIFT of one's own model": ("keyholder-bribery", {"goal": "lift"}),
    "a veto on a LIFT, systemic": ("keyholder-bribery", {"goal": "veto-lift", "systemic": True}),
    "a veto on HALTs, ordinary": ("keyholder-bribery", {"goal": "veto-halt"}),
    "stake of one block, where a block counts": ("flash-stake", {"rule": "snapshot"}),
    "stake of one block, by davy's rule": ("flash-stake", {}),
    "stake of an epoch, by davy's rule": ("flash-stake", {"plan": "epoch"}),
    "votes bought, paid in any case": ("vote-buying", {}),
    "votes bought, paid if lost (P+ε)": ("vote-buying", {"sure": False}),
}


def governance_row(name: str) -> list[str]:
    kind, changes = GOVERNANCE[name]
    s = study(kind).having({"runs": 100} | changes)
    succeeded = "captured" if kind == "keyholder-bribery" else "passed"
    values = [float(np.mean(played(s).metrics[m])) for m in (succeeded, "cost", "harm")]
    return [f"{values[0]:.2f}", *(f"{v:.0f}" for v in values[1:]), f"{values[2] / values[1]:.3g}" if values[1] else "–"]


@pytest.mark.parametrize("name", list(GOVERNANCE))
def test_what_governance_attacks_come_to_is_what_is_computed(name: str) -> None:
    assert cells(name)[1:] == governance_row(name)


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_the_times_to_stop_are_those_computed(topology: str) -> None:
    told: list[str] = []
    for worst in (False, True):
        s = study("time-to-stop").having({"runs": 8, "nodes": 100, "topology": topology, "worst": worst})
        unreached, half, last = (median(s, name) for name in ("unreached", "p50", "last"))
        told += [f"{unreached:.2f}", *("∞" if math.isinf(t) else f"{t / 1000:.1f}" for t in (half, last))]
    assert cells(topology)[1:] == told
