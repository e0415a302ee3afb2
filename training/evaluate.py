"""Bits per byte of a text: what a language model, or the order-3 byte model beside it, still does not know of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM

from davy.tasks.rename import disguise
from training.tokenizer import END


def renamed(documents: Sequence[str], seed: int, count: int) -> list[str]:
    """`count` texts made of three documents each, recombined and consistently renamed."""
    rng = np.random.default_rng(seed)
    return [disguise([documents[int(i)] for i in rng.integers(len(documents), size=3)], rng) for _ in range(count)]


@torch.no_grad()
def bits_per_byte(model: LlamaForCausalLM, tokenizer: Tokenizer, texts: Sequence[str], context: int) -> float:
    """Each text for itself, in float32, in windows of `context` tokens; every byte counts, the first too."""
    start = tokenizer.encode(END).ids[0]
    windows: list[tuple[list[int], list[int]]] = []
    for text in texts:
        ids = [start, *tokenizer.encode(text).ids]
        windows += [(ids[i : i + context], ids[i + 1 : i + context + 1]) for i in range(0, len(ids) - 1, context)]
    windows.sort(key=lambda window: len(window[1]))
    nats = 0.0
    for first in range(0, len(windows), 16):
        group = windows[first : first + 16]
        width = max(len(targets) for _, targets in group)
        inputs = torch.full((len(group), width), start)
        labels = torch.full((len(group), width), -100)
        for row, (ids, targets) in enumerate(group):
            inputs[row, : len(targets)] = torch.tensor(ids[: len(targets)])
            labels[row, : len(targets)] = torch.tensor(targets)
        logits = model(input_ids=inputs, use_cache=False).logits.float()
        nats += cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum").item()
    return nats / math.log(2) / sum(len(text.encode()) for text in texts)


class ByteModel:
    """Order-3 byte model, Witten-Bell interpolated.

    p_k(b | past) = (count(past b) + kinds(past) · p_{k-1}(b)) / (count(past) + kinds(past)), kinds the number of
    distinct bytes seen after `past`; p_{-1} = 1/256. A past never seen leaves p_{k-1} as it is.
    """

    def __init__(self, text: bytes) -> None:
        self._counts: list[Counter[bytes]] = [
            Counter(text[i : i + n] for i in range(len(text) - n + 1)) for n in range(1, 5)
        ]
        self._total: list[Counter[bytes]] = [Counter() for _ in self._counts]
        self._kinds: list[Counter[bytes]] = [Counter() for _ in self._counts]
        for order, counts in enumerate(self._counts):
            for gram, count in counts.items():
                self._total[order][gram[:-1]] += count
                self._kinds[order][gram[:-1]] += 1

    def probability(self, context: bytes, byte: bytes) -> float:
        """Of `byte` after the last three bytes of `context`; sums to one over all 256."""
        p = 1 / 256
        for order in range(min(3, len(context)) + 1):
            past = context[len(context) - order :]
            total, kinds = self._total[order][past], self._kinds[order][past]
            if total:
                p = (self._counts[order][past + byte] + kinds * p) / (total + kinds)
        return p

    def bits_per_byte(self, texts: Sequence[str]) -> float:
        """Each text for itself, as `bits_per_byte` counts a language model."""
        bits = 0.0
        for text in texts:
            data = text.encode()
            for i in range(len(data)):
                bits -= math.log2(self.probability(data[max(0, i - 3) : i], data[i : i + 1]))
        return bits / sum(len(text.encode()) for text in texts)
