"""Running a model's own files once more: next-token log-probabilities that a miner's report can be held against.

The only file of this room that needs torch, and it imports it when a model is loaded. Weights come from safetensors
only, and the loader sees exactly the files of the manifest, each with its digest checked: nothing else that lies in
the folder.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from davy.protocol.errors import Misconfigured
from davy.protocol.manifest import Manifest, ModelFile
from davy.tasks.rule import IntArray
from davy.tasks.task import FloatArray

FORMAT: Final = "safetensors"
BATCH: Final = 16


_RUN = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def manifest_of(folder: Path, *, name: str, licence: str) -> Manifest:
    """Describe a Hugging Face folder: its weights, configuration and tokenizer, not its notes.

    Raises
    ------
    Misconfigured
        It holds no safetensors file, no config.json or no tokenizer.json, or a file cannot be read.
    """
    try:
        found = {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix == ".safetensors" or p.name in _RUN}
    except OSError as e:
        raise Misconfigured(f"{folder} is no folder of a model that can be read: {e}") from e
    if not {"config.json", "tokenizer.json"} <= found.keys() or not any(n.endswith(".safetensors") for n in found):
        raise Misconfigured(f"{folder} must hold config.json, tokenizer.json and weights as .safetensors")
    files = [ModelFile(n, len(raw), hashlib.sha256(raw).digest()) for n, raw in sorted(found.items())]
    tokenizer = next(f.digest for f in files if f.name == "tokenizer.json")
    return Manifest(1, name, tuple(files), FORMAT, tokenizer, licence)


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
    """A model in memory. Computes in float32 on the CPU.

    Raises
    ------
    Misconfigured
        The files are not the manifest's, are no safetensors model, or the extra `torch` is not installed.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        if manifest.format != FORMAT:
            raise Misconfigured(f"{manifest.name} is {manifest.format}: only {FORMAT} models can be run again")
        check_files(folder, manifest)
        with tempfile.TemporaryDirectory() as bare:
            for file in manifest.files:
                (Path(bare) / file.name).symlink_to((folder / file.name).resolve())
            self.model, self._tokenizer = _load(Path(bare))
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
        whole = [
            np.concatenate([self.encode(p), np.asarray(c[:-1], dtype=np.int64)])
            for p, c in zip(prompts, continuations, strict=True)
        ]
        lengths = [len(c) for c in continuations]
        found: list[FloatArray] = []
        for at in range(0, len(whole), self.batch):
            found += self._together(whole[at : at + self.batch], lengths[at : at + self.batch])
        return found

    def _together(self, rows: Sequence[IntArray], lengths: Sequence[int]) -> list[FloatArray]:
        """Shorter rows are padded at the end, where a causal model cannot look."""
        torch: Any = import_module("torch")
        padded = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
        for i, row in enumerate(rows):
            padded[i, : len(row)] = row
        with torch.inference_mode():
            logits = self.model(input_ids=torch.from_numpy(padded), use_cache=False).logits
            return [
                torch.log_softmax(logits[i, len(row) - n : len(row)].double(), dim=-1).numpy()
                for i, (row, n) in enumerate(zip(rows, lengths, strict=True))
            ]


def _load(folder: Path) -> tuple[Any, Any]:
    try:
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModelForCausalLM
    except ImportError as e:
        raise Misconfigured(f"to run a model again, install the extra: pip install 'davy[torch]' ({e.name})") from e
    loader: Any = AutoModelForCausalLM
    try:
        model = loader.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, dtype=torch.float32
        )
        return model.eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as e:  # what a foreign folder makes transformers raise is not a closed set
        raise Misconfigured(f"no model can be loaded from the manifest's files: {e}") from e
