"""The compiled epochs are the reference's to the bit, on every input; and nothing takes them unasked."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import davy.incentive
from davy.incentive import agreement, bonds, consensus, dividends, permits, yuma3
from davy.incentive.accelerated import NotInstalled, accelerated
from davy.incentive.compiled.agreement import guide_by, minority
from davy.incentive.compiled.arrays import room
from davy.incentive.compiled.bonds import read_u16
from davy.incentive.compiled.lanes import TILE
from davy.incentive.compiled.median import search, walk
from davy.incentive.door import BadInput
from davy.incentive.fixed_point import MAX_N, MAX_TOTAL_STAKE, ONE, U16, BondFormat, Int64, Weights
from davy.incentive.mechanism import BondState, EpochInputs, Mechanism, Params
from davy.incentive.registry import MECHANISMS, mechanism
from tests.incentive import epochs, golden
from tests.incentive.epochs import Stream, arrays, replace

NAMES = sorted(MECHANISMS)
EVERY = pytest.mark.parametrize("name", ["yuma2", "yuma3"])
# The first epoch of each compiles, which takes as long as the machine is slow.
COMPILES = settings(deadline=None)


# One of each for all tests, so that epochs find the room that others of other shapes left.
FAST = {name: accelerated(name) for name in ("yuma2", "yuma3")}


def same(name: str, s: BondState, x: EpochInputs, p: Params, fast: Mechanism[BondState] | None = None) -> BondState:
    """The next state, if both paths give the same bits, dtypes and shapes."""
    state, result = mechanism(name).epoch(s, x, p)
    moved, other = (fast or FAST[name]).epoch(s, x, p)
    assert moved.bonds.dtype == state.bonds.dtype
    np.testing.assert_array_equal(moved.bonds, state.bonds, strict=True)
    for field, values in arrays(result).items():
        ours = np.asarray(arrays(other)[field])
        np.testing.assert_array_equal(ours, np.asarray(values), err_msg=field, strict=True)
    return state


def batch(rng: Stream, runs: int, rows: int, columns: int, p: Params) -> tuple[BondState, EpochInputs]:
    held = np.stack([epochs.bonds(rng, rows, columns, p).bonds for _ in range(runs)])
    return BondState(held), epochs.stack([epochs.inputs(rng, rows, columns, square=False) for _ in range(runs)])


@EVERY
@COMPILES
@given(seed=st.integers(0, 10**9))
def test_random_epochs(name: str, seed: int) -> None:
    s, x, p = epochs.epoch(seed)
    same(name, same(name, s, x, p), x, p)


@pytest.mark.parametrize("steepness", [43, 100])
def test_alphas_of_nothing(steepness: int) -> None:
    x = EpochInputs.unmasked(np.array([[3, 1], [3, 1], [1, 3]], dtype=np.int64), epochs.ints(5, 3, 2))
    p = Params(liquid_alpha=True, alpha_low=0, alpha_high=U16, alpha_steepness=steepness)
    state = same("yuma3", FAST["yuma3"].initial((3, 2)), x, p)
    assert same("yuma3", state, x, p).bonds.min() >= 0


@EVERY
def test_what_a_wider_epoch_left_is_not_seen(name: str) -> None:
    for seed, columns in enumerate((63, 64, 5, 65, 1, 128, 70, 63)):
        same(name, *epochs.epoch(seed, 10, columns))


@EVERY
@settings(COMPILES, max_examples=20)
@given(seed=st.integers(0, 10**9))
def test_weights_of_16_bits_are_what_they_are_in_64(name: str, seed: int) -> None:
    s, x, p = epochs.epoch(seed)
    short = replace(x, weights=x.weights.astype(np.uint16))
    assert short.weights.dtype == np.uint16
    wide, narrow = (mechanism(name).epoch(s, each, p)[1] for each in (x, short))
    for field, values in arrays(wide).items():
        np.testing.assert_array_equal(arrays(narrow)[field], values, err_msg=field, strict=True)
    same(name, s, short, p)
    np.testing.assert_array_equal(FAST[name].consensus(short, p), wide.consensus, strict=True)


@EVERY
@settings(COMPILES, max_examples=80)
@given(seed=st.integers(0, 10**9), rows=st.integers(1, 90), columns=st.integers(1, 140))
def test_random_shapes(name: str, seed: int, rows: int, columns: int) -> None:
    """Several tiles, the last one partial; more voters than are halved on and than are unrolled."""
    same(name, *epochs.epoch(seed, rows, columns))


@EVERY
@settings(COMPILES, max_examples=80)
@given(seed=st.integers(0, 10**9), spread=st.integers(0, 30), rows=st.integers(1, 80))
def test_weights_that_are_nearly_alike(name: str, seed: int, spread: int, rows: int) -> None:
    """What halving cannot tell apart soon: all validators agree but for a few units of Q30."""
    rng = Stream(seed)
    weights = (1 << 24) + rng.integers(0, (1 << spread) + 1, (rows, 40)) % (1 << 26)
    p = epochs.params(rng)
    same(name, epochs.bonds(rng, rows, 40, p), EpochInputs.unmasked(weights, epochs.stakes(rng, rows)), p)


@EVERY
@settings(COMPILES, max_examples=60)
@given(seed=st.integers(0, 10**9), validators=st.sampled_from([3, 6, 9, 24]))
def test_stakes_that_exceed_the_threshold_by_a_unit_or_not(name: str, seed: int, validators: int) -> None:
    """With κ = ⅔ a third of the stake, which is what some of equal stakes have together, has to be exceeded.

    Stake cut to 31 bits cannot tell on which side of it they are; only the exact search does.
    """
    rng = Stream(seed)
    off = rng.integers(-1, 2, validators)
    stake = 2**49 + off - np.roll(off, 1)
    weights = rng.integers(0, 50, (validators, 40))
    p = Params(kappa=43_690, max_validators=validators)
    same(name, epochs.bonds(rng, validators, 40, p), EpochInputs.unmasked(weights, stake), p)


@EVERY
@settings(COMPILES, max_examples=40)
@given(seed=st.integers(0, 10**9), rows=st.integers(1, 80))
def test_weights_of_many_magnitudes(name: str, seed: int, rows: int) -> None:
    """The greatest weight of a column leaves no bits to guess the others by."""
    rng = Stream(seed)
    weights = 2 ** rng.integers(0, 26, (rows, 40)) + rng.integers(0, 3, (rows, 40))
    p = epochs.params(rng)
    same(name, epochs.bonds(rng, rows, 40, p), EpochInputs.unmasked(weights, epochs.stakes(rng, rows)), p)


@pytest.mark.parametrize("far", [False, True])
def test_a_guess_that_is_far_off_or_cannot_be_proved_is_left_to_the_exact_stake(far: bool) -> None:
    """What `walk` gives up, and what `search` makes of it; that they are asked, the epochs above show."""
    rng, voters = Stream(8), 24
    stake = np.full(voters, 2**49) + np.arange(voters) % 2
    if far:
        stake = 2 ** rng.integers(0, 40, voters)
    w = rng.integers(0, 1 << 20, voters * TILE).astype(np.int32)
    threshold = consensus.minority(np.asarray(stake.sum()), 43_690)
    expected = consensus.weighted_median(w.astype(np.int64).reshape(voters, TILE), stake, threshold)
    work = room(voters, 1)
    dropped, lane = guide_by(stake, voters, work.guide), work.lane
    slack, exact = (voters if dropped else 0), int(threshold)
    lane[3] = 0 if far else expected
    assert not walk(w, 0, work.guide, voters, exact >> dropped, slack, lane, lane[4:], lane[3])
    search(w, 0, stake, voters, exact, lane, work.below[0], lane[3])
    assert lane[3].tolist() == expected.tolist()


def test_arrays_that_are_not_aligned() -> None:
    s, x, p = epochs.epoch(4, 10, 64)

    def off(array: Weights) -> Int64:
        moved = np.zeros(array.nbytes + 1, dtype=np.uint8)[1:].view(np.int64).reshape(array.shape)
        moved[...] = array
        assert not moved.flags.aligned
        return moved

    moved = replace(x, stake=off(x.stake), weights=off(x.weights))
    assert moved.stake.flags.aligned
    same("yuma3", BondState(off(s.bonds)), moved, p)


def test_u16_bonds_are_read_without_a_division_as_with_it() -> None:
    stored = np.arange(U16 + 1)
    assert [read_u16(b) for b in range(U16 + 1)] == bonds.read(stored, BondFormat.U16).tolist()


@EVERY
@pytest.mark.parametrize("path", sorted(golden.PATHS))
def test_the_golden_digests(path: str, name: str) -> None:
    assert list(golden.digests(path, accelerated(name))) == golden.frozen(name)


@EVERY
@pytest.mark.parametrize("form", BondFormat)
@pytest.mark.parametrize("liquid", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(MAX_N, 3), (3, MAX_N), (64, 192), (1, 1)])
@pytest.mark.parametrize("kind", ["largest", "equal", "random"])
def test_the_extremes_of_the_bounds(
    name: str, form: BondFormat, liquid: bool, rows: int, columns: int, kind: str
) -> None:
    """All stake there is, in one hand or spread; rows of weights up to 2^32 − 1 and full bonds."""
    rng = Stream(rows)
    p = Params(
        max_validators=MAX_N,
        bond_penalty=U16 - 1 if kind == "random" else U16,
        bond_format=form,
        liquid_alpha=liquid,
        alpha_high=U16,
    )
    stake = rng.integers(0, 2 * (MAX_TOTAL_STAKE // rows), rows) // 2
    if kind == "largest":
        stake = np.where(np.arange(rows) == 0, MAX_TOTAL_STAKE, 0)
    elif kind == "equal":
        stake = np.full(rows, MAX_TOTAL_STAKE // rows)
    largest = ((1 << 32) - 1) // columns
    weights = rng.integers(0, largest + 1, (rows, columns)) if kind == "random" else np.full((rows, columns), largest)
    held = rng.integers(0, form.one + 1, (rows, columns)) if kind == "random" else np.full((rows, columns), form.one)
    same(name, BondState(held), EpochInputs.unmasked(weights, stake), p)


@EVERY
def test_many_neurons_of_each_kind(name: str) -> None:
    rng = Stream(5)
    rows, columns = 512, 256
    x = EpochInputs.unmasked(rng.integers(0, U16 + 1, (rows, columns)), rng.integers(0, MAX_TOTAL_STAKE // rows, rows))
    same(name, BondState(rng.integers(0, ONE + 1, (rows, columns))), x, Params())


@EVERY
@pytest.mark.parametrize("form", BondFormat)
def test_no_stake_no_weights_and_nobody_permitted(name: str, form: BondFormat) -> None:
    p = Params(liquid_alpha=True, bond_format=form)
    full, none = np.full((5, 9), 7), np.zeros((5, 9), dtype=np.int64)
    held = BondState(np.full((5, 9), form.one))
    for weights in (full, none, np.eye(5, 9, dtype=np.int64)):
        for stake in (np.full(5, 3), np.zeros(5, dtype=np.int64)):
            x = EpochInputs.unmasked(weights, stake)
            same(name, held, x, p)
            same(name, held, replace(x, permits=np.zeros(5, dtype=np.bool_)), p)
            same(name, held, replace(x, now=np.asarray(10**6)), p)
            same(name, held, replace(x, halted=np.ones(9, dtype=np.bool_), self_column=np.arange(5)), p)


@EVERY
@COMPILES
@given(seed=st.integers(0, 10**9), parts=st.integers(1, 5))
def test_batches_on_threads(name: str, seed: int, parts: int) -> None:
    rng = Stream(seed)
    p = epochs.params(rng)
    s, x = batch(rng, 4, 6, 40, p)
    with ThreadPoolExecutor(2) as pool:
        same(name, s, x, p, accelerated(name, across=pool.map, parts=parts))


@EVERY
def test_one_mechanism_on_two_threads_at_once(name: str) -> None:
    """They share no room to work in."""
    rng, p = Stream(12), Params(liquid_alpha=True)
    runs = [batch(rng, 2, rows, 40, p) for rows in (6, 6, 7, 6, 7, 6)]
    fast = accelerated(name)
    with ThreadPoolExecutor(2) as pool:
        states = list(pool.map(lambda run: fast.epoch(run[0], run[1], p)[0], runs * 5))
    for (s, x), state in zip(runs * 5, states, strict=True):
        assert (mechanism(name).epoch(s, x, p)[0].bonds == state.bonds).all()


@EVERY
def test_two_batch_axes_shared_fields_and_arrays_of_any_layout(name: str) -> None:
    rng, p = Stream(6), Params(liquid_alpha=True)
    s, x = batch(rng, 6, 5, 8, p)
    changes: dict[str, Any] = {}
    for f in fields(EpochInputs):
        values = getattr(x, f.name)
        if values is not None:
            changes[f.name] = values.reshape(2, 3, *values.shape[1:])
    folded = replace(x, **changes)
    same(name, BondState(s.bonds.reshape(2, 3, 5, 8)), folded, p)
    for shared in ("stake", "permits", "registered_at", "halted", "now", "self_column", "owner_row"):
        same(name, s, replace(x, **{shared: getattr(x, shared)[0]}), p)
    same(name, s, replace(x, bonds_at=rng.integers(9000, 10_000, 5)), p)
    same(name, s, replace(x, bonds_at=rng.integers(9000, 10_000, (6, 5))), p)
    same(name, s, replace(x, weights=np.asfortranarray(x.weights), stake=np.broadcast_to(x.stake[0], (6, 5))), p)
    for array in (s.bonds, x.weights, x.stake):
        array.flags.writeable = False
    same(name, s, x, p)


@EVERY
@settings(COMPILES, max_examples=20)
@given(seed=st.integers(0, 10**9))
def test_nothing_that_comes_in_is_written_to(name: str, seed: int) -> None:
    s, x, p = epochs.epoch(seed)
    values = [s.bonds, *(getattr(x, field) for field in epochs.ARRAYS)]
    before = [array.copy() for array in values]
    accelerated(name).epoch(s, x, p)
    for array, was in zip(values, before, strict=True):
        assert (array == was).all()


def all_the_same(rows: int) -> None:
    for seed in range(40):
        same("yuma3", *epochs.epoch(seed, rows, 40))


def off_by_one(rule: Callable[..., Int64]) -> Callable[..., Int64]:
    """The rule with its rounding changed: a unit more wherever it is above 0."""

    def rounded_up(*args: Any, **kwargs: Any) -> Int64:
        exact = rule(*args, **kwargs)
        return exact + (exact > 0)

    return rounded_up


@pytest.mark.parametrize(
    ("module", "rule"),
    [
        (agreement, "row_normalise"),
        (agreement, "weighted_median"),
        (agreement, "normalise"),
        (bonds, "moving_average"),
        (bonds, "store"),
        (bonds, "sigmoid"),
        (yuma3, "column_normalise"),
        (dividends, "bond_income"),
        (dividends, "normalise"),
        (consensus, "interpolate"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_rounding_that_differs_is_seen(module: Any, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    all_the_same(8)
    monkeypatch.setattr(module, rule, off_by_one(getattr(module, rule)))
    with pytest.raises(AssertionError):
        all_the_same(8)


def test_ties_the_other_way_round_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def later_first(values: Int64, k: int, *, tie_to_newer: bool = False) -> Any:
        return top_k(values, k, tie_to_newer=not tie_to_newer)

    top_k = permits.top_k
    all_the_same(20)
    monkeypatch.setattr(permits, "top_k", later_first)
    with pytest.raises(AssertionError):
        all_the_same(20)


@EVERY
def test_a_state_that_cannot_be_is_refused(name: str) -> None:
    x = EpochInputs.unmasked(np.ones((2, 3), dtype=np.int64), np.ones(2, dtype=np.int64))
    fast = accelerated(name)
    with pytest.raises(BadInput, match="make room"):
        fast.epoch(fast.initial((2, 2)), x, Params())
    with pytest.raises(BadInput, match="int64"):
        fast.epoch(BondState(np.zeros((2, 3), dtype=np.int32)), x, Params())  # pyright: ignore[reportArgumentType]
    for form in BondFormat:
        for bad in (-1, form.one + 1, -(2**63), 2**63 - 1):
            held = np.zeros((2, 3), dtype=np.int64)
            held[1, 2] = bad
            with pytest.raises(BadInput, match=f"bonds in {form.name} must lie within 0 to {form.one}"):
                fast.epoch(BondState(held), x, Params(bond_format=form, liquid_alpha=True))


def test_what_is_not_compiled_is_refused() -> None:
    with pytest.raises(BadInput, match="there is no mechanism 'yuma9'"):
        accelerated("yuma9")
    with pytest.raises(BadInput, match="parts"):
        accelerated("yuma3", parts=0)
    for name in NAMES:
        if name not in ("yuma2", "yuma3"):
            with pytest.raises(BadInput, match="not compiled"):
                accelerated(name)


def test_without_numba_acceleration_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [m for m in sys.modules if m.startswith("davy.incentive.compiled")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(NotInstalled, match=r"pip install 'davy\[fast\]'"):
        accelerated("yuma3")


def test_whatever_is_compiled_says_so_without_numba() -> None:
    """Also what sims have compiled of their own, of which the market is the first that a run comes to."""
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from importlib import import_module\n"
        "from davy.incentive.accelerated import NotInstalled\n"
        "from davy.sims import run, scenario\n"
        "from davy.sims.market import Market, Seats, World\n"
        "from davy.sims.noise import Draws, Purpose\n"
        "calls = [\n"
        "    lambda: World(Market(), Seats(16, 64, 0, 0), 0.0, 1, range(1), compiled=True),\n"
        "    lambda: Draws(1, range(1), Purpose.SCORES, compiled=True),\n"
        "    lambda: run(scenario('honest').having({'runs': 1, 'epochs': 1}), compiled=True),\n"
        "    *[lambda m=m: import_module(f'davy.incentive.compiled.{m}') for m in ('lanes', 'jit')],\n"
        "]\n"
        "for call in calls:\n"
        "    try:\n"
        "        call()\n"
        "    except NotInstalled as e:\n"
        "        print(e)\n"
    )
    assert run(code).stdout.splitlines() == ["the compiled incentive needs numba: pip install 'davy[fast]'"] * 5


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    return subprocess.run(
        [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True, check=True
    )


def test_the_reference_loads_no_numba() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np\n"
        "from davy.incentive.mechanism import EpochInputs, Params\n"
        "from davy.incentive.registry import mechanism\n"
        "import davy.incentive.accelerated\n"
        "x = EpochInputs.unmasked(np.ones((2, 3), dtype=np.int64), np.ones(2, dtype=np.int64))\n"
        "chosen = mechanism('yuma3')\n"
        "print(chosen.epoch(chosen.initial((2, 3)), x, Params())[1].incentive.sum())"
    )
    assert run(code).stdout == f"{ONE}\n"


def test_what_only_compiled_code_calls_is_not_compiled_for_constants_nor_called_from_python() -> None:
    all_the_same(8)
    compiled: set[str] = {
        f"{rule}: {signature}"
        for name, module in sys.modules.items()
        if name.startswith("davy.incentive.compiled.")
        for rule, value in vars(module).items()
        if isinstance(value, type(cast("Any", minority)))
        for signature in cast("Any", value).signatures
    }
    assert len(compiled) > 40
    assert not [signature for signature in sorted(compiled) if "Literal" in signature]
    with pytest.raises(TypeError, match="only compiled code calls this"):
        minority(np.ones(3, dtype=np.int64), 1)


def test_compiled_code_is_not_kept(tmp_path: Path) -> None:
    """A cache would be of pickles, and blind to a change of what a function calls."""
    code = "from davy.incentive.compiled.shares import reciprocal; print(reciprocal(4))"
    assert run(code, NUMBA_CACHE_DIR=str(tmp_path)).stdout == f"{1 << 60}\n"
    folder = Path(davy.incentive.__file__).parent
    assert not [*tmp_path.rglob("*.nb[ic]"), *folder.rglob("*.nb[ic]")]
