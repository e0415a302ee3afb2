"""What a node answers on /brake, and that junk keeps out no order."""

from __future__ import annotations

import anyio
import pytest

from davy.killswitch import brake
from davy.killswitch.brake import first_state
from davy.killswitch.guard import Guard
from davy.network import brake_routes
from davy.network.brake_routes import BrakeLimits, BrakeRoutes, page_of
from davy.network.error_responses import answer
from davy.network.meter import Meter, Rate, neighbourhood
from davy.protocol.attestation import open_attestation
from davy.protocol.brake_messages import BrakeReply, OrderPage, OrderSet
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import ModelHalted
from davy.protocol.limits import MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES
from davy.protocol.ports import Response, SignedRequest
from tests.killswitch.story import START, Story, models, subject
from tests.network.conftest import Answering
from tests.twins import MemoryStore, SeededKeys, SetClock
from tests.twins.keyholders import Keyholders

pytestmark = pytest.mark.anyio
FEW = BrakeLimits(Rate(1.0, 3), Rate(1.0, 6), 50)


class Door:
    def __init__(self, story: Story, limits: BrakeLimits | None = None) -> None:
        self.clock = SetClock(START)
        self.guard = Guard(first_state(story.genesis), keys=SeededKeys(5), clock=self.clock, store=MemoryStore())
        for source in range(3):
            self.guard.pulled(bytes([source]) * 32)
        self.routes = BrakeRoutes(self.guard, Answering(elsewhere), self.clock, limits)

    async def ask(self, method: str, path: str, body: bytes = b"", address: str = "192.0.2.1") -> Response:
        reply = await answer(self.routes, SignedRequest(method, path, (), body, address))
        assert isinstance(reply, Response)
        return reply

    async def post(self, *orders: bytes, address: str = "192.0.2.1") -> Response:
        return await self.ask("POST", "/brake", encode(OrderSet(1, orders)), address)

    async def page(self, query: str = "") -> OrderPage:
        reply = await self.ask("GET", f"/brake{query}")
        assert reply.status == 200
        return decode(reply.body, OrderPage, limit=MAX_RESPONSE_BYTES)

    def is_halted(self, word: str = "model") -> bool:
        try:
            self.guard.permit(subject(word))
        except ModelHalted:
            return True
        return False


async def elsewhere(_: SignedRequest) -> Response:
    return Response(200, (), b"elsewhere")


def read(reply: Response) -> BrakeReply:
    assert reply.status == 200, reply.body
    return decode(reply.body, BrakeReply, limit=MAX_RESPONSE_BYTES)


def forged(story: Story, n: int) -> bytes:
    """Looks like a HALT of everything, for this chain and roster; the signature is junk."""
    raw = bytearray(story.given[story.halt(0, 1 + n / 1000, quietly=True)])
    raw[-3] ^= 1
    return bytes(raw)


@pytest.fixture
def story() -> Story:
    return Story()


async def test_an_order_is_taken_from_anybody_and_attested(story: Story) -> None:
    door = Door(story)
    halt = story.halt(0, 3)
    reply = read(await door.post(story.given[halt]))
    assert door.is_halted()
    assert [open_attestation(a).order for a in reply.attestations] == [halt]
    assert reply.head == door.guard.head
    assert reply.refused == ()
    assert read(await door.post(story.given[halt])).attestations == reply.attestations


async def test_other_paths_are_not_its_own(story: Story) -> None:
    door = Door(story)
    assert (await door.ask("GET", "/health")).body == b"elsewhere"
    assert (await door.ask("DELETE", "/brake")).status == 400
    assert (await door.ask("POST", "/brake?head=00")).status == 400


@pytest.mark.parametrize(
    "body", [b"", b"\x92\x01\x90", b"junk", encode(OrderSet(1, (b"junk",))), b"x" * (MAX_REQUEST_BYTES + 1)]
)
async def test_what_is_no_order_is_an_error(story: Story, body: bytes) -> None:
    reply = await Door(story).ask("POST", "/brake", body)
    assert reply.status in (400, 413)


async def test_good_ones_are_taken_from_among_bad_ones(story: Story) -> None:
    door = Door(story)
    halt = story.halt(0, 3)
    reply = read(await door.post(forged(story, 1), story.given[halt], b"junk"))
    assert door.is_halted()
    assert sorted((r.order, r.code) for r in reply.refused) == [(0, "bad_signature"), (2, "malformed")]


async def test_an_unknown_roster_asks_for_its_install(story: Story) -> None:
    door = Door(story)
    new = Keyholders(1)
    install = story.install(0, new)
    halt = story.halt(0, 3, by=new)
    alone = await door.post(story.given[halt])
    assert (alone.status, b"unknown_roster" in alone.body) == (422, True)
    assert read(await door.post(story.given[halt], story.given[install])).refused == ()
    assert door.is_halted()


