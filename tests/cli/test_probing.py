"""What `davy brake probe` makes of what was seen: who counts as stopped, what a person reads, the exit code."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from msgspec.structs import replace
from trio.testing import MockClock

from davy.cli import probing
from davy.cli.probing import Held, told_of
from davy.network.probing import Probed, Watch
from davy.protocol.chain import ServedModel
from davy.protocol.errors import Misconfigured
from davy.protocol.manifest import Identity
from davy.protocol.transaction import Endpoint
from tests.cli.conftest import PASSWORD, Say
from tests.killswitch.story import Story, ms
from tests.miners.stage import neuron
from tests.twins import LoopClock, SetClock

STORY = Story()
ORDER = STORY.given[STORY.halt(0, 1)]
SEEN: dict[str, dict[str, Any]] = {
    "stopped": {"tokens": 5, "ended": ms(0) + 40, "order": ORDER},
    "stopped before": {"ended": ms(0) - 40, "order": ORDER},
    "goes on": {"tokens": 7, "flows": True},
    "unreached": {"fault": "nobody answers at h:4"},
    "goes on again": {"tokens": 7, "relapsed": True, "fault": "it served again"},
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
    assert held(0, **SEEN[state]).state == state.removesuffix(" again")


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


class Played(Watch):
    """Stops in its second second, and serves again when it is asked so often, if ever."""

    def __init__(self, uid: int, *, serves: int = 0) -> None:
        one: Any = None
        super().__init__(held(uid).watch.to, one, LoopClock(), one, one)
        self.asked, self._serves = 0, serves

    async def run(self) -> None:
        self.tokens, self.flows = 3, True
        await anyio.sleep(1.5)
        self.ended, self.order, self.flows = ms(0), ORDER, False

    async def ask_again(self) -> None:
        self.asked += 1
        if self.asked == self._serves:
            self.ended, self.order, self.relapsed, self.fault = None, b"", True, "it served again"


async def holding(*watches: Played, term: int = 60_000) -> list[Held]:
    every = [Held(1, neuron(uid, w.to.miner), w) for uid, w in enumerate(watches)]
    await probing._hold(every, term)  # pyright: ignore[reportPrivateUsage]
    await probing._ask_last(every)  # pyright: ignore[reportPrivateUsage]
    return every


@pytest.mark.anyio
async def test_who_has_stopped_is_asked_again_for_seconds_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    obeys, lies = Played(0), Played(1, serves=3)
    assert [h.state for h in await holding(obeys, lies)] == ["stopped", "goes on"]
    assert obeys.asked > 4
    assert lies.asked == 3, "one answer is enough"
    said = capsys.readouterr().err.splitlines()
    stopped = "2027-01-15 08:00:00.000 UTC"
    assert said[1:] == [f"h:1 stopped, {stopped}", f"h:2 stopped, {stopped}", "h:2 goes on: it served again"]


@pytest.mark.anyio
async def test_the_last_question_is_put_when_the_time_is_over() -> None:
    (late,) = await holding(Played(0, serves=1), term=1_600)
    assert (late.state, told_of([late])["stopped"]) == ("goes on", 0)


class Full:
    """A ledger with one subnet and so many miners."""

    def __init__(self, miners: int) -> None:
        self._miners = miners

    async def metagraph(self, _: int) -> Any:
        served = (ServedModel(bytes(32), Identity.FILES, 1),)
        places = ((uid, Endpoint("h", 1 + uid, bytes(32), b"")) for uid in range(self._miners))
        rows = [replace(neuron(uid, bytes(32)), endpoint=(e,), model=served) for uid, e in places]
        return SimpleNamespace(neurons=rows)


@pytest.mark.anyio
async def test_more_streams_than_a_process_holds_are_refused_in_a_sentence() -> None:
    async def found(miners: int) -> int:
        ledger: Any = Full(miners)
        return len(await probing._serving(ledger, [1], None))  # pyright: ignore[reportPrivateUsage]

    assert await found(900) == 900
    with pytest.raises(Misconfigured, match="901 streams are more than the 900 that can be held; name --model"):
        await found(901)


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
    assert lines[-1] == f"3 of 7 miners have stopped; {first}"
    told = say("brake", "probe", "--json").json
    assert told["first_at"] == ms(0) + 40
    assert [row["stopped_at"] for row in told["miners"]] == [ms(0) + 40, *[None] * 5, ms(0) + 52]
    assert "stopped before  " + " " * len("2027-01-15 08:00:00.040 UTC") in lines[2]


@pytest.mark.parametrize("state", SEEN)
def test_the_exit_code_is_0_where_all_have_stopped(state: str, probed: dict[str, Any], say: Say) -> None:
    probed |= told_of([held(0, **SEEN["stopped"]), held(1, **SEEN[state])])
    assert say("brake", "probe").code == (not state.startswith("stopped"))


def test_a_model_is_named_by_all_its_digits(probed: dict[str, Any], say: Say) -> None:
    said = say("brake", "probe", "--model", "07")
    assert (said.code, said.out) == (2, "")
    assert "is not a model id" in said.err


def test_an_order_is_named_by_eight_digits_or_more(probed: dict[str, Any], say: Say) -> None:
    for wrong in ("07", "0x112233445566", "f" * 65):
        said = say("brake", "probe", "--order", wrong)
        assert (said.code, said.out) == (2, "")
        assert "is not an order's id" in said.err
    probed |= told_of([held(0, **SEEN["stopped"])])
    assert say("brake", "probe", "--order", "ABCDEF01").code == 0
