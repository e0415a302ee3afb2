"""Tokens and text: what a backend needs to read a prompt, and to show tokens one by one as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from davy.protocol.errors import Misconfigured

CONTEXT_TOKENS = 5
"""So many tokens before the first generated one are decoded with it: some tokenizers drop a text's leading space."""


class Vocabulary(Protocol):
    """A tokenizer."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens in a row; special tokens give none, an incomplete character gives U+FFFD."""
        ...

    def text(self, token: int) -> str:
        """One token by itself, special ones too: how it is named in a list of log-probabilities."""
        ...


class Bytes:
    """A token is a byte of UTF-8."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(tokens).decode(errors="replace")

    def text(self, token: int) -> str:
        return chr(token) if token < 128 else f"bytes:\\x{token:02x}"


class TokenizerFile:
    """A ``tokenizer.json`` as the library `tokenizers` writes it; needs that library, and no torch."""

    def __init__(self, path: str | Path) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise Misconfigured("reading a tokenizer.json needs the package tokenizers: install davy[model]") from None
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as e:  # the library raises bare Exception for a missing file and for a bad one
            raise Misconfigured(f"{path} is not a tokenizer.json: {e}; name that of a Hugging Face folder") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    @property
    def size(self) -> int:
        """Number of ids, added tokens included."""
        return self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text).ids

    def decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens)

    def text(self, token: int) -> str:
        return self._tokenizer.decode([token], skip_special_tokens=False)


class Unfolding:
    """Text of a growing sequence of tokens, piece by piece: the pieces joined are the text of the whole."""

    def __init__(self, vocabulary: Vocabulary, prompt: Sequence[int]) -> None:
        self._decode = vocabulary.decode
        self._tokens = list(prompt[-CONTEXT_TOKENS:])
        self._from = 0
        self._shown = len(self._tokens)

    def add(self, token: int, *, last: bool) -> str:
        """Text that `token` completes: empty while its character is incomplete, unless it is the last one."""
        self._tokens.append(token)
        before = self._decode(self._tokens[self._from : self._shown])
        after = self._decode(self._tokens[self._from :])
        if len(after) <= len(before) or (after.endswith("\ufffd") and not last):
            return ""
        self._from, self._shown = self._shown, len(self._tokens)
        return after[len(before) :]
