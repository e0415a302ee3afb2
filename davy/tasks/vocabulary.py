"""The tokenizer a subnet pins: text to token ids, and each token's exact bytes (byte-level BPE)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from davy.protocol.errors import Misconfigured
from davy.tasks.rule import IntArray


class Vocabulary:
    """Tokens 0 … size − 1. A special token (end of text) has no bytes.

    Raises
    ------
    Misconfigured
        The file is missing, or is no byte-level tokenizer, or `tokenizers` is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise Misconfigured(
                "a pinned tokenizer needs the package `tokenizers`: pip install 'davy[model]'"
            ) from None
        try:
            raw = path.read_bytes()
            self._tokenizer: Any = Tokenizer.from_buffer(raw)
        except (OSError, ValueError) as e:
            raise Misconfigured(f"no tokenizer can be read from {path}: {e}") from e
        self.digest = hashlib.sha256(raw).digest()
        """SHA-256 of tokenizer.json: what a manifest names as `tokenizer`."""
        self.size: int = self._tokenizer.get_vocab_size()
        special = {i for i, t in self._tokenizer.get_added_tokens_decoder().items() if t.special}
        byte_of = _bytes_of_letters()
        try:
            self.token_bytes: tuple[bytes, ...] = tuple(
                b"" if i in special else bytes(byte_of[c] for c in self._tokenizer.id_to_token(i))
                for i in range(self.size)
            )
        except (KeyError, TypeError):
            raise Misconfigured(f"{path} is not a byte-level tokenizer; pin one that is") from None

    def encode(self, text: str) -> IntArray:
        """Token ids of `text`, nothing added before or after."""
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)

    def encode_all(self, texts: Sequence[str]) -> list[IntArray]:
        """`encode` of each text, on all cores."""
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(e.ids, dtype=np.int64) for e in found]

    def bytes_of(self, ids: Sequence[int] | IntArray) -> bytes:
        """The text's bytes; a character may be cut at either end."""
        return b"".join(self.token_bytes[int(i)] for i in ids)


def _bytes_of_letters() -> dict[str, int]:
    """Byte-level BPE writes a byte as a letter: itself where it is printable, else the next free one from U+0100."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in set(own)]
    return {chr(b): b for b in own} | {chr(0x100 + n): b for n, b in enumerate(others)}
