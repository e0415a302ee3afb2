"""What a model is: the digests of its files, its format, its licence; and its id, which no display name can change."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from davy.protocol.encoding import Wire, encode
from davy.protocol.limits import MAX_MODEL_FILES, MAX_NAME_CHARS
from davy.protocol.signing import Domain, digest
from davy.protocol.words import INT63, Digest, ModelId


class ModelClass(StrEnum):
    """How the brake treats a model: a halt of a systemic one never ends by itself."""

    ORDINARY = "ordinary"
    SYSTEMIC = "systemic"


class Access(StrEnum):
    """Whom a model's registrant lets ask for it, whatever a miner's own switch says; the stricter of both counts."""

    ANY = "any"
    """Whom the miner answers."""
    ADMITTED = "admitted"
    """Callers with stake, also where a miner is open to all."""
    NAMED = "named"
    """Of those whom the miner answers the hotkeys and coldkeys that are named, and who may score the model."""


class Identity(StrEnum):
    """What a miner can show of the model it serves: its files, or only its word (an upstream server)."""

    FILES = "files"
    CLAIMED = "claimed"


class ModelFile(Wire):
    """One file: `digest` is the plain SHA-256 of its bytes, as every tool prints it."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")]
    size: Annotated[int, Meta(ge=0, le=INT63)]
    digest: Digest


class Manifest(Wire):
    """A model's description; files sorted by name, each once."""

    version: Annotated[int, Meta(ge=1, le=1)]
    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._/-]*\Z")]
    files: Annotated[tuple[ModelFile, ...], Meta(max_length=MAX_MODEL_FILES)]
    format: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
    """``safetensors`` for files that can be re-executed; ``opaque`` for a claimed model."""
    tokenizer: Annotated[bytes, Meta(max_length=32)]
    """SHA-256 of tokenizer.json; empty where there is none."""
    licence: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]


def model_id(m: Manifest) -> ModelId:
    """SHA-256 of the manifest's canonical bytes, in its own domain."""
    return digest(Domain.MANIFEST, encode(m))
