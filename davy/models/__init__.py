"""The small models davy ships, and the text beside them: for demonstrations and tests without a download.

`stdlib-a` and `stdlib-b` are two good models (one architecture, two seeds and orders of the data), `stdlib-weak` a weak
one; README.md in this folder is their model card, and training/ makes everything here.

What a model's folder is and how it is run lies here too, since a miner serves one and a validator runs it again.

May import: protocol. Only `llama_torch` and `automodel` need torch; a process without a model needs neither extra.

==================  =========================================================================================
`checkpoint`        a folder, and its manifest
`loading`           a model in memory, by the engine that fits it
`logits`            what every engine hands over
`llama`             shape and weights of a Llama; `llama_numpy` and `llama_torch` compute it, `automodel` all others
`int8`              a cheaper copy
==================  =========================================================================================
"""

from __future__ import annotations

import lzma
from pathlib import Path

GOOD = ("stdlib-a", "stdlib-b")
WEAK = "stdlib-weak"
NAMES = (*GOOD, WEAK)
SEPARATOR = "\n\f\n"  # between the documents of a text file

_HERE = Path(__file__).parent


def folder(name: str) -> Path:
    """The Hugging Face folder of one of `NAMES`.

    Raises
    ------
    ValueError
        If davy ships no model of that name.
    """
    if name not in NAMES:
        raise ValueError(f"davy ships no model {name!r}; choose one of {', '.join(NAMES)}")
    return _HERE / name


def heldout() -> tuple[str, ...]:
    """Documents that no shipped model was trained on, and that share next to nothing with `training`."""
    return tuple((_HERE / "heldout.txt").read_text("ascii").split(SEPARATOR))


def training() -> tuple[str, ...]:
    """Documents the shipped models were trained on: all the public text that a search could look up."""
    return tuple(lzma.decompress((_HERE / "training.txt.xz").read_bytes()).decode("ascii").split(SEPARATOR))
