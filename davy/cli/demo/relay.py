"""The demo's second run: one good miner answers everybody; what a relay earns by it, and what that costs its victim.

Three miners of equal worth but for that: one is open, one is closed as miners are by default, and the relay has no
model. Answers that are alike share one reward, so the relay takes half of its victim's.
"""

from __future__ import annotations

import time

from davy.cli.demo.cast import Cast, Miner, Role, Validator
from davy.cli.demo.claims import earned
from davy.cli.demo.live import Show
from davy.cli.demo.play import Plan, Story
from davy.cli.demo.stage import Stage


async def play_open_access(stage: Stage, show: Show, phases: dict[str, float]) -> dict[str, float]:
    """Return the relay's and the victim's pay as fractions of the closed good miner's."""
    cast = Cast(
        (
            Miner("victim", Role.FIRST_GOOD),
            Miner("closed", Role.SECOND_GOOD),
            Miner("relay", Role.RELAY),
        ),
        (Validator("validator", copies=False),),
    )
    began = time.monotonic()
    plan = Plan(end_after=3)
    story = Story(stage, cast, plan, show, {"victim": ("--open",)})
    records, uids = await story.run_plain()
    phases["second run, one miner open to all"] = round(time.monotonic() - began, 2)
    closed = max(earned(records, uids["closed"]), 1)
    return {"relay": earned(records, uids["relay"]) / closed, "victim": earned(records, uids["victim"]) / closed}
