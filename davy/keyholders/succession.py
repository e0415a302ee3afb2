"""Bringing two rosters together for the INSTALL that puts the second in the place of the first.

The old LIFT key says that it may, both new keys that their holders are there and have them: three signatures of one
order, gathered at once. Whoever coordinates belongs to both rosters, and can cheat neither: all see the same order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import anyio

from davy.keyholders.claims import Heed, LeavesStanding, all_said
from davy.keyholders.coordinator import OVER_A_NETWORK, Means, Party, Signed, Waits, gather
from davy.keyholders.messages import Accede, Consider, Proposal, Rehearse
from davy.killswitch.brake import first_state, take
from davy.protocol.errors import DavyError, Misconfigured
from davy.protocol.genesis import Genesis
from davy.protocol.order import GroupKey, Install, open_order
from davy.protocol.roster import Roster


class Installing(NamedTuple):
    """The exact bytes of an INSTALL, and what everybody is shown with them."""

    order: bytes
    reason: str
    named: tuple[bytes, ...]
    is_rehearsal: bool = False


async def install(
    old: Party, new: Party, what: Installing, means: Means, waits: Waits = OVER_A_NETWORK, *, heed: Heed = all_said
) -> list[Signed]:
    """Have an INSTALL signed by the old LIFT key, the new HALT key and the new LIFT key, in this order.

    Raises
    ------
    Expired
        Too few of one roster answered in time.
    LeavesStanding
        A signer who is heeded knows what stops and would not be carried on.
    Refused
        Too many of one roster said no.
    """
    first = (Rehearse if what.is_rehearsal else Consider)(what.order, what.reason, what.named)
    asks: list[tuple[str, Party, Proposal]] = [("old LIFT key", old, first)]
    for key in GroupKey:
        ask = Accede(what.order, what.reason, what.named, key, what.is_rehearsal)
        asks.append((f"new {key.value.upper()} key", new, ask))
    signed: dict[int, Signed] = {}
    failures: list[DavyError] = []

    async def one(place: int, label: str, party: Party, ask: Proposal) -> None:
        def told(name: str, what: str) -> None:
            means.told(f"{label}, {name}", what)

        try:
            signed[place] = await gather(party, ask, means._replace(told=told), waits, heed=heed)
        except DavyError as e:
            failures.append(e if isinstance(e, LeavesStanding) else type(e)(f"{label}: {e}"))
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for place, (label, party, ask) in enumerate(asks):
            tasks.start_soon(one, place, label, party, ask)
    if failures:
        raise failures[0]
    return [signed[place] for place in range(len(asks))]


def roster_in_office(g: Genesis, signed: Iterable[bytes]) -> Roster:
    """The last of a chain's rosters, by the INSTALLs among whole orders.

    Raises
    ------
    Misconfigured
        The chain has no keyholders, or two rosters claim to follow the same one.
    """
    installs = [raw for raw in signed if isinstance(open_order(raw)[1].action, Install)]
    state = take(first_state(g), installs).state
    links, rivals = state.succession
    if not links:
        raise Misconfigured("this chain has no keyholders: nobody can halt it; make one with --keyholders")
    if rivals:
        raise Misconfigured(
            f"{len(rivals)} rosters claim to follow group epoch {len(links) - 1}; move the false INSTALL out of "
            "`orders/` of this home: the true one stands on the ledger (`davy brake status`)"
        )
    return state.rosters[links[-1].roster]
