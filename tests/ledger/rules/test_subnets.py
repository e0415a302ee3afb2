"""Subnets: their price, their share of zero, and epochs that are spread over blocks."""

import pytest

from davy.ledger.rules.subnets import epoch_end, registration_price
from davy.protocol.errors import TxCode
from davy.protocol.genesis import Genesis, GenesisSubnet
from davy.protocol.limits import MAX_SUBNETS, chain_parameters, hyperparameters
from davy.protocol.transaction import CreateSubnet
from davy.protocol.words import TOKEN
from tests.ledger.rules.world import World, genesis, pub


def test_a_new_subnet_burns_its_price_and_is_paid_nothing(world: World) -> None:
    world.ok("ann", CreateSubnet("chess", "yuma2", hyperparameters()))
    made = world.subnet(0)
    assert (made.task, made.mechanism, made.share) == ("chess", "yuma2", 0)
    assert world.issuance().burned == world.genesis.parameters.subnet_price
    world.block(400)
    assert world.subnet(0).epoch == 1
    assert world.subnet(0).pending == 0
    world.ok("ann", CreateSubnet("go", "yuma3", hyperparameters()))
    assert world.subnet(2).task == "go", "netuid 1 is the genesis' subnet"


def test_who_cannot_pay_opens_no_subnet(world: World) -> None:
    for _ in range(9):
        world.ok("ann", CreateSubnet("t", "yuma3", hyperparameters()))
    world.ok("ann", CreateSubnet("t", "yuma3", hyperparameters()))
    world.refused(TxCode.INSUFFICIENT, "ann", CreateSubnet("t", "yuma3", hyperparameters()))


def test_the_last_netuid_is_given_out_and_then_no_more_are_taken() -> None:
    g = genesis()
    long = hyperparameters(max_uids=8, max_validators=4)
    taken = tuple(n for n in range(MAX_SUBNETS - 1) if n != 7)
    subnets = tuple(GenesisSubnet(n, pub("owner"), "t", "yuma3", long, 0) for n in taken)
    w = World(Genesis(1, g.note, g.time, g.parameters, g.producers, g.allocations, subnets, ()))
    w.send("ann", *[CreateSubnet(task, "yuma3", long) for task in ("chess", "go", "bridge")])
    assert w.block() == [TxCode.OK, TxCode.OK, TxCode.FULL]
    assert (w.subnet(7).task, w.subnet(MAX_SUBNETS - 1).task) == ("chess", "go")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"alpha_low": 60_000}, TxCode.OUT_OF_RANGE),
        ({"kappa": 0}, TxCode.OUT_OF_RANGE),
        ({"alpha_steepness": 500}, TxCode.OUT_OF_RANGE),
        ({"alpha_steepness": 10_001}, TxCode.OUT_OF_RANGE),
        ({"alpha_steepness": 101_000}, TxCode.OUT_OF_RANGE),
        ({"bonds_format": 24}, TxCode.OUT_OF_RANGE),
        ({"max_uids": 4_096, "max_validators": 4_096}, TxCode.OUT_OF_RANGE),
        ({"max_uids": 1_024, "max_validators": 128, "tempo": 2}, TxCode.OUT_OF_RANGE),
    ],
    ids=str,
)
def test_what_single_ranges_cannot_say_is_refused(world: World, changes: dict[str, int], code: TxCode) -> None:
    world.refused(code, "ann", CreateSubnet("t", "yuma3", hyperparameters(**changes)))
    assert world.account("ann").free == 1_000 * TOKEN


def test_an_unknown_mechanism_is_refused(world: World) -> None:
    world.refused(TxCode.NOT_FOUND, "ann", CreateSubnet("t", "yuma9", hyperparameters()))


def test_epochs_are_a_tempo_apart_and_neighbours_end_in_different_blocks() -> None:
    for netuid in range(40):
        ends = [0]
        for _ in range(3):
            ends.append(epoch_end(netuid, 10, ends[-1]))
        assert 1 <= ends[1] <= 10
        assert ends[2] - ends[1] == ends[3] - ends[2] == 10
    assert len({epoch_end(netuid, 10, 0) for netuid in range(10)}) == 10


def test_the_price_follows_the_registrations_wanted() -> None:
    p = chain_parameters(burn_low=10, burn_high=1_000)
    assert registration_price(100, 0, 8, p) == 50
    assert registration_price(100, 8, 8, p) == 100
    assert registration_price(100, 24, 8, p) == 200
    assert registration_price(100, 4_096, 8, p) == 200
    assert registration_price(12, 0, 8, p) == 10
    assert registration_price(900, 24, 8, p) == 1_000
    assert registration_price(0, 24, 8, chain_parameters(burn_low=0)) == 2


@pytest.mark.parametrize("steepness", [1_000, 100_000])
def test_the_least_and_the_most_steepness_are_taken(world: World, steepness: int) -> None:
    world.ok("ann", CreateSubnet("t", "yuma3", hyperparameters(alpha_steepness=steepness)))


def test_the_first_epoch_may_end_with_the_first_block() -> None:
    g = genesis()
    h = hyperparameters(tempo=10, max_uids=8, max_validators=4)
    w = World(
        Genesis(
            1,
            g.note,
            g.time,
            g.parameters,
            g.producers,
            g.allocations,
            (GenesisSubnet(8, pub("owner"), "t", "yuma3", h, 0),),
            (),
        )
    )
    assert w.subnet(8).next_epoch_at == epoch_end(8, 10, 0) == 1
    w.block()
    assert w.subnet(8).epoch == 1
