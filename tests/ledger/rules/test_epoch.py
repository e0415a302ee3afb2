"""What an epoch hands to its mechanism, and what it writes of the result."""

import numpy as np
import pytest

from davy.incentive.agreement import trust
from davy.incentive.fixed_point import ONE, BondFormat
from davy.incentive.mechanism import EpochInputs, Params
from davy.incentive.registry import mechanism
from davy.ledger.rules import packed
from davy.ledger.rules.epoch import epoch_params
from davy.ledger.rules.records import BONDS, subnet_key
from davy.protocol.limits import chain_parameters, hyperparameters
from davy.protocol.transaction import CreateSubnet, SetWeights
from davy.protocol.words import TOKEN
from tests.ledger.rules.world import World, genesis, market


def test_every_hyperparameter_reaches_the_mechanism_in_its_own_place() -> None:
    h = hyperparameters(
        kappa=11, bonds_penalty=12, bonds_moving_average=13, liquid_alpha=1, alpha_low=14, alpha_high=15,
        alpha_steepness=16_000, activity_cutoff=17, max_validators=18, stake_threshold=19, bonds_format=16,
    )  # fmt: skip
    assert epoch_params(h) == Params(
        kappa=11, bond_penalty=12, moving_average=13, liquid_alpha=True, alpha_low=14, alpha_high=15,
        alpha_steepness=16, activity_cutoff=17, max_validators=18, stake_threshold=19, bond_format=BondFormat.U16,
    )  # fmt: skip
    assert not epoch_params(hyperparameters(liquid_alpha=0)).liquid_alpha


@pytest.mark.parametrize(("bits", "form"), [(16, BondFormat.U16), (32, BondFormat.U32)])
def test_bonds_are_stored_in_the_format_that_the_subnet_names(bits: int, form: BondFormat) -> None:
    h = hyperparameters(tempo=10, immunity=0, max_uids=8, max_validators=4, bonds_format=bits)
    w = market(genesis(h))
    row = w.row({"cat-hot": 1})
    epoch = w.commit("ann-hot", row)
    w.end_epoch()
    w.reveal("ann-hot", row, epoch)
    w.end_epoch()
    stored = w.machine.state.need(BONDS, subnet_key(1), "")
    assert stored.format == form
    largest = max(int.from_bytes(stored.bonds[i : i + 4], "big") for i in range(0, len(stored.bonds), 4))
    assert form.one // 20 < largest <= form.one // 10, "α = .1 of what it buys"


def test_each_subnet_runs_the_mechanism_that_it_was_created_with() -> None:
    """Two subnets alike but for the name: Yuma 2 stores a column by its largest bond, Yuma 3 stores α·W."""
    w = World()
    h = hyperparameters(tempo=10, immunity=0, max_uids=8, max_validators=4, commit_reveal=0)
    bonds: dict[str, list[list[int]]] = {}
    for netuid, name in ((0, "yuma2"), (2, "yuma3")):
        w.ok("eve", CreateSubnet("text", name, h))
        for coldkey, amount in (("ann", 300), ("ben", 200), ("cat", 0)):
            w.register(coldkey, f"{coldkey}-hot", netuid=netuid)
            if amount and netuid == 0:
                w.stake(coldkey, f"{coldkey}-hot", amount * TOKEN)
        w.end_epoch(netuid)
        w.end_epoch(netuid)
        for voter in ("ann-hot", "ben-hot"):
            w.ok(voter, SetWeights(netuid, w.row({"cat-hot": 1}, netuid)))
        w.end_epoch(netuid)
        assert w.subnet(netuid).mechanism == name
        stored = w.machine.state.need(BONDS, subnet_key(netuid), "")
        bonds[name] = packed.bonds(stored.bonds, stored.columns).tolist()
    column = {name: [row[2] for row in rows if any(row)] for name, rows in bonds.items()}
    assert column["yuma2"] == [ONE, pytest.approx(ONE * 2 // 3, abs=16)], "by stake, 300 to 200"
    assert column["yuma3"] == [round(ONE * 0.1)] * 2


def test_trust_is_what_part_of_the_weight_given_stands_and_of_none_none() -> None:
    """Ann has three fifths of the stake and alone sets what is consensus; a third of ben's weight is clipped."""
    w = market()
    rows = {"ann-hot": {"cat-hot": 2, "dan-hot": 1}, "ben-hot": {"cat-hot": 1, "dan-hot": 2}}
    committed = {name: (w.row(values), w.commit(name, w.row(values))) for name, values in rows.items()}
    w.end_epoch()
    for name, (row, epoch) in committed.items():
        w.reveal(name, row, epoch)
    w.end_epoch()
    trust = {name: w.neuron(name).trust / 65_535 for name in ("ann-hot", "ben-hot", "cat-hot", "dan-hot")}
    assert (trust["ann-hot"], trust["ben-hot"]) == (0, 0), "nobody weighs them"
    assert trust["cat-hot"] == pytest.approx(1.0, abs=1e-4)
    assert trust["dan-hot"] == pytest.approx((1 / 3) / (3 / 5 * 1 / 3 + 2 / 5 * 2 / 3), abs=1e-2)


def test_trust_is_exact_where_all_or_nothing_stands() -> None:
    x = EpochInputs.unmasked(np.array([[5, 0]]), np.array([7]))
    chosen = mechanism("yuma3")
    _, result = chosen.epoch(chosen.initial((1, 2)), x, Params())
    assert trust(x, result).tolist() == [ONE, 0]


def test_of_equal_stakes_the_older_seat_gets_the_last_permit() -> None:
    w = World(genesis(hyperparameters(tempo=10, immunity=0, max_uids=8, max_validators=1)))
    w.register("ann", "ann-hot")
    w.register("ben", "ben-hot")
    w.stake("ben", "ben-hot", 10**9)
    w.stake("ann", "ann-hot", 10**9)
    w.end_epoch()
    w.end_epoch()
    assert [n.permit for n in w.metagraph().neurons] == [True, False]


def test_the_smallest_stake_there_is_votes_and_is_on_record() -> None:
    w = World(genesis(p=chain_parameters(minimum_stake=1, burn_low=1), share=0))  # nothing is minted onto it
    w.register("ann", "ann-hot")
    w.register("cat", "cat-hot")
    w.stake("ann", "ann-hot", 1)
    w.end_epoch()
    w.end_epoch()
    row = w.row({"cat-hot": 1})
    epoch = w.commit("ann-hot", row)
    w.end_epoch()
    w.reveal("ann-hot", row, epoch)
    w.end_epoch()
    assert [r.uid for r in w.record(w.subnet().epoch - 1).weights] == [0]
