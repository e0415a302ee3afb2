"""Parameters by name: any of them, of its type, within its range."""

import pytest

from davy.protocol.errors import Misconfigured
from davy.protocol.words import TOKEN
from davy.sims import Scenario, scenario, scenarios
from davy.sims.attack import Attack
from davy.sims.catalogue import read_experiment
from davy.sims.market import Market
from davy.sims.result import parameters_json


def test_words_are_read_as_what_the_field_is() -> None:
    s = scenario("weight-copying").having(
        {
            "attack.lag": "3",
            "attack.source": "average",
            "market.noise": "0.5",
            "params.liquid_alpha": "true",
            "seed": "7",
        }
    )
    told = s.parameters()
    assert (told["attack.lag"], told["attack.source"], told["market.noise"]) == (3, "average", 0.5)
    assert (told["params.liquid_alpha"], told["seed"]) == (True, 7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attack.stak", 0.1),
        ("nothing", 1),
        ("attack", "x"),
        ("attack.kind", "x"),
        ("attack.stake", 1.5),
        ("attack.stake", float("nan")),
        ("attack.stake", "much"),
        ("attack.validators", 2.5),
        ("attack.validators", 16),
        ("attack.miners", 64),
        ("attack.favour", -0.1),
        ("market.noise", -0.1),
        ("market.quality_low", 1.0001),
        ("market.concealment", 20),
        ("params.kappa", 0),
        ("mechanism", "yuma9"),
        ("runs", 0),
        ("epochs", 0),
        ("seed", -1),
    ],
)
def test_what_cannot_be_is_refused(name: str, value: object) -> None:
    with pytest.raises(Misconfigured):
        scenario("cartel").having({name: value})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("stake", r"attack\.stake, market\.stake$"),
        ("attak.stake", r"attack\.stake, market\.stake$"),
        ("market_noise", r"market\.noise\b"),
        ("qqq", r"runs, watch, seed, attack\.…, market\.…, params\.…$"),
    ],
)
def test_a_name_that_is_none_is_told_what_it_may_have_meant(name: str, meant: str) -> None:
    with pytest.raises(Misconfigured, match=meant):
        scenario("cartel").having({name: 1})


def test_listed_stakes_and_the_attackers_share_say_the_same() -> None:
    """A share that moves no stake would be a sweep over nothing."""
    s = scenario("lazy-random").having({"market.validators": 4, "attack.validators": 1, "market.stake": 100})
    listed = {"market.stakes": " ".join(str(n * TOKEN) for n in (40, 20, 20, 20)), "attack.stake": 0.2}
    assert s.having(listed).market.stakes
    for change in ({"attack.stake": 0.4}, {"attack.validators": 2}, {"market.stake": 50}):
        with pytest.raises(Misconfigured, match=r"market\.stakes"):
            s.having(listed | change)


def test_a_copier_has_no_third_source() -> None:
    with pytest.raises(Misconfigured, match="source"):
        scenario("weight-copying").having({"attack.source": "nowhere"})


@pytest.mark.parametrize("name", list(scenarios()))
def test_parameters_are_the_whole_scenario(name: str) -> None:
    s = scenario(name).having({"seed": 9, "market.noise": 0.3})
    assert read_experiment(parameters_json(s)) == s


def test_the_digest_is_that_of_the_experiment() -> None:
    s = Scenario(attack=Attack())
    assert s.having({"runs": 99}).digest() == s.digest()
    assert (
        len({x.digest() for x in (s, s.having({"seed": 2}), Scenario(attack=Attack(), market=Market(noise=0.1)))}) == 3
    )


@pytest.mark.parametrize("name", list(scenarios()))
def test_each_has_a_story(name: str) -> None:
    s = scenario(name)
    assert s.attack.kind == name
    assert "Attributes" not in s.attack.story
    assert name == "honest" or len(s.attack.story) > 200
