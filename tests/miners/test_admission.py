"""Who is answered: the table, the rates and the places."""

import anyio
import pytest

from davy.miners.admission import NOBODY, Admission, Crowded, Rules
from davy.network.meter import MAX_METERED, Bucket, Rate, refilled
from davy.protocol.errors import Unauthorised
from davy.protocol.words import TOKEN
from tests.miners.stage import metagraph, neuron
from tests.twins import SetClock

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
        assert made.authorise(caller)
    else:
        with pytest.raises(Unauthorised, match="stake"):
            made.authorise(caller)


def test_a_newer_metagraph_replaces_the_older() -> None:
    made, _ = admission()
    made.update(metagraph(2, neuron(0, B, 2 * TOKEN)))
    assert made.authorise(B)
    with pytest.raises(Unauthorised):
        made.authorise(A)


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
