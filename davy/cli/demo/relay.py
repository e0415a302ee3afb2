"""The demo's second run: one good miner answers everybody; what a relay earns by it, and what that costs its victim.

Three miners of equal worth but for that: one is open, one is closed, and the relay has no model. Answers that are alike
share one reward, so the relay takes half of its victim's. What a miner earns is stake on its hotkey, which opens other
miners to it, too: the closed one asks for more than a relay earns here, or it would be a victim in its turn.
"""

from __future__ import annotations

from typing import Final

from davy.cli.demo.cast import Cast, Miner, Role, Validator
from davy.cli.demo.claims import earned
from davy.cli.demo.live import Show
from davy.cli.demo.nodes import OPEN, Nodes, Work
from davy.cli.demo.play import Plan, Told, market
from davy.cli.demo.stage import Stage

_CAST: Final = Cast(
    (
        Miner("victim", Role.FIRST_GOOD),
        Miner("closed", Role.SECOND_GOOD),
        Miner("relay", Role.RELAY),
    ),
    (Validator("validator", copies=False),),
)
_TOO_MUCH: Final = "100"
"""Tokens of stake that the closed one asks of its callers."""
_CHALLENGES: Final = 24
"""A round: three miners leave time for more than a whole cast does."""
_EPOCHS: Final = 3
"""Paid with all three, before the pay is read."""


async def play_open_access(stage: Stage, show: Show, told: Told) -> dict[str, float]:
    """Return the relay's and the victim's pay as fractions of the closed good miner's."""
    nodes = Nodes(
        stage, _CAST, Work(challenges=_CHALLENGES), {"victim": ("--open",), "closed": ("--minimum-stake", _TOO_MUCH)}
    )
    async with told.phase("second run, one miner open to all"), market(nodes, Plan(), show, Told(show)) as m:
        first = await m.until_weights_pay(len(_CAST.miners))
        await m.until_epoch(first + _EPOCHS)
        records, uids = [r for r in await m.records(OPEN) if r.epoch > first], await m.uids(OPEN)
    closed = max(earned(records, uids["closed"]), 1)
    return {"relay": earned(records, uids["relay"]) / closed, "victim": earned(records, uids["victim"]) / closed}
