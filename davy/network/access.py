"""Whom a model's registrant lets ask for it, as honest nodes keep to it: miners, gateways, validators by one rule.

It comes beside a miner's own switch, and never admits whom that refuses. It is as good as the ledger that a node asks,
as the metagraph is, on which it depends; `davy verify access` proves what is said of one model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import anyio

from davy.protocol.chain import Metagraph
from davy.protocol.manifest import Access
from davy.protocol.ports import LedgerClient
from davy.protocol.recorded import AccessRecord
from davy.protocol.words import Coldkey, Height, Hotkey, ModelId, Netuid


class Applicant(NamedTuple):
    """Who asks, as the metagraphs of the subnets know it that a model is served on."""

    hotkey: Hotkey
    coldkey: Coldkey = b""
    """Empty where it has no UID."""
    staked: bool = False
    scores: bool = False
    """It has a validator's permit."""


def applicants(graphs: Iterable[Metagraph], minimum_stake: int = 0) -> Mapping[Hotkey, Applicant]:
    """Everybody who has a UID.

    Parameters
    ----------
    minimum_stake
        Base units; a subnet's own threshold counts where it is higher, and no stake at all is never enough.
    """
    known: dict[Hotkey, Applicant] = {}
    for graph in graphs:
        least = max(1, minimum_stake, graph.subnet.hyperparameters.stake_threshold)
        for n in graph.neurons:
            before = known.get(n.hotkey, Applicant(n.hotkey))
            known[n.hotkey] = Applicant(
                n.hotkey, n.coldkey, before.staked or n.stake >= least, before.scores or n.permit
            )
    return known


def applicant(hotkey: Hotkey, graphs: Iterable[Metagraph]) -> Applicant:
    """One of `applicants`, or who it is without a UID; without a look at what others hold."""
    known = Applicant(hotkey)
    for graph in graphs:
        least = max(1, graph.subnet.hyperparameters.stake_threshold)
        for n in graph.neurons:
            if n.hotkey == hotkey:
                known = Applicant(hotkey, n.coldkey, known.staked or n.stake >= least, known.scores or n.permit)
    return known


def admits(access: AccessRecord, applicant: Applicant, *, for_scoring: bool = True) -> bool:
    """Whether a model's registrant lets somebody ask for it.

    Parameters
    ----------
    for_scoring
        False for users' requests: a permit lets a validator score a model, not pass it on.
    """
    match access.access:
        case Access.ANY:
            return True
        case Access.ADMITTED:
            return applicant.staked
        case Access.NAMED:
            named = applicant.hotkey in access.hotkeys or applicant.coldkey in access.coldkeys
            return named or (for_scoring and applicant.scores)


class Accesses:
    """Who may ask for models, by what the ledger said last; it is asked again, about all at once, when it changed."""

    def __init__(self, ledger: LedgerClient) -> None:
        self._ledger = ledger
        self._netuids: tuple[Netuid, ...] = ()
        self._models: tuple[ModelId, ...] = ()
        self._known: dict[ModelId, AccessRecord] = {}
        self._since: Height = 0
        self._looking = anyio.Lock()

    async def follow(self, netuids: Iterable[Netuid], models: Iterable[ModelId], seen: Height) -> None:
        """Know of these models, which are served on these subnets, and of no others, from now on.

        Parameters
        ----------
        seen
            The block that was followed last: what the ledger says is of this one or a later one.

        Raises
        ------
        TxFailed
            NOT_FOUND: one of them is not registered.
        Unreachable
        """
        self._netuids, self._models = tuple(netuids), tuple(sorted(set(models)))
        await self._look(seen)

    async def of(self, model: ModelId, seen: Height) -> AccessRecord:
        """Return who may ask for a model; one that is not followed is asked about each time. See `follow`."""
        await self._look(seen)
        if model not in self._known:
            (said,) = await self._ledger.accesses((model,))
            return said
        return self._known[model]

    async def _look(self, seen: Height) -> None:
        async with self._looking:
            stands = all(self._ledger.unchanged(netuid, self._since) for netuid in self._netuids)
            models = self._models  # others may be followed before the ledger has answered
            if stands and self._known.keys() >= set(models):
                return
            said = await self._ledger.accesses(models)
            self._known = dict(zip(models, said, strict=True))
            self._since = seen