class TestJunk:
    async def test_a_new_order_is_seen_however_much_junk_came_from_there(self, story: Story) -> None:
        """Also from the same address, and after both buckets were emptied."""
        door = Door(story, FEW)
        for n in range(50):
            await door.post(forged(story, 2 * n), forged(story, 2 * n + 1), address=f"192.0.2.{n % 4}")
        halt = story.halt(0, 3)
        assert (await door.ask("GET", "/brake")).status == 429
        assert read(await door.post(story.given[halt], address="192.0.2.1")).refused == ()
        assert door.is_halted()

    async def test_no_more_than_one_bad_signature_is_free(self, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
        door = Door(story, FEW)
        verified: list[bytes] = []
        real = brake.admit

        def counted(raw: bytes, *rest: object) -> object:
            verified.append(raw)
            return real(raw, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(brake, "admit", counted)
        junk = [forged(story, n) for n in range(100)]
        await door.post(*junk)
        assert len(verified) == 1 + 3
        await door.post(*junk)
        assert len(verified) == 1 + 3 + 1
        door.clock.time += 2_000
        await door.post(*junk)
        assert len(verified) == 5 + 1 + 2

    async def test_what_is_not_new_is_paid_for(self, story: Story) -> None:
        door = Door(story, FEW)
        raw = story.given[story.halt(0, 3)]
        answers = [(await door.post(raw)).status for _ in range(6)]
        assert answers == [200, 200, 200, 200, 429, 429]
        assert (await door.post(raw, address="198.51.100.1")).status == 200
        door.clock.time += 1_000
        assert (await door.post(raw)).status == 200

    async def test_all_together_have_a_bucket_too(self, story: Story) -> None:
        door = Door(story, FEW)
        answers = [(await door.ask("GET", "/brake", address=f"192.0.2.{n}")).status for n in range(8)]
        assert answers == [200] * 6 + [429] * 2


class TestPages:
    async def test_equal_heads_tell_nothing(self, story: Story) -> None:
        door = Door(story)
        await door.post(story.given[story.halt(0, 3)])
        assert len((await door.page()).orders) == 1
        assert (await door.page(f"?head={door.guard.head.hex()}")).orders == ()

    async def test_installs_come_first_and_pages_follow(self, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
        door = Door(story)
        new = Keyholders(1)
        story.halt(0, 3)
        story.install(0, new)
        story.halt(0, 3, models("other"), by=new)
        await door.guard.receive_all(story.given.values())
        monkeypatch.setattr(brake_routes, "_PAGE_BYTES", 700)  # the INSTALL is longer than both HALTs
        pages = [await door.page()]
        while pages[-1].after:
            pages.append(await door.page(f"?after={pages[-1].after[0].hex()}"))
        assert len(pages) > 1
        told = [raw for page in pages for raw in page.orders]
        assert sorted(told) == sorted(story.given.values())
        other = Door(story)
        for page in pages:
            assert (await other.guard.receive_all(page.orders)).refused == ()
        assert other.guard.head == door.guard.head

    @pytest.mark.parametrize(
        "query", ["?", "?head", "?head=", "?head=zz", "?head=" + "A" * 64, "?what=" + "0" * 64,
                  "?head=" + "0" * 64 + "&head=" + "1" * 64, "?&&&&&"],
    )  # fmt: skip
    async def test_a_query_is_read_strictly(self, story: Story, query: str) -> None:
        reply = await Door(story).ask("GET", f"/brake{query}")
        assert reply.status == (200 if query == "?" else 400)

    async def test_a_place_that_is_gone_begins_anew(self, story: Story) -> None:
        door = Door(story)
        await door.post(story.given[story.halt(0, 3)])
        assert page_of(door.guard, None, b"\x01" * 32).orders == page_of(door.guard, None, None).orders


async def test_what_does_not_end_in_time_is_not_attested_yet(story: Story) -> None:
    door = Door(story, FEW)
    halt = story.halt(0, 3)
    release, begun = anyio.Event(), anyio.Event()

    async def stubborn() -> None:
        try:
            async with door.guard.running(subject()):
                begun.set()
                with anyio.CancelScope(shield=True):
                    await release.wait()
        except ModelHalted:
            pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stubborn)
        await begun.wait()
        assert read(await door.post(story.given[halt])).attestations == ()
        assert door.is_halted()
        release.set()
    assert len(read(await door.post(story.given[halt])).attestations) == 1


def test_a_network_of_ipv6_is_one_sender() -> None:
    assert neighbourhood("2001:db8:1:2:3::4") == neighbourhood("2001:db8:1:2:ffff::") != neighbourhood("2001:db8:1:3::")
    assert neighbourhood("::ffff:192.0.2.1") == neighbourhood("192.0.2.1") != neighbourhood("192.0.2.2")
    assert neighbourhood("memory") == "memory"


def test_a_meter_refills_and_never_beyond_its_burst() -> None:
    clock = SetClock()
    meter: Meter[str] = Meter(Rate(2.0, 3), clock)
    assert [meter.spend("a") for _ in range(4)] == [0, 0, 0, 501]
    clock.time += 501
    assert (meter.spend("a"), meter.spend("a")) == (0, 500)
    clock.time -= 10_000  # a clock set back refills nothing
    assert meter.spend("a")
    clock.time += 1_000_000
    assert [meter.spend("a") for _ in range(4)] == [0, 0, 0, 501]
    assert not meter.spend("b")
