"""A scenario: everything that a result depends on, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

import davy
from davy.incentive.door import BadInput
from davy.incentive.mechanism import Params
from davy.incentive.registry import mechanism
from davy.ledger.rules.epoch import epoch_params
from davy.protocol.errors import Misconfigured
from davy.protocol.words import TOKEN
from davy.sims.attack import Attack
from davy.sims.market import Market, Seats, base_units, whole_numbers, within
from davy.sims.snapshot import Snapshot, minted, read_snapshot, seen_in, share_of, take_snapshot

REVISION: Final = 2
"""Rises with a change after which the same scenario gives other bits."""

_PARTS: Final = ("attack", "market", "params")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """An attack on a market, played `runs` times.

    Attributes
    ----------
    attack, market, params
        Who attacks and how; whom; under which hyperparameters of the mechanism.
    start
        Epochs before the first one in which the attack is in force; they are not counted. Bonds take about 10 to build.
        What attackers do begins `market.concealment` epochs earlier, so that no counted epoch waits for it.
    epochs
        Epochs of the attack that count.
    watch
        Whether rows are tested as `davy.sims.watch` does. The work grows with the square of the validators; beyond 32
        it is most of the time. Without it nobody is noticed.
    seed
        Of 0 to 2^63 − 1. Run r of a seed is the same whatever `runs` is.

    Raises
    ------
    Misconfigured
        A value out of its range, or parts that do not fit together; the message says which.
    """

    attack: Attack
    market: Market = field(default_factory=Market)
    params: Params = field(default_factory=Params)
    mechanism: str = "yuma3"
    start: int = 20
    epochs: int = 60
    runs: int = 32
    watch: bool = True
    seed: int = 1

    def __post_init__(self) -> None:
        within("runs", self.runs, 1, 1_000_000)
        within("epochs", self.epochs, 1, 100_000)
        within("start, more than twice market.concealment,", self.start, 2 * self.market.concealment + 1, 100_000)
        within("seed", self.seed, 0, (1 << 63) - 1)
        within("attack.validators", self.attack.validators, 0, self.market.validators - 1)
        within("attack.miners", self.attack.miners, 0, self.market.miners - 1)
        try:
            mechanism(self.mechanism)
        except BadInput as e:
            raise Misconfigured(str(e)) from None
        if "kind" not in vars(type(self.attack)):
            raise Misconfigured(f"{type(self.attack).__name__} needs a `kind` of its own: folders keep results by it")
        self._check_stakes()

    def _check_stakes(self) -> None:
        """Listed stakes are what votes; what the metrics divide by must not say otherwise."""
        listed = np.array(whole_numbers("stakes", self.market.stakes), dtype=np.int64)
        if not len(listed):
            return
        total, held = int(listed.sum()), share_of(listed, self.attack.validators)
        if abs(total - base_units(self.market.stake)) > 1e-9 * total:
            raise Misconfigured(f"market.stake is {self.market.stake:g}, and market.stakes sum up to {total / TOKEN:g}")
        if self.attack.validators and abs(held - self.attack.stake) > 1e-6:
            raise Misconfigured(f"attack.stake is {self.attack.stake:g}; by market.stakes the attackers hold {held:g}")

    @classmethod
    def from_ledger(
        cls, source: str | Path | Snapshot, attack: Attack, *, netuid: int = 1, colluding: Sequence[int] = ()
    ) -> Self:
        """A running network, and what if these UIDs attacked from tomorrow.

        Stakes are the ledger's, qualities what its validators' weights say of its miners, σ how far these are apart;
        mechanism, hyperparameters, concealment, tempo, emission and price are the subnet's. What it costs to work, and
        how often a model changes, the ledger does not know: these are a `Market`'s guesses.

        Parameters
        ----------
        source
            A ledger's URL, a file of `davy sim snapshot`, or a `Snapshot`.
        colluding
            UIDs. Validators among them take the attack's rows, miners its columns; their numbers, and the share of
            stake, are set from them. Without miners among them the attack's own miners join the subnet, on top.

        Raises
        ------
        Misconfigured
            No snapshot, or an attack that these UIDs cannot make.
        Unreachable, Refused
            See `davy.sims.snapshot.take_snapshot`.
        """
        if isinstance(source, str) and source.startswith(("http://", "https://")):
            snapshot = take_snapshot(source, netuid)
        else:
            snapshot = source if isinstance(source, Snapshot) else read_snapshot(Path(source))
        seen = seen_in(snapshot, tuple(colluding))
        rows = sum(uid in colluding for uid in seen.validators)
        columns = sum(uid in colluding for uid in seen.miners)
        attack = attack.seated(rows, share_of(seen.stakes, rows), columns)
        subnet, h = snapshot.graph.subnet, snapshot.graph.subnet.hyperparameters
        qualities = [*seen.qualities.tolist(), *[0] * (attack.miners - columns)]
        market = Market(
            validators=len(seen.validators),
            miners=len(qualities),
            noise=seen.noise,
            concealment=h.reveal_epochs if h.commit_reveal else 0,
            unrevealed_penalty=h.unrevealed_penalty,
            tempo=h.tempo,
            emission=minted(snapshot),
            owner_cut=snapshot.parameters.owner_cut,
            stake=int(seen.stakes.sum()) / TOKEN,
            price=subnet.registration_price / TOKEN,
            stakes=" ".join(map(str, seen.stakes.tolist())),
            qualities=" ".join(map(str, qualities)),
        )
        start = max(20, 2 * market.concealment + 1)
        return cls(attack=attack, market=market, params=epoch_params(h), mechanism=subnet.mechanism, start=start)

    @property
    def begins(self) -> int:
        """The epoch in which attackers first commit, or miners first answer, as they will."""
        return self.start - self.market.concealment

    @property
    def own(self) -> tuple[str, ...]:
        """Names of its parameters outside the parts."""
        return tuple(f.name for f in fields(self) if f.name not in _PARTS)

    @property
    def seats(self) -> Seats:
        return Seats(self.market.validators, self.market.miners, self.attack.validators, self.attack.miners)

    def having(self, changes: Mapping[str, Any]) -> Self:
        """The scenario with other values: by field, or by part and field, such as `attack.stake`.

        Words are read as a value of the field's type, as a command line has them.

        Raises
        ------
        Misconfigured
            There is no such field, or it cannot have that value.
        """
        own: dict[str, Any] = {}
        parts: dict[str, dict[str, Any]] = {}
        for name, value in changes.items():
            part, dot, inner = name.partition(".")
            if dot and part in _PARTS:
                parts.setdefault(part, {})[inner] = as_field(getattr(self, part), inner, value, name)
            elif name in self.own:
                own[name] = as_field(self, name, value, name)
            else:
                raise Misconfigured(f"there is no parameter '{name[:64]}'; there is {self._near(name)}")
        try:
            for part, values in parts.items():
                own[part] = replace(getattr(self, part), **values)
            return replace(self, **own)
        except BadInput as e:
            raise Misconfigured(str(e)) from None

    def _near(self, name: str) -> str:
        """What a name that is none may have meant; else where names begin."""
        inner = [n for n in self.parameters() if n.partition(".")[0] in _PARTS and n != "attack.kind"]
        word = name.rpartition(".")[2]
        near = [n for n in inner if n.endswith(f".{word}")] or get_close_matches(name, inner)
        return ", ".join([*self.own, *(near or [f"{part}.…" for part in _PARTS])])

    def parameters(self) -> dict[str, bool | int | float | str]:
        """Every parameter by its name, as `having` takes it; with the version and the revision of the simulation."""
        told: dict[str, bool | int | float | str] = {"davy": davy.__version__, "revision": REVISION}
        for name, value in asdict(self).items():
            for inner, each in value.items() if name in _PARTS else [("", value)]:
                told[f"{name}.{inner}".rstrip(".")] = int(each) if type(each) not in (bool, int, float, str) else each
        return told

    def digest(self) -> str:
        """`digest_of` its parameters: results of one digest are runs of one experiment."""
        return digest_of(self.parameters())


def digest_of(parameters: Mapping[str, bool | int | float | str]) -> str:
    """SHA-256 over all parameters but `runs`, in hexadecimal."""
    told = {name: value for name, value in parameters.items() if name != "runs"}
    return hashlib.sha256(msgspec.json.encode(told, order="deterministic")).hexdigest()


def as_field(owner: object, name: str, value: Any, said: str) -> Any:
    """A value as the field `name` of a dataclass has it; words are read as what the field is.

    Raises
    ------
    Misconfigured
        There is no such field, or it cannot have that value; `said` is what the message calls it.
    """
    known = _names(owner)
    if name not in known:
        prefix = said.removesuffix(name)
        raise Misconfigured(f"there is no parameter '{said[:64]}'; there is {', '.join(prefix + k for k in known)}")
    try:
        return msgspec.convert(value, get_type_hints(type(owner))[name], strict=not isinstance(value, str))
    except msgspec.ValidationError as e:
        had, hint = getattr(owner, name), get_type_hints(type(owner))[name]
        why = f"choose one of {', '.join(get_args(hint))}" if get_origin(hint) is Literal else str(e)[:80]
        raise Misconfigured(f"{said} is '{str(value)[:64]}': {why}; it is {had!r} by default") from None


def _names(owner: object) -> list[str]:
    """Every parameter of a dataclass, those of its parts by part and name."""
    found: list[str] = []
    for name in (f.name for f in fields(owner) if f.init):  # type: ignore[arg-type]
        found += [f"{name}.{inner}" for inner in _names(getattr(owner, name))] if name in _PARTS else [name]
    return found
