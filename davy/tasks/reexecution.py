"""Running a model's own files once more: next-token log-probabilities that a miner's report can be held against.

Needs the extra `model`, and for models that are no small Llama the extra `torch`. Weights come from safetensors
only, and the loader sees exactly the files of the manifest, each with its digest checked: nothing else that lies in
the folder.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from davy.models.checkpoint import open_checkpoint
from davy.models.logits import log_softmax
from davy.protocol.errors import Misconfigured
from davy.protocol.manifest import Manifest
from davy.tasks.rule import IntArray
from davy.tasks.task import FloatArray

FORMAT: Final = "safetensors"
BATCH: Final = 16


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check that a folder holds a manifest's files, byte for byte.

    Raises
    ------
    Misconfigured
        A file is missing, or differs from its size or digest.
    """
    for file in manifest.files:
        path = folder / file.name
        try:
            with path.open("rb") as f:
                found = hashlib.file_digest(f, "sha256").digest()
        except OSError as e:
            raise Misconfigured(f"{manifest.name}: {file.name} cannot be read from {folder}: {e.strerror}") from e
        if found != file.digest:
            raise Misconfigured(f"{path} is not the file that the manifest of {manifest.name} names; fetch it again")


class Reexecution:
    """A model in memory, on the CPU.

    Parameters
    ----------
    dtype
        What it computes in; float32 is what calibrations call honest.
    engine
        See `davy.models.loading`.

    Raises
    ------
    Misconfigured
        The files are not the manifest's, are no safetensors model, or an extra that it needs is not installed.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, dtype: str = "float32", engine: str = "auto") -> None:
        if manifest.format != FORMAT:
            raise Misconfigured(f"{manifest.name} is {manifest.format}: only {FORMAT} models can be run again")
        check_files(folder, manifest)
        with tempfile.TemporaryDirectory() as bare:
            for file in manifest.files:
                (Path(bare) / file.name).symlink_to((folder / file.name).resolve())
            self._model, self._tokenizer = _load(Path(bare), dtype, engine)
        self.batch = BATCH

    def encode(self, prompt: str) -> IntArray:
        """Token ids of a prompt, with whatever the model's tokenizer puts before it."""
        return np.array(self._tokenizer.encode(prompt).ids, dtype=np.int64)

    def log_probabilities(self, prompts: Sequence[str], continuations: Sequence[Sequence[int]]) -> list[FloatArray]:
        """Natural log-probabilities at each position of each continuation, given the prompt and the tokens before it.

        Parameters
        ----------
        continuations
            The tokens a miner chose after each prompt, at least one.

        Returns
        -------
        list of arrays [positions, vocabulary]
        """
        whole = [[*self.encode(p).tolist(), *c[:-1]] for p, c in zip(prompts, continuations, strict=True)]
        lengths = [len(c) for c in continuations]
        found: list[FloatArray] = []
        for at in range(0, len(whole), self.batch):
            found += self._together(whole[at : at + self.batch], lengths[at : at + self.batch])
        return found

    def _together(self, rows: Sequence[Sequence[int]], lengths: Sequence[int]) -> list[FloatArray]:
        logs = log_softmax(self._model.read(rows, max(lengths)))
        return [log[-n:] for log, n in zip(logs, lengths, strict=True)]


def _load(folder: Path, dtype: str, engine: str) -> tuple[Any, Any]:
    try:
        from tokenizers import Tokenizer

        from davy.models.loading import load_model

        checkpoint = open_checkpoint(folder)
        tokenizer = Tokenizer.from_file(str(checkpoint.tokenizer))
        return load_model(checkpoint, tokenizer.get_vocab_size(), dtype=dtype, engine=engine), tokenizer
    except ImportError as e:
        raise Misconfigured(f"to run a model again, install the extra: pip install 'davy[model]' ({e.name})") from e
