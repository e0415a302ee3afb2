"""Nodes that are killed while an order of keyholders goes in, and must obey it when they are back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tests.faults.net import Heal, Net
from tests.faults.nodes import STOPPED, ledger_of


async def kill_node(net: Net, whom: Sequence[int]) -> Heal:
    """SIGKILL; once the order stands on their ledgers they are started again, and serve nothing that it halts."""
    net.nodes.kill(*whom)

    async def heal() -> None:
        for n in whom:
            await net.recorded(ledger_of(n))
        await net.nodes.come_back(*whom)

    return heal


async def kill_pair(net: Net, whom: Sequence[int]) -> Heal:
    """Its producer is killed, and it obeys what it hears from other nodes; then it is killed, too.

    Both come back: it goes on to refuse, though its ledger begins anew without the order.
    """
    (one,) = whom
    await net.kill([ledger_of(one)])

    async def heal() -> None:
        await net.nodes.until(one, STOPPED)
        await net.bring()  # what it obeyed is on its disk, too, once it attests it
        net.nodes.kill(one)
        net.producers.forget_state(ledger_of(one))
        net.producers.forget_blocks(ledger_of(one))
        net.producers.start(ledger_of(one))
        await net.nodes.come_back(one)

    return heal


KILLED_NODES: Final[dict[str, Callable[[Net, Sequence[int]], Awaitable[Heal]]]] = {
    "kill-node": kill_node,
    "kill-pair": kill_pair,
}
"""Kinds that befall nodes, and not producers."""
