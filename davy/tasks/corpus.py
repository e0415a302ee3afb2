"""Where challenges take their text from: what a miner cannot have seen, or cannot look up."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from davy.protocol.errors import Misconfigured
from davy.tasks.base import SEPARATOR
from davy.tasks.rename import disguise
from davy.tasks.task import Generator


def private_rng(secret: bytes, *, netuid: int, epoch: int) -> Generator:
    """The generator of one validator's challenges in one epoch: nobody without `secret` can know what it will draw."""
    seed = hashlib.sha256(
        b"davy/challenge-seed\0" + netuid.to_bytes(2, "big") + epoch.to_bytes(8, "big") + secret
    ).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))


class Disguised:
    """Public documents, recombined and consistently renamed by the generator: no instance can be looked up."""

    def __init__(self, documents: list[str]) -> None:
        if not documents:
            raise Misconfigured("a corpus needs documents; the file is empty")
        self._documents = documents

    @classmethod
    def held_out(cls, models: Path) -> Disguised:
        """The held-out text that is shipped with the models, which none of them was trained on."""
        return cls((models / "heldout.txt").read_text("utf-8").split(SEPARATOR))

    def text(self, rng: Generator, characters: int) -> str:
        """Four documents' clauses, or as many more as the length needs."""
        chosen: list[str] = []
        while len(chosen) < 4 or sum(map(len, chosen)) < 2 * characters:
            chosen.append(self._documents[int(rng.integers(len(self._documents)))])
        return disguise(chosen, rng, characters=characters)
