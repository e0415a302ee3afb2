"""An attack of one's own: its results are never taken for another one's, and a folder of them can be taken up."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from davy.incentive.fixed_point import Int64
from davy.protocol.errors import Misconfigured
from davy.sims import Scenario, run
from davy.sims import running as at_work
from davy.sims.attack import Attack, View
from davy.sims.attacks.cartel import Cartel
from davy.sims.market import Market

MARKET = Market(validators=6, miners=10)


@dataclass(frozen=True, kw_only=True)
class Contrarian(Attack):
    """Validators give the most to who earns the least."""

    kind: str = field(default="contrarian", init=False, repr=False)

    def rows(self, v: View) -> Int64:
        return v.each(np.maximum(v.consensus().max() - v.consensus(), 0))


class Nameless(Contrarian):
    """Another story, and no kind of its own."""


@dataclass(frozen=True, kw_only=True)
class Usurper(Attack):
    """Not what the catalogue has under this kind."""

    kind: str = field(default="cartel", init=False, repr=False)


def small(attack: Attack) -> Scenario:
    return Scenario(attack=attack, market=MARKET, runs=2, start=5, epochs=3)


def test_a_class_without_a_kind_of_its_own_is_refused() -> None:
    """By kind and parameters a folder, and every table, tells one experiment from another."""
    with pytest.raises(Misconfigured, match=r"Nameless.*kind"):
        small(Nameless())


def test_a_kind_of_the_catalogue_is_not_kept_for_another_class(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"Usurper.*'cartel'"):
        run(small(Usurper()), folder=tmp_path)
    run(small(Cartel(miners=2)), folder=tmp_path)


def test_its_folder_is_read_with_its_class(tmp_path: Path) -> None:
    first = run(small(Contrarian()), folder=tmp_path)
    assert np.array_equal(run(small(Contrarian()), folder=tmp_path).numbers, first.numbers)
    with pytest.raises(Misconfigured, match=r"'contrarian'.*`run`"):
        at_work.read(tmp_path)
