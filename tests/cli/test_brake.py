"""What a keyholder types and reads of the brake: which HALT convicts, what an EXTEND extends, what status says."""

from __future__ import annotations

import json
import shlex
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import pytest

from davy.cli import brake, holding, ordering
from davy.cli.brake import halt_naming
from davy.cli.ordering import Asked, has_it
from davy.host.clock import SystemClock
from davy.host.home import Home
from davy.host.journal import FileJournal
from davy.host.store import SqliteStore
from davy.keyholders.claims import all_said
from davy.keyholders.coordinator import Completed
from davy.keyholders.drills import DrillRelease, drill_released, read_release
from davy.keyholders.messages import Consider
from davy.keyholders.release import Book, Delivery
from davy.keyholders.watch import DrillSeen, Seen, ledger_seen, seen
from davy.killswitch.brake import first_state, head, take
from davy.killswitch.clocks import Clocks, moment
from davy.killswitch.index import INDEX, Index, read_index
from davy.killswitch.scope import Subject
from davy.protocol.chain import Head
from davy.protocol.encoding import encode
from davy.protocol.errors import Misconfigured
from davy.protocol.limits import DAY_MS, FRESH_MS
from davy.protocol.order import Extend, Miner, Subnet, Target
from davy.protocol.receipt import EMPTY_BRAKE_HEAD
from tests.cli.conftest import PASSWORD, Say
from tests.keyholders.stage import MemoryJournal
from tests.keyholders.test_watch import recorded
from tests.killswitch.story import TARGETS, Story, facts, ms, name, order_of, systemic
from tests.twins import SetClock

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

    async def give_order(_: Any, action: Any, *args: Any, **how: Any) -> int:
        given.append(action)
        return 0

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
        show(tell(story.genesis, [place], newest, None, [systemic()], [], Clocks(ms(day), ms(day))))
        return capsys.readouterr().out

    assert "HALTED until 2027-01-17 08:00:00 UTC, and what is systemic until it is lifted" in shown(1)
    after = shown(3)
    assert f"HALTED what is systemic until it is lifted, by order {i.hex()[:16]}" in after
    assert "nothing is halted" not in after


