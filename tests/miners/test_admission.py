"""Who is answered: the table, the rates and the places."""

import anyio
import pytest
from msgspec.structs import replace

from davy.miners.admission import NOBODY, Admission, Crowded, Rules
from davy.network.meter import MAX_METERED, Bucket, Rate, refilled
from davy.protocol.errors import Busy, Unauthorised
from davy.protocol.manifest import Access
from davy.protocol.recorded import AccessRecord
from davy.protocol.words import TOKEN
from tests.miners.stage import metagraph, neuron
from tests.twins import SetClock
from tests.twins.brake import ANYBODY

A, B = b"\x0a" * 32, b"\x0b" * 32


def admission(rules: Rules | None = None, *, stake: int = 5 * TOKEN, **subnet: int) -> tuple[Admission, SetClock]:
    clock = SetClock()
    made = Admission(rules or Rules(), clock)
    made.update(metagraph(1, neuron(0, A, stake), **subnet))
    return made, clock


@pytest.mark.parametrize(
    ("rules", "caller", "stake", "subnet", "answered"),
    [
        (Rules(), A, 5 * TOKEN, {}, True),
        (Rules(), A, TOKEN, {}, True),
        (Rules(), A, TOKEN - 1, {}, False),
        (Rules(), A, 0, {}, False),
        (Rules(), B, 5 * TOKEN, {}, False),
        (Rules(minimum_stake=0), A, 0, {}, False),  # no stake at all is never enough
        (Rules(minimum_stake=0), A, 1, {}, True),
        (Rules(minimum_stake=6 * TOKEN), A, 5 * TOKEN, {}, False),
        (Rules(minimum_stake=0), A, 5 * TOKEN, {"stake_threshold": 6 * TOKEN}, False),
        (Rules(minimum_stake=0), A, 6 * TOKEN, {"stake_threshold": 6 * TOKEN}, True),
        (Rules(open=True), B, 0, {}, True),
        (Rules(), NOBODY, 0, {}, True),  # only the local door lets such a caller come this far
    ],
)
def test_who_is_answered(rules: Rules, caller: bytes, stake: int, subnet: dict[str, int], answered: bool) -> None:
    made, _ = admission(rules, stake=stake, **subnet)
    if answered:
        assert made.authorise(caller, ANYBODY)
    else:
        with pytest.raises(Unauthorised, match="stake"):
            made.authorise(caller, ANYBODY)


C = b"\x0c" * 32
COLD = b"\x01" * 32
"""Of everybody who has a UID here."""
ADMITTED = AccessRecord(Access.ADMITTED, (), (), 9)


def named(*hotkeys: bytes, cold: tuple[bytes, ...] = ()) -> AccessRecord:
    return AccessRecord(Access.NAMED, cold, hotkeys, 9)


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize(
    ("access", "caller", "permit", "closed", "opened"),
    [
        # A has stake, B a UID without, C nothing; the last two say what a miner does that is closed, or open to all
        (ANYBODY, A, False, True, True),
        (ANYBODY, B, False, False, True),
        (ANYBODY, C, False, False, True),
        (ADMITTED, A, False, True, True),
        (ADMITTED, B, False, False, False),
        (ADMITTED, B, True, False, False),
        (ADMITTED, C, False, False, False),
        (ADMITTED, NOBODY, False, False, False),
        (named(), A, False, False, False),
        (named(), A, True, True, True),  # it may score
        (named(), B, True, False, True),
        (named(A), A, False, True, True),
        (named(A), B, False, False, False),
        (named(B), B, False, False, True),  # the miner asks for stake
        (named(C), C, False, False, True),
        (named(cold=(COLD,)), A, False, True, True),
        (named(cold=(COLD,)), B, False, False, True),
        (named(cold=(COLD,)), C, False, False, False),  # nobody knows its coldkey
        (named(cold=(A,)), A, False, False, False),  # a hotkey is no coldkey
        (named(COLD), A, False, False, False),
        (named(NOBODY), NOBODY, False, True, True),
        (named(cold=(bytes(32),)), NOBODY, False, False, False),
        (named(), NOBODY, False, False, False),
    ],
)
def test_the_stricter_of_registrant_and_miner_counts(
    access: AccessRecord, caller: bytes, permit: bool, closed: bool, opened: bool, is_open: bool
) -> None:
    made = Admission(Rules(open=is_open), SetClock())
    staked, poor = neuron(0, A, 5 * TOKEN, permit=False), neuron(1, B, 0)
    seats = {A: staked, B: poor}
    if permit:
        seats[caller] = replace(seats[caller], permit=True)
    made.update(metagraph(1, *seats.values()))
    if opened if is_open else closed:
        assert made.authorise(caller, access)
    else:
        with pytest.raises(Unauthorised):
            made.authorise(caller, access)


