"""Where challenges take their text from: what a miner cannot have seen, or cannot look up.

`Folder` is an operator's own text, as it stands: the strongest, as long as nobody else has it. `Disguised` recombines
and renames documents by the generator it is handed, so that one document gives texts without end. How far that protects
documents which are themselves public is measured in docs/scoring.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from davy.protocol.errors import Misconfigured
from davy.tasks.base import SEPARATOR, read_public_text
from davy.tasks.rename import disguise
from davy.tasks.task import Generator

SOURCES: Final = 4
"""Documents in one disguised text, at least."""
LEAST_CHARACTERS: Final = 16_384
"""Of an operator's documents together. One text is made of up to 2,000 characters; of less than eight times that, all
challenges are the same few clauses over and over."""
MAX_FOLDER_BYTES: Final = 256 * 1024 * 1024


def private_rng(secret: bytes, *, netuid: int, epoch: int) -> Generator:
    """The generator of one validator's challenges in one epoch: nobody without `secret` can know what it draws.

    Raises
    ------
    Misconfigured
        `secret` is empty.
    """
    if not secret:
        raise Misconfigured("challenges need a secret; hand in 32 random bytes")
    place = netuid.to_bytes(2, "big") + epoch.to_bytes(8, "big")
    seed = hashlib.sha256(b"davy/challenge-seed\0" + place + secret).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))


def read_folder(folder: Path) -> list[str]:
    """All documents of a folder's .txt, .md and .rst files, form feeds on a line of their own between documents.

    Raises
    ------
    Misconfigured
        There is none, one is not UTF-8, or they are larger than `MAX_FOLDER_BYTES` together.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix in (".txt", ".md", ".rst") and p.is_file())
    if sum(p.stat().st_size for p in paths) > MAX_FOLDER_BYTES:
        raise Misconfigured(f"{folder} holds more than {MAX_FOLDER_BYTES} bytes of text; take some away")
    try:
        documents = [d.strip() for p in paths for d in p.read_text("utf-8").split(SEPARATOR)]
    except (OSError, UnicodeDecodeError) as e:
        raise Misconfigured(f"a file in {folder} cannot be read as UTF-8 text: {e}") from e
    if not any(documents):
        raise Misconfigured(f"{folder} holds no .txt, .md or .rst file with text in it")
    return [d for d in documents if d]


class Folder:
    """An operator's private text, as it stands: a random stretch of a random document, longer ones more often."""

    def __init__(self, folder: Path) -> None:
        self._documents = read_folder(folder)
        self._folder = folder

    def text(self, rng: Generator, characters: int) -> str:
        long = [d for d in self._documents if len(d) >= characters]
        if not long:
            raise Misconfigured(f"no document in {self._folder} has {characters} characters; add longer ones")
        room = np.array([len(d) - characters + 1 for d in long], dtype=np.float64)
        document = long[int(rng.choice(len(long), p=room / room.sum()))]
        start = int(rng.integers(len(document) - characters + 1))
        return document[start : start + characters]


class Disguised:
    """Documents recombined and consistently renamed: every text is new, and none can be looked up.

    Raises
    ------
    Misconfigured
        There are no documents, or only empty ones.
    """

    def __init__(self, documents: Sequence[str]) -> None:
        self._documents = [d for d in documents if d.strip()]
        if not self._documents:
            raise Misconfigured("a corpus needs documents; there are none in it")

    @classmethod
    def held_out(cls, models: Path) -> Disguised:
        """The held-out text shipped with the models: none of them was trained on it, but everybody can read it."""
        return cls(read_public_text(models).held_out)

    @classmethod
    def folder(cls, folder: Path) -> Disguised:
        """An operator's own documents, disguised too.

        Raises
        ------
        Misconfigured
            See `read_folder`; or they are shorter than `LEAST_CHARACTERS` together.
        """
        documents = read_folder(folder)
        if (held := sum(map(len, documents))) < LEAST_CHARACTERS:
            raise Misconfigured(
                f"{folder} holds {held} characters of text, and challenges need at least {LEAST_CHARACTERS}; add more"
            )
        return cls(documents)

    def text(self, rng: Generator, characters: int) -> str:
        chosen: list[str] = []
        while len(chosen) < SOURCES or sum(map(len, chosen)) < 2 * characters:
            chosen.append(self._documents[int(rng.integers(len(self._documents)))])
        return disguise(chosen, rng, characters=characters)
