"""What `davy brake probe` makes of what was seen: who counts as stopped, what a person reads, the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from davy.cli import probing
from davy.cli.probing import Held, told_of
from davy.network.probing import Probed, Watch
from davy.protocol.transaction import Endpoint
from tests.cli.conftest import PASSWORD, Say
from tests.killswitch.story import Story, ms
from tests.miners.stage import neuron
from tests.twins import SetClock

STORY = Story()
ORDER = STORY.given[STORY.halt(0, 1)]
SEEN: dict[str, dict[str, Any]] = {
    "stopped": {"tokens": 5, "ended": ms(0) + 40, "order": ORDER},
    "stopped before": {"ended": ms(0) - 40, "order": ORDER},
    "goes on": {"tokens": 7, "flows": True},
    "unreached": {"fault": "nobody answers at h:4"},
    "refuses": {"tokens": 3, "refuses": True, "fault": "it shows no order of these keyholders"},
}


def held(uid: int, **seen: Any) -> Held:
    one: Any = None
    endpoint, hotkey = Endpoint("h", 1 + uid, bytes(32), b""), bytes([uid]) * 32
    watch = Watch(Probed(endpoint, hotkey, bytes(32)), one, SetClock(), one, one)
    for name, value in seen.items():
        setattr(watch, name, value)
    return Held(1, neuron(uid, hotkey), watch)


@pytest.mark.parametrize("state", SEEN)
def test_what_was_seen_of_a_miner_is_said_in_a_word(state: str) -> None:
    assert held(0, **SEEN[state]).state == state


def test_between_two_answers_it_goes_on_and_after_a_fault_it_is_not_reached() -> None:
    assert held(0, tokens=7).state == "goes on"
    assert held(0, tokens=7, fault="away").state == "unreached"
    assert held(0).state == "unreached"


@pytest.mark.anyio
async def test_the_order_is_asked_for_when_all_that_can_be_held_are_held(capsys: pytest.CaptureFixture[str]) -> None:
    behind, away = held(0, fault="busy: a block behind"), held(1, fault="away")

    async def said(after_s: float) -> str:
        await anyio.sleep(after_s)
        return capsys.readouterr().err

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(probing._tell, [behind, away])  # pyright: ignore[reportPrivateUsage]
        assert await said(2) == ""
        assert await said(8) == "h:1: busy: a block behind\nh:2: away\nStreams are open at 0 of 2 miners.\n"
        behind.watch.flows, behind.watch.fault = True, ""
        assert await said(1) == "Streams are open at 1 of 2 miners: give the order now.\n"
        away.watch.flows = True
        assert await said(1) == "Streams are open at 2 of 2 miners: give the order now.\n"
        behind.watch.tokens, behind.watch.ended, behind.watch.flows = 3, ms(0), False
        assert await said(9) == "h:1 stopped, 2027-01-15 08:00:00.000 UTC\n"
        tasks.cancel_scope.cancel()


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture
def probed(tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A home and a network file; what is put in here is what was seen."""
    network = tmp_path / "network.json"
    network.write_text('{"version":1,"chain":"%s","ledger":"http://127.0.0.1:1"}' % ("07" * 32))
    for name, value in {"HOME": tmp_path / "home", "NETWORK": network, "PASSWORD": PASSWORD}.items():
        monkeypatch.setenv(f"DAVY_{name}", str(value))
    assert say("key", "new", "--quick").code == 0
    told: dict[str, Any] = {}

    async def probe(*_: Any) -> dict[str, Any]:
        return told

    monkeypatch.setattr(probing, "_probe", probe)
    return told


def test_only_who_was_seen_to_stop_has_a_time_and_one_that_did_not_is_a_failure(
    probed: dict[str, Any], say: Say
) -> None:
    later = {**SEEN["stopped"], "ended": ms(0) + 52}
    probed |= told_of([held(uid, **seen) for uid, seen in enumerate([*SEEN.values(), later])])
    said = say("brake", "probe")
    assert said.code == 1
    lines = said.out.splitlines()
    assert lines[0].split() == ["where", "miner", "state", "stopped", "order", "fault"]
    assert "stopped         2027-01-15 08:00:00.040 UTC" in lines[1]
    first = "of those seen to stop the first did at 2027-01-15 08:00:00.040 UTC, the last 12 ms later"
    assert lines[-1] == f"3 of 6 miners have stopped; {first}"
    assert say("brake", "probe", "--json").json["first_at"] == ms(0) + 40


@pytest.mark.parametrize("state", SEEN)
def test_the_exit_code_is_0_where_all_have_stopped(state: str, probed: dict[str, Any], say: Say) -> None:
    probed |= told_of([held(0, **SEEN["stopped"]), held(1, **SEEN[state])])
    assert say("brake", "probe").code == (not state.startswith("stopped"))


def test_a_model_is_named_by_all_its_digits(probed: dict[str, Any], say: Say) -> None:
    said = say("brake", "probe", "--model", "07")
    assert (said.code, said.out) == (2, "")
    assert "is not a model id" in said.err