def test_before_anybody_knows_whom_a_registrant_lets_ask_nobody_is_answered() -> None:
    made, _ = admission(Rules(open=True))
    for caller in (A, B, NOBODY):
        with pytest.raises(Busy):
            made.authorise(caller, None)


def test_a_refusal_says_what_to_do() -> None:
    made, _ = admission(Rules(open=True))
    with pytest.raises(Unauthorised, match=r"callers with stake.*stake on the hotkey"):
        made.authorise(B, ADMITTED)
    with pytest.raises(Unauthorised, match="names who may ask"):
        made.authorise(B, named(A))
    with pytest.raises(Unauthorised, match="sign it"):
        made.authorise(NOBODY, ADMITTED)


def test_a_newer_metagraph_replaces_the_older() -> None:
    made, _ = admission()
    made.update(metagraph(2, neuron(0, B, 2 * TOKEN)))
    assert made.authorise(B, ANYBODY)
    with pytest.raises(Unauthorised):
        made.authorise(A, ANYBODY)


def test_a_burst_then_a_rate_for_each_caller_by_itself() -> None:
    made, clock = admission(Rules(rate=2, burst=3))
    for _ in range(3):
        made.spend(A)
    with pytest.raises(Crowded) as refused:
        made.spend(A)
    assert refused.value.retry_after_ms == 501
    made.spend(B)
    clock.time += refused.value.retry_after_ms
    made.spend(A)
    with pytest.raises(Crowded):
        made.spend(A)
    clock.time += 3_600_000
    for _ in range(3):
        made.spend(A)
    with pytest.raises(Crowded):
        made.spend(A)


def test_a_clock_that_goes_back_refills_nothing() -> None:
    assert refilled(Bucket(1.0, 5_000), 1_000, Rate(10, 5)) == 1.0
    assert refilled(Bucket(1.0, 5_000), 5_200, Rate(10, 5)) == 3.0
    assert refilled(Bucket(1.0, 5_000), 9_000, Rate(10, 5)) == 5.0


def test_callers_are_remembered_within_a_bound() -> None:
    made, _ = admission(Rules(burst=1))
    made.spend(A)
    for i in range(MAX_METERED - 1):
        made.spend(i.to_bytes(32))
    with pytest.raises(Crowded):
        made.spend(A)
    assert len(made._rates) == MAX_METERED


@pytest.mark.anyio
async def test_places_and_queue_are_bounded() -> None:
    made, _ = admission(Rules(places=2, queue=1))
    inside = 0
    most = 0
    leave = anyio.Event()

    async def one() -> None:
        nonlocal inside, most
        async with made.place():
            inside += 1
            most = max(most, inside)
            await leave.wait()
            inside -= 1

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(one)
        await anyio.wait_all_tasks_blocked()
        assert inside == 2
        with pytest.raises(Crowded):
            made.spend(A)
        with pytest.raises(Crowded):
            async with made.place():
                raise AssertionError("there was no place")
        leave.set()
    assert most == 2
    made.spend(A)
