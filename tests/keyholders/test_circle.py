"""The circle's lines, the desk, the address book: what is read from files and people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.keyholders.circle import Circle, Holder, fingerprint, holder_line, parse_address, read_circle
from davy.keyholders.desk import Desk, Matter
from davy.keyholders.release import Delivery, read_book, release_by_all
from davy.keyholders.standing import keeps_stopped
from davy.protocol.errors import Busy, Expired, Malformed, Refused, Unauthorised, Unreachable
from davy.protocol.limits import MAX_CIRCLE, MAX_MATTERS
from davy.protocol.order import Global, Miner, Models, Subnet, Target, VerifiedOrder
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole
from tests.keyholders.stage import Stage
from tests.twins import SeededKeys, SetClock


def holders(count: int) -> list[Holder]:
    keys = [SeededKeys(n).public(KeyRole.KEYHOLDER) for n in range(count)]
    return [Holder(f"k{n}", Endpoint(f"host{n}", 1 + n, bytes([n]) * 32, b""), k) for n, k in enumerate(keys)]


def lines(some: list[Holder]) -> str:
    return "".join(f"{holder_line(h)}\n" for h in some)


def test_lines_are_read_as_they_were_written_in_any_order() -> None:
    some = holders(5)
    one, other = read_circle(lines(some)), read_circle("# ours\n\n" + lines(some[::-1]))
    assert one == other
    assert sorted(one.holders) == sorted(some)
    assert one.keys == tuple(sorted(h.key for h in some))
    six = [Holder("six", Endpoint("::1", 9, bytes(32), b""), some[0].key), some[1]]
    assert read_circle(lines(six)).holders == tuple(sorted(six, key=lambda h: h.key))


def test_addresses_are_no_part_of_the_fingerprint_names_and_keys_are() -> None:
    some = holders(3)
    moved = [some[0]._replace(endpoint=Endpoint("elsewhere", 5, b"\7" * 32, b"")), *some[1:]]
    renamed = [some[0]._replace(name="other"), *some[1:]]
    assert read_circle(lines(moved)).digest == read_circle(lines(some)).digest
    assert read_circle(lines(renamed)).digest != read_circle(lines(some)).digest
    assert read_circle(lines(holders(4))).digest != read_circle(lines(some)).digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        lines(holders(1)),
        lines(holders(MAX_CIRCLE + 1)),
        lines([*holders(2), holders(1)[0]]),
        lines([holders(2)[0], holders(2)[1]._replace(name="k0")]),
        lines(holders(2)).replace("k0", "K0"),
        lines(holders(2)).replace("k0", "k\u202e"),
        lines(holders(2)).replace("sha256:", "sha1:"),
        lines(holders(2)).replace("holder_", "hot_"),
        lines(holders(2)).replace("host0:1 ", "host0 "),
        lines(holders(2)).replace("host0:1 ", "host0:0 "),
        lines(holders(2)).replace("host0:1 ", "host0:70000 "),
        lines(holders(2)).replace(" sha", " x sha"),
        lines(holders(2))[:-20],
    ],
)
def test_lines_that_are_none(text: str) -> None:
    with pytest.raises(Malformed):
        read_circle(text)


@given(st.text())
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    for read in (read_circle, parse_address, read_book):
        try:
            read(text)
        except Malformed as e:
            assert str(e).isprintable()  # noqa: PT017


def test_a_stranger_has_no_place_in_the_circle() -> None:
    circle = Circle(tuple(holders(3)))
    with pytest.raises(Unauthorised):
        circle.identifier(bytes(32))


def test_a_fingerprint_is_eight_words_of_the_first_88_bits() -> None:
    assert fingerprint(bytes(32)) == " ".join(["abandon"] * 8)
    assert fingerprint(b"\xff" * 32) == " ".join(["zoo"] * 8)
    assert fingerprint(bytes(10) + b"\1" + bytes(21)).split()[-1] == "ability"
    assert fingerprint(bytes(11) + b"\1" * 21) == fingerprint(bytes(32))


def test_a_book_holds_addresses() -> None:
    book = read_book("# nodes\n10.0.0.1:443\n\n[::1]:80\n10.0.0.1:443\n")
    assert [(e.host, e.port) for e in book.nodes] == [("10.0.0.1", 443), ("::1", 80)]
    assert not book.plain
    for bad in ("", "# none\n", "host", "host:0", "https://x:1", "http://", "http://x", "http://http://x:1"):
        with pytest.raises(Malformed):
            read_book(bad)


def test_a_gateway_stands_in_a_book_with_its_scheme() -> None:
    book = read_book("10.0.0.1:443\nhttp://10.0.0.2:8000\nhttp://[::1]:80\n")
    assert [(e.host, e.port) for e in book.nodes] == [("10.0.0.1", 443), ("10.0.0.2", 8000), ("::1", 80)]
    assert book.plain == {("10.0.0.2", 8000), ("::1", 80)}


A, B = b"\1" * 32, b"\2" * 32
MODEL, FILE, OWNER = Models((A,), (), ()), Models((), (A,), ()), Models((), (), (A,))
TARGETS: list[tuple[Target, Target, bool]] = [
    (Global(), MODEL, True), (Global(), Global(), True), (MODEL, Global(), False), (Subnet(1), Subnet(1), True),
    (Subnet(1), Subnet(2), False), (Miner(A), Miner(A), True), (Miner(A), Miner(B), False), (Miner(A), MODEL, False),
    (Models((A, B), (), ()), MODEL, True), (MODEL, Models((A, B), (), ()), True), (MODEL, FILE, False),
    (FILE, FILE, True), (OWNER, OWNER, True), (OWNER, MODEL, False), (Subnet(1), MODEL, False),
]  # fmt: skip


@pytest.mark.parametrize(("standing", "freed", "stops"), TARGETS)
def test_which_halts_keep_stopped_what_a_lift_frees(standing: Target, freed: Target, stops: bool) -> None:
    assert keeps_stopped(standing, freed) is stops


def matter(n: int, sender: bytes = A, kind: str = "halt", expires: int = 10) -> Matter:
    return Matter(bytes([n]) * 32, kind, "screen", sender, expires)


def test_the_desk_is_bounded_by_sender_and_by_time() -> None:
    clock = SetClock(0)
    desk = Desk(clock)
    for n in range(MAX_MATTERS):
        desk.put(matter(n))
    assert desk.put(matter(3)) is desk.find(b"\3" * 32)
    desk.put(matter(99, sender=B))
    assert len(desk.undecided()) == MAX_MATTERS + 1
    desk.put(matter(100))
    assert len(desk.undecided()) == MAX_MATTERS + 1
    assert desk.find(bytes(32)).gave_way
    for n in range(101, 164 - MAX_MATTERS):
        desk.put(matter(n))
    with pytest.raises(Busy):
        desk.put(matter(200))
    desk.put(Matter(b"\xc8" * 32, "halt", "screen", A, 10, is_order=True))
    clock.time = 11
    with pytest.raises(Expired):
        desk.find(b"\3" * 32)
    assert desk.undecided() == []


def test_the_first_answer_counts() -> None:
    desk = Desk(SetClock(0), yes_to=("drill",))
    assert desk.put(matter(1, kind="drill")).decision is True
    first = desk.put(matter(2))
    desk.decide("02020202", False)
    first.decide(True)
    assert first.decision is False
    for prefix in ("0202", "02020202", "03030303", ""):
        with pytest.raises(Malformed):
            desk.decide(prefix, True)
    desk.put(Matter(b"\4" * 32, "halt", "", A, 10))
    desk.put(Matter(b"\4" * 31 + b"\5", "halt", "", A, 10))
    with pytest.raises(Malformed, match="2 proposals"):
        desk.decide("04040404", True)


class Route:
    def __init__(self, name: str, fails: bool = False) -> None:
        self.name, self._fails = name, fails

    async def release(self, order: VerifiedOrder) -> list[Delivery]:
        if self._fails:
            raise Unreachable("cut")
        return [Delivery(self.name, "node", True, order.id.hex())]


@pytest.mark.anyio
async def test_a_route_that_is_cut_holds_up_no_other() -> None:
    stage = await Stage().start()
    done = await stage.people[0].complete(stage.people[0].order())
    delivered = await release_by_all([Route("a", fails=True), Route("b")], done.order)
    assert [(d.route, d.reached) for d in delivered] == [("a", False), ("b", True)]


def test_refused_is_what_malformed_is() -> None:
    assert issubclass(Malformed, Refused)
