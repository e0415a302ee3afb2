"""A model's folder as Hugging Face's tools write it: which files make the model, and their digests. No torch here.

Only safetensors are loaded. A folder that holds pickled weights, or asks for code of its own to be run, is refused as a
whole, whatever else is in it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from davy import models
from davy.protocol.errors import Misconfigured
from davy.protocol.limits import MAX_MODEL_FILES, MAX_NAME_CHARS
from davy.protocol.manifest import Manifest, ModelFile

PICKLED: Final = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz"})
MAX_CONFIG_BYTES: Final = 1024 * 1024
EXTRAS: Final = {
    "safetensors": "davy[model]", "tokenizers": "davy[model]", "torch": "davy[torch]", "transformers": "davy[torch]",
}  # fmt: skip
"""Which extra brings a module."""
MAX_HEADER_BYTES: Final = 100_000_000
"""As safetensors bounds it."""
_CHUNK: Final = 1 << 20


class _Tensor(msgspec.Struct):
    """What a header of safetensors says of a tensor; of the metadata beside them, nothing."""

    data_offsets: tuple[int, int] = (0, 0)


class Checkpoint(NamedTuple):
    """A folder that can be loaded."""

    folder: Path
    config: Mapping[str, Any]
    weights: tuple[Path, ...]
    tokenizer: Path
    context: int
    """The most tokens, prompt and answer together."""
    ends: frozenset[int]
    """Tokens that end an answer."""


def open_checkpoint(folder: Path) -> Checkpoint:
    """Look at a folder, or at a model that davy ships by its name; nothing is loaded.

    Raises
    ------
    Misconfigured
        No such folder, no model in it, pickled weights, or code of its own.
    """
    if not folder.exists() and str(folder) in models.NAMES:
        folder = models.folder(str(folder))
    folder = folder.resolve()
    if not folder.is_dir():
        raise Misconfigured(f"there is no folder {folder}: name the folder of a Hugging Face model")
    names = sorted(p.name for p in folder.iterdir() if p.is_file())
    pickled = [n for n in names if Path(n).suffix.lower() in PICKLED]
    if pickled:
        raise Misconfigured(f"{folder} holds {pickled[0]}: pickled files are never loaded; keep safetensors only")
    if "config.json" not in names:
        raise Misconfigured(f"{folder} is not a model: it has no config.json; name the folder of a Hugging Face model")
    config = _json(folder / "config.json")
    if "auto_map" in config or any(n.endswith(".py") for n in names):
        raise Misconfigured(f"{folder} asks for code of its own to be run, which is never done; use another model")
    weights = tuple(folder / n for n in names if n.endswith(".safetensors"))
    if not weights:
        raise Misconfigured(f"{folder} has no .safetensors file: save the model with safe_serialization=True")
    if "tokenizer.json" not in names:
        raise Misconfigured(f"{folder} has no tokenizer.json: save its fast tokenizer there")
    context = config.get("max_position_embeddings")
    if not isinstance(context, int) or context < 2:
        raise Misconfigured(f"{folder}/config.json names no max_position_embeddings: which context has the model?")
    generation = _json(folder / "generation_config.json") if "generation_config.json" in names else {}
    ends = _ids(config.get("eos_token_id")) | _ids(generation.get("eos_token_id"))
    return Checkpoint(folder, config, weights, folder / "tokenizer.json", context, ends)


def manifest_of(checkpoint: Checkpoint, *, name: str = "", licence: str = "unstated") -> Manifest:
    """Digest the files that decide what the model says: configuration, tokenizer, weights.

    Parameters
    ----------
    name
        Empty: the folder's own name.

    Raises
    ------
    Misconfigured
        A name that no manifest can hold, or too many files.
    """
    name = name or checkpoint.folder.name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._/-]*", name) or len(name) > MAX_NAME_CHARS:
        raise Misconfigured(f"'{name}' cannot name a model: use up to {MAX_NAME_CHARS} letters, digits, ' ._/-'")
    folder = checkpoint.folder
    others = ("config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json")
    found = [folder / name for name in others if (folder / name).is_file()]
    paths = sorted([*checkpoint.weights, *found], key=lambda p: p.name)
    if len(paths) > MAX_MODEL_FILES:
        raise Misconfigured(
            f"{folder} has {len(paths)} files, and a manifest holds {MAX_MODEL_FILES}; use fewer shards"
        )
    files = tuple(ModelFile(p.name, p.stat().st_size, file_digest(p)) for p in paths)
    tokenizer = next(f.digest for f in files if f.name == "tokenizer.json")
    return Manifest(1, name, files, "safetensors", tokenizer, licence)


def check_whole(checkpoint: Checkpoint) -> None:
    """Look at what a copy that was broken off leaves out: nothing is loaded, and weights are not read.

    Raises
    ------
    Misconfigured
        A file is shorter than it says, or is not what its name says.
    """
    for path in (*checkpoint.weights, checkpoint.tokenizer):
        try:
            whole = _is_json(path) if path == checkpoint.tokenizer else _is_safetensors(path)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            whole = False
        if not whole:
            raise Misconfigured(f"{path} is damaged, or was cut short: copy the model's folder again")


def _is_json(path: Path) -> bool:
    return bool(msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw]))


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as f:
        length = int.from_bytes(f.read(8), "little")
        if length > MAX_HEADER_BYTES:
            return False
        header = msgspec.json.decode(f.read(length), type=dict[str, _Tensor])
    return 8 + length + max((t.data_offsets[1] for t in header.values()), default=0) == path.stat().st_size


def file_digest(path: Path) -> bytes:
    """Plain SHA-256 of a file."""
    sha = hashlib.sha256()
    with path.open("rb") as f:
        while chunk := f.read(_CHUNK):
            sha.update(chunk)
    return sha.digest()


def _json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise Misconfigured(f"{path} is larger than {MAX_CONFIG_BYTES} bytes: that is not a configuration")
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as e:
        raise Misconfigured(f"{path} is not a configuration ({e}): copy the model's folder again") from None


def _ids(value: Any) -> frozenset[int]:
    try:
        ids = msgspec.convert(value, int | list[int] | None)
    except msgspec.ValidationError:
        raise Misconfigured(f"eos_token_id is {value!r}: write a token's id, or a list of them") from None
    return frozenset([ids] if isinstance(ids, int) else ids or [])
