"""Seats in a full subnet: as the ledger gives them, and what sniping and sitting do with that."""

import numpy as np
import pytest

from davy.ledger.rules.subnets import turnover
from davy.protocol.errors import Misconfigured, TxCode
from davy.protocol.limits import hyperparameters
from davy.protocol.words import TOKEN
from davy.sims import run, study
from davy.sims.beyond.registration import Registrations, Subnet
from davy.sims.beyond.seats import Seat
from davy.sims.noise import UNIT
from tests.ledger.rules.world import World, genesis
from tests.sims.stage import median, played


def small(**more: object) -> Registrations:
    s = study("registrations").having({"seats": 32, "validators": 4, "most": 16, "runs": 3, "epochs": 30} | more)
    assert isinstance(s, Registrations)
    return s


def test_a_seat_is_given_as_the_ledger_gives_it() -> None:
    """Five epochs of registrations, some in vain: the same UIDs, the same refusals, the same prices."""
    h = hyperparameters(tempo=10, immunity=12, max_uids=8, max_validators=2, registrations_an_epoch=2)
    w, wanted = World(genesis(h)), 2
    chain = w.genesis.parameters
    low, high = chain.burn_low / TOKEN, chain.burn_high / TOKEN
    s = small(seats=8, validators=2, most=4, wanted=wanted, immunity=12, price=low, low=low, high=high)
    seat = Seat(s, [UNIT] * 8)
    seat.safe[:] = False  # nobody has stake here
    w.register("ann", *(f"first-{i}" for i in range(6)))
    w.end_epoch()
    w.register("ann", "first-6", "first-7")
    w.end_epoch()
    seat.registered[:] = [n.registered_at for n in w.metagraph().neurons]
    seat.price = w.subnet().registration_price
    outcomes: list[TxCode] = []
    for epoch, wish in enumerate((7, 1, 3, 6, 2)):
        for i in range(wish):
            name = f"late-{epoch}-{i}"
            w.send("ben", w.registration("ben", name))
            (code,) = w.block()
            outcomes.append(code)
            assert seat.take(i, w.machine.height) == (code is TxCode.OK), name
            assert seat.registered.tolist() == [n.registered_at for n in w.metagraph().neurons]
        w.end_epoch()
        seat.end()
        assert seat.price == w.subnet().registration_price
    assert set(outcomes) == {TxCode.OK, TxCode.FULL}


def test_a_sniper_waits_for_the_price_and_takes_all_that_an_epoch_gives() -> None:
    s = small(limit=0.2, newcomers=0.0, price=1.0)
    subnet = Subnet(s, range(1))
    before = after = 0
    for t in range(40):
        theirs = subnet.arms[1][0]
        price, spent = theirs.price, theirs.burned
        subnet.epoch(t)
        bought = round((theirs.burned - spent) / price)
        if t < 10 or price > 0.2 * TOKEN:
            before += bought
        else:
            after = max(after, bought)
    assert before == 0
    assert after == turnover(s.seats) == 2


def test_who_sits_never_holds_more_than_immunity_shelters() -> None:
    s = small(plan="sit", each=2, quality=0.0, limit=100.0, most=24)
    held = played(s).arrays["attack.held"]
    assert held.max() <= 2 * (4_096 // 360 + 2)
    assert held[:, -1].min() >= 12
    assert median(s, "shut_out") > 5
    none = small(plan="sit", each=2, quality=0.0, limit=100.0, most=24, immunity=0)
    assert played(none).arrays["attack.held"].max() <= 2  # the next to come takes the seat


def test_copies_of_one_model_pay_only_where_nobody_sees_that_they_are() -> None:
    alike, apart = (study("registrations").having({"runs": 3, "alike": a}) for a in (True, False))
    assert median(apart, "relative_pay") > 3 * median(alike, "relative_pay")
    assert median(alike, "roi") < 0 < median(apart, "roi")


def test_worthless_sitters_hurt_at_a_price_that_the_floor_sets() -> None:
    cheap, dear = (small(plan="sit", quality=0.0, limit=5.0, low=low, price=low) for low in (0.1, 1.0))
    assert median(cheap, "griefing") > 1.5 * median(dear, "griefing") > 1
    assert median(cheap, "quality_loss") > 0.05
    for s in (cheap, dear):
        result = played(s)
        assert result.metrics["cost"] == pytest.approx(result.arrays["attack.spent"].sum(axis=1) / TOKEN)
        assert (result.metrics["roi"] <= -0.99).all()


def test_arms_are_one_until_the_attack_and_without_one() -> None:
    idle = run(small(plan="sit", each=0))
    assert np.array_equal(*idle.numbers)
    assert not np.array_equal(*run(small()).numbers)


def test_every_token_is_paid_to_somebody_or_to_the_owner() -> None:
    result = run(small())
    for arm in ("honest", "attack"):
        paid = result.arrays[f"{arm}.pay"] + result.arrays[f"{arm}.others"]
        owner = 100 * TOKEN * 11_796 // 65_535
        assert np.abs(paid - (100 * TOKEN - owner)).max() <= 1


def test_a_surge_is_seen() -> None:
    assert median(small(), "noticed") <= 10
    assert np.isnan(played(small(plan="sit", each=0)).metrics["noticed"]).all()


@pytest.mark.parametrize(("name", "value"), [("plan", "wait"), ("seats", 15), ("most", 29), ("low", 200), ("each", -1)])
def test_what_cannot_be_is_refused(name: str, value: object) -> None:
    with pytest.raises(Misconfigured):
        small(**{name: value})
