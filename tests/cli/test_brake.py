"""What a keyholder types and reads of the brake: which HALT convicts, what an EXTEND extends, what status says."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from davy.cli import brake, holding
from davy.cli.brake import halt_naming
from davy.cli.ordering import Asked
from davy.keyholders.watch import ledger_seen
from davy.killswitch.scope import Subject
from davy.protocol.chain import Head
from davy.protocol.encoding import encode
from davy.protocol.errors import Misconfigured
from davy.protocol.order import Extend, Miner, Subnet, Target
from tests.cli.conftest import PASSWORD, Say
from tests.keyholders.stage import MemoryJournal
from tests.keyholders.test_watch import recorded
from tests.killswitch.story import TARGETS, Story, facts, ms, name, order_of, systemic

SERVED = Subject(hotkey=name("model's miner"), model=facts("model"))
OUTRIGHT = {word: target for word, target in TARGETS.items() if not isinstance(target, Subnet)}


@pytest.mark.parametrize("target", OUTRIGHT.values(), ids=OUTRIGHT)
def test_a_halt_that_names_what_was_served_is_found_however_it_names_it(target: Target) -> None:
    story = Story()
    story.halt(0, 2, Miner(name("another's miner")))
    i = story.halt(0, 2, target)
    assert halt_naming(SERVED, story.state, ms(1), None) == i
    assert halt_naming(SERVED, story.state, ms(3), i.hex()[:8].upper()) == i, "a systemic model's goes on"
    later = story.halt(3, 5, target)
    assert halt_naming(SERVED, story.state, ms(4), None) == later, "rather one that has not ended"
    story.lift(4, i, later)
    with pytest.raises(Misconfigured, match="no HALT"):
        halt_naming(SERVED, story.state, ms(4), None)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize(("extended", "begins"), [(True, 6), (False, 2)])
async def test_an_extend_begins_where_the_halt_ends_and_not_where_one_ends_that_too_few_signed(
    extended: bool, begins: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    story, journal, given = Story(), MemoryJournal(), list[Any]()
    halt = story.halt(0, 2)
    further = story.extend(1, halt, 2, 6)
    await journal.keep_signed(halt, story.given[halt])
    await journal.keep(further, encode(order_of(story.given[further]).order))
    if extended:
        await journal.keep_signed(further, story.given[further])
    keyholder = SimpleNamespace(journal=journal, home=SimpleNamespace(genesis=lambda: story.genesis))

    async def find_orders(*_: Any) -> list[bytes]:
        return [encode(order_of(story.given[halt]).order)]

    async def give_order(_: Any, action: Any, *args: Any, **how: Any) -> None:
        given.append(action)

    monkeypatch.setattr(holding, "Keyholder", SimpleNamespace(open=lambda _: keyholder))
    monkeypatch.setattr(holding, "find_orders", find_orders)
    monkeypatch.setattr(holding, "give_order", give_order)
    asked = Asked(Path(), "", None, Path(), None, 0, None, False, True, False)
    await holding._extend(asked, halt.hex(), 0)  # pyright: ignore[reportPrivateUsage]
    assert given == [Extend(halt, ms(begins))]


def test_status_never_says_that_nothing_is_halted_while_a_systemic_model_is(capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    i = story.halt(0, 2)
    place = ledger_seen(story.genesis, "ledger", recorded(story, [story.given[i]]))

    def shown(day: float) -> str:
        newest = Head(9, ms(day), b"", b"")
        show, tell = brake._show, brake._told  # pyright: ignore[reportPrivateUsage]
        show(tell(story.genesis, [place], newest, None, [systemic()], [], ms(day)))
        return capsys.readouterr().out

    assert "HALTED until 2027-01-17 08:00:00 UTC, and what is systemic until it is lifted" in shown(1)
    after = shown(3)
    assert f"HALTED what is systemic until it is lifted, by order {i.hex()[:16]}" in after
    assert "nothing is halted" not in after


@pytest.fixture
def keyholder(tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """A keyholder's home that knows its circle, and no chain."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAVY_PASSWORD", PASSWORD)
    monkeypatch.setenv("DAVY_NETWORK", "nowhere")
    monkeypatch.setenv("DAVY_HOME", "alice")
    lines = [
        say("keyholder", "init", "--home", n, "--name", n, "--address", "127.0.0.1:1", "--quick", "--json").json["line"]
        for n in ("alice", "bob")
    ]
    Path("lines").write_text("\n".join(lines))
    assert say("keyholder", "circle", "lines").code == 0


MISTAKES = {
    "an id that is too short": ("lift 1234567 --reason x --yes", "too short"),
    "no id": ("lift --reason x --yes", "Missing argument"),
    "an empty id": ("lift '' --reason x", "too short"),
    "too long": ("halt global --reason x --for 8d", "7d is the longest"),
    "a lease too long": (f"keyholder lease {'07' * 32} --reason x --for 31d", "30d is the longest"),
}


@pytest.mark.usefixtures("keyholder")
@pytest.mark.parametrize(("typed", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_in_one_sentence(typed: str, told: str, say: Say) -> None:
    said = say(*shlex.split(typed))
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said
    assert said.err.startswith("davy: ")
    assert told in said.err
