"""The demo's chain: one process that makes the blocks, or four producers and the engines that agree on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import anyio

from davy.cli.demo.stage import Stage

LEDGER: Final = "ledger"
"""The process that all nodes ask: the one that makes the blocks, or one of the producers."""
PRODUCERS: Final = 4
_READY_S: Final = 60.0


class Chain:
    """A chain on a stage.

    Parameters
    ----------
    engine
        Whether several producers decide, by the BFT engine: their blocks are dearer, so there are fewer.

    Attributes
    ----------
    block_ms, tempo
        Between two blocks at least, and blocks of an epoch: a node acts on a block when the next one has come, and what
        it sends stands in one after that. A copier acts after all others, and still has to come in time.
    """

    def __init__(self, stage: Stage, *, engine: bool = False) -> None:
        self._stage, self._engine = stage, engine
        self.block_ms, self.tempo = (1_000, 12) if engine else (200, 10)

    @property
    def genesis(self) -> Path:
        """The chain's first bytes."""
        place = self._stage.home(LEDGER)
        return (place / "producer-1" if self._engine else place) / "genesis"

    @property
    def told(self) -> str:
        """Who makes the blocks, in words."""
        if self._engine:
            return f"{PRODUCERS} producers agree on blocks, {self.block_ms} ms apart at least"
        return f"a ledger makes a block every {self.block_ms} ms"

    async def start(self, subnets: Sequence[str], coldkeys: Iterable[str], owner: str, roster: Path | None) -> None:
        """Start it, with tokens for all these coldkeys, and keyholders if there is a roster; wait until it answers."""
        words = ["--parameters", "unbonding=200,anchor_slack=8,model_review=0", "--block-time", str(self.block_ms)]
        words += [word for s in subnets for word in ("--subnet", s)]
        words += [word for key in coldkeys for word in ("--allocate", f"{key}=1000")]
        words += [] if roster is None else ["--keyholders", str(roster)]
        if self._engine:
            await self._start_producers([*words, "--owner", owner])
        else:
            self._stage.start(LEDGER, "up", "--home", str(self._stage.home(LEDGER)), "--port", "0", *words)
        with anyio.fail_after(_READY_S):
            while not self._stage.network.exists():
                self._stage.check()
                await anyio.sleep(0.05)
        if not self._engine:  # started again it must be found where it was
            port = json.loads(self._stage.network.read_bytes())["ledger"].rsplit(":", 1)[1]
            self._stage.amend(LEDGER, "--port", port)

    async def _start_producers(self, words: Sequence[str]) -> None:
        stage, root = self._stage, self._stage.home(LEDGER)
        places = stage.free_addresses(2 * PRODUCERS)
        at = [word for place in places[:PRODUCERS] for word in ("--at", place)]
        made = ("ledger", "init-net", "--home", str(root), "--producers", str(PRODUCERS), *at, *words)
        await stage.do(*made)
        for n, place in enumerate(places[PRODUCERS:], 1):
            network = stage.network if n == 1 else stage.network.with_name(f"network-{n}.json")
            started = ("ledger", "start", "--home", str(root / f"producer-{n}"), "--port", place.rsplit(":", 1)[1])
            stage.start(LEDGER if n == 1 else f"producer-{n}", *started, "--network", str(network))