def test_who_has_forgotten_what_lapsed_knows_all(capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    lease, halt = story.lease(0, 1), story.halt(0, 2)
    every, rest = ([story.given[i] for i in ids] for ids in ((lease, halt), (halt,)))
    places = [ledger_seen(story.genesis, "ledger", recorded(story, every))]
    state = take(first_state(story.genesis), rest).state
    places += [seen(story.genesis, "node", head(state), rest), seen(story.genesis, "new", EMPTY_BRAKE_HEAD, [])]

    def knows(day: float) -> list[str]:
        told = brake._told(  # pyright: ignore[reportPrivateUsage]
            story.genesis, places, Head(9, ms(day), b"", b""), None, [], [], Clocks(ms(day), ms(day))
        )
        return [p["knows"] for p in told["places"]]

    assert knows(0.5) == ["all", "less", "less"]
    assert knows(5) == ["all", "all", "less"]


def aged(home: Path, chain: str, days: float) -> Index:
    """A home whose node has kept a time of so many days from now."""

    async def put() -> Index:
        own = SystemClock().now() + round(days * DAY_MS)
        kept = Index(1, bytes.fromhex(chain), (), (), own, 0, 1)
        with SqliteStore(Home(home).store) as store:
            await store.put(INDEX, encode(kept))
        return kept

    return anyio.run(put)


def kept_in(home: Path) -> Index:
    async def get() -> Index:
        with SqliteStore(Home(home).store) as store:
            return read_index(await store.get(INDEX) or b"")

    return anyio.run(get)


def test_a_node_gets_the_ledgers_time_and_only_if_it_was_ahead(place: Path, say: Say) -> None:
    chain = json.loads((place / "network.json").read_text())["chain"]
    clock = ("brake", "clock", "--home", "member", "--json")
    before = aged(place / "member", chain, 400)
    told = say(*clock).json
    after = kept_in(place / "member")
    assert abs(after.own - SystemClock().now()) < FRESH_MS
    assert after == msgspec.structs.replace(before, own=after.own)
    assert (told["kept_before"], told["kept_now"]) == (moment(before.own), moment(after.own))
    again = say(*clock)
    assert (again.code, "is not ahead" in again.err) == (2, True)
    assert kept_in(place / "member") == after


def test_where_a_clock_cannot_be_mended_it_says_why_and_changes_nothing(place: Path, say: Say) -> None:
    chain = json.loads((place / "network.json").read_text())["chain"]
    clock = ("brake", "clock", "--home", "stranger")

    def refused(words: str) -> None:
        said = say(*clock)
        assert (said.code, said.out) == (2, "")
        assert words in said.err

    refused("no node has run in")
    aged(place / "stranger", "00" * 32, 400)
    refused("another chain")
    before = aged(place / "stranger", chain, 400)
    with Home(place / "stranger").running():
        refused("a node runs in")
    ahead = msgspec.structs.replace(before, height=2**40)
    with SqliteStore(Home(place / "stranger").store) as store:
        anyio.run(store.put, INDEX, encode(ahead))
    refused("this node has seen 1099511627776")
    assert kept_in(place / "stranger") == ahead


def test_a_brake_that_fills_is_told_in_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("davy.killswitch.brake.MAX_BRAKE_ORDERS", 260)
    story = Story()
    story.lease(0, 1)

    def shown() -> str:
        raws = list(story.given.values())
        place = ledger_seen(story.genesis, "ledger", recorded(story, raws))
        told = brake._told(  # pyright: ignore[reportPrivateUsage]
            story.genesis, [place], Head(9, ms(0), b"", b""), None, [], [], Clocks(ms(0), ms(0))
        )
        brake._show(told)  # pyright: ignore[reportPrivateUsage]
        return capsys.readouterr().out

    for n in range(3):
        story.halt(0, 1 + n)
    assert "WARNING" not in shown()
    story.halt(0, 5)
    assert "WARNING: after 256 orders more the roster's brake is full" in shown()


def test_a_drill_is_told_by_who_released_it_and_else_by_the_ledger_alone(capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    order = order_of(story.given[story.drill(0, 1, recorded=False)])
    nodes = [Delivery("node", f"n{n}", n != 2, "", ms(0) + 10 * n) for n in range(1, 4)]
    released = drill_released(order, ms(0), nodes)
    seen_there = DrillSeen(order.id, ms(0), 2, 1)

    def last(drill: DrillSeen | None, release: DrillRelease | None, height: int = 9) -> tuple[dict[str, Any], str]:
        newest, at = Head(height, ms(0), b"", b"") if height else None, Clocks(ms(0), ms(0))
        told = brake._told(story.genesis, [], newest, drill, [], [], at, release)  # pyright: ignore[reportPrivateUsage]
        brake._show(told)  # pyright: ignore[reportPrivateUsage]
        return told["last_drill"] or {}, capsys.readouterr().out

    told, shown = last(seen_there, released)
    assert (told["answered"], told["addressed"], told["unreached"]) == (2, 3, ["n2"])
    assert (told["p50_ms"], told["p99_ms"], told["max_ms"], told["on_ledger"]) == (10, 30, 30, 2)
    assert "answered 2 of 3, unreached 1 (n2), p50/p99/max 10/30/30 ms" in shown
    assert "answered 2 of 3" in last(None, released, 0)[1], "no ledger is needed for it"
    told, shown = last(seen_there, None)
    assert (told["answered"], told["p50_ms"], told["on_ledger"], told["blocks"]) == (None, None, 2, 1)
    assert "on the ledger 2 nodes answered, the last 1 block after the drill" in shown
    assert "how fast, only who released it knows" in shown
    other = DrillSeen(bytes(32), ms(1), 5, 0)
    assert "on the ledger 5 nodes answered, the last 0 blocks after the drill" in last(other, released)[1]
    assert last(other, released)[0]["answered"] is None, "a newer one, of somebody else"
    assert "was never drilled" in last(None, None)[1]


@pytest.mark.anyio
async def test_who_releases_a_drill_keeps_what_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story, clock = Story(), SetClock(ms(0))
    whole = order_of(story.given[story.drill(0.003, 1, recorded=False)])

    class Asks:
        async def sign(self, *_: Any, **how: Any) -> list[Any]:
            return []

        async def tell(self, _: bytes) -> None: ...

    class Route:
        name = "node"

        async def release(self, _: Any) -> list[Delivery]:
            await clock.sleep_until(clock.now() + 40)
            return [Delivery("node", "a", True, "", clock.now()), Delivery("node", "b", False, "away")]

    @asynccontextmanager
    async def meeting(*_: Any) -> AsyncGenerator[Asks]:
        yield Asks()

    @asynccontextmanager
    async def routes(*_: Any) -> AsyncGenerator[list[Route]]:
        yield [Route()]

    monkeypatch.setattr(ordering, "meeting", meeting)
    monkeypatch.setattr(ordering, "routes", routes)
    monkeypatch.setattr(ordering, "completed", lambda *_: Completed(whole, ("alice",), ()))
    journal = FileJournal(tmp_path)
    keyholder: Any = SimpleNamespace(clock=clock, journal=journal, home=SimpleNamespace(orders=tmp_path))
    asked = Asked(Path(), "", None, Path(), None, 0, None, False, True, False)
    proposal = Consider(encode(whole.order), "", ())
    office: Any = None
    await ordering._sign_and_release(  # pyright: ignore[reportPrivateUsage]
        keyholder, office, whole.order.action, proposal, Book(), asked, heed=all_said
    )
    kept = read_release(await journal.released() or b"", story.chain)
    assert kept == DrillRelease(1, story.chain.hex(), whole.id.hex(), ms(0), (40,), ("b",))
    assert "answered 1 of 2, unreached 1 (b), p50/p99/max 40/40/40 ms" in capsys.readouterr().out


FILE, LEDGER, NODE, NAMED = (
    Delivery("file", "out", True, ""),
    Delivery("ledger", "", False, "x"),
    Delivery("node", "a", False, ""),
    Delivery("named", "b", False, ""),
)
RELEASED = {
    "a node has it": ([FILE, LEDGER, NODE._replace(reached=True)], ""),
    "the ledger has it": ([LEDGER._replace(reached=True), NODE], ""),
    "only a file was asked for": ([FILE], ""),
    "it has only a file": ([FILE, LEDGER, NODE], "`davy brake bring out --book FILE`"),
    "no file could be written": ([FILE._replace(reached=False)], "`davy brake bring JOURNAL --book FILE`"),
    "half of those that a ledger names": (
        [NODE, NAMED._replace(reached=True), NAMED],
        "`davy brake bring JOURNAL --book FILE`",
    ),
    "most of those that a ledger names": ([NODE, *[NAMED._replace(reached=True)] * 2, NAMED], ""),
    "nobody was asked": ([], "`davy brake bring JOURNAL --book FILE`"),
    "nobody answered": ([LEDGER, NODE], "`davy brake bring JOURNAL --book FILE`"),
    "nothing is kept": ([LEDGER], "give another with --book FILE"),
}


@pytest.mark.parametrize(("deliveries", "told"), RELEASED.values(), ids=RELEASED)
def test_an_order_that_nobody_has_is_no_success(
    deliveries: list[Delivery], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    order = order_of(story.given[story.halt(0, 2)])
    kept = tmp_path / f"{order.id.hex()}.signed"
    if "give another" not in told:
        kept.write_bytes(order.raw)
    assert has_it(order, deliveries, tmp_path) == bool(told)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == bool(told)
    assert told.replace("JOURNAL", str(kept)) in said.err


def test_a_network_file_that_cannot_be_read_leaves_only_the_ledger_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: Any, **how: Any) -> Any:
        raise PermissionError("this is for somebody else")

    monkeypatch.setattr(ordering, "read_network", refused)
    file = tmp_path / "network"
    file.touch()
    assert ordering.network_there(file) is None
    assert "The ledger is left out: this is for somebody else" in capsys.readouterr().err


class TestWithoutALedger:
    """Nodes of an address book are asked all the same, about the chain that the home knows."""

    @pytest.fixture
    def story(self, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> Story:
        story = Story()
        monkeypatch.setenv("DAVY_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("DAVY_PASSWORD", PASSWORD)
        (tmp_path / "book").write_text("127.0.0.1:7\n")
        assert say("key", "new", "--quick").code == 0
        Home.open(tmp_path / "home").keep_genesis(story.genesis)
        story.halt(0, 2)
        raws = list(story.given.values())
        place = seen(story.genesis, "127.0.0.1:7", head(story.state), raws)._replace(newest=SystemClock().now())

        async def ask_node(*_: Any) -> Seen:
            return place

        monkeypatch.setattr(brake, "ask_node", ask_node)
        return story

    @pytest.mark.parametrize("network", ["", '{"version":1,"chain":"CHAIN","ledger":"http://127.0.0.1:1"}'])
    def test_the_nodes_tell(self, network: str, story: Story, tmp_path: Path, say: Say) -> None:
        there = tmp_path / "network.json"
        if network:
            there.write_text(network.replace("CHAIN", story.chain.hex()))
        said = say("brake", "status", "--network", str(there), "--book", str(tmp_path / "book"), "--json")
        assert said.code == 1, said
        assert "The ledger is left out" in said.err
        places = {p["where"]: p["knows"] for p in said.json["places"]}
        assert places == {"ledger": "unknown", "127.0.0.1:7": "all"}
        told = say("brake", "status", "--network", str(there), "--book", str(tmp_path / "book")).out
        assert told.startswith("no ledger: this is what the nodes say\n")
        assert "never drilled" not in told

    @pytest.mark.usefixtures("story")
    def test_of_a_ledger_of_another_chain_nothing_is_mixed_in(self, tmp_path: Path, say: Say) -> None:
        there = tmp_path / "network.json"
        there.write_text('{"version":1,"chain":"%s","ledger":"http://127.0.0.1:1"}' % ("07" * 32))
        said = say("brake", "status", "--network", str(there), "--book", str(tmp_path / "book"))
        assert said.code == 2
        assert "belongs to another chain" in said.err

    def test_without_a_book_it_says_what_is_missing(self, tmp_path: Path, say: Say) -> None:
        said = say("brake", "status", "--network", str(tmp_path / "none"))
        assert said.code == 2
        assert "there is no network file" in said.err


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
