"""Whom a model's registrant lets ask for it, as honest nodes keep to it: miners, gateways, validators by one rule.

It comes beside a miner's own switch, and never admits whom that refuses. It is as good as the ledger that a node asks,
as the metagraph is, on which it depends; `davy verify access` proves what is said of one model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from davy.protocol.chain import Metagraph
from davy.protocol.manifest import Access
from davy.protocol.ports import LedgerClient
from davy.protocol.recorded import AccessRecord
from davy.protocol.words import Coldkey, Height, Hotkey, ModelId, Netuid

_MOST: Final = 16_384


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
    """Who may ask for models, by what the ledger said last; it is asked again where it may have changed."""

    def __init__(self, ledger: LedgerClient) -> None:
        self._ledger = ledger
        self._known: dict[ModelId, tuple[AccessRecord, Height]] = {}

    async def of(self, model: ModelId, netuid: Netuid, seen: Height) -> AccessRecord:
        """Return who may ask for a model that is served on a subnet, as of block `seen` or a later one.

        Raises
        ------
        TxFailed
            NOT_FOUND: no such model.
        Unreachable
        """
        known = self._known.get(model)
        if known is None or not self._ledger.unchanged(netuid, known[1]):
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[model] = await self._ledger.access(model), seen
        return known[0]
