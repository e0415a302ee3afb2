"""Transactions that are well formed and mean no good: any value of any action, from its type's own bounds.

Keys and ids come from those the world knows as often as not, or nothing would get past the first look-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, get_args

import msgspec
from hypothesis import strategies as st
from msgspec import inspect
from msgspec.structs import replace

from davy.ledger.rules.absences import address
from davy.ledger.rules.records import BUDGETS, HOTKEYS, MODELS, ORDERS
from davy.protocol.encoding import encode
from davy.protocol.manifest import Access, model_id
from davy.protocol.transaction import (
    Action,
    AddStake,
    BrakeOrder,
    CloseBudget,
    ConvictDoubleSpend,
    MoveStake,
    RemoveStake,
    RetireModel,
    RetireProducer,
    SetAccess,
    SetHyperparameters,
    SetTake,
)
from davy.protocol.words import TOKEN
from tests.ledger.rules.stand import FOUR
from tests.ledger.rules.world import PEOPLE, World, manifest, pub

NAMES = (*PEOPLE, "ann-hot", "ben-hot", "cat-hot", "dan-hot", "spare", "fresh", "fresher", "nobody")
SENDERS = (*NAMES[:-4], *NAMES)
"""Those that the ledger knows twice as often."""
PRODUCERS = (*FOUR, "fifth", "sixth")
REPORTED = tuple(address(pub(name)) for name in (*PRODUCERS, "a producer", "nobody"))
"""Whom an engine may report; the last one makes no blocks."""
WORDS = ("yuma2", "yuma3", "text", "127.0.0.1", "é" * 9, "safetensors", "a")


def pools(w: World) -> tuple[bytes, ...]:
    """32 bytes that mean something here, and some that hardly do."""
    tags = (HOTKEYS.tag, MODELS.tag, BUDGETS.tag, ORDERS.tag)
    known = sorted(k[1:33] for k in w.machine.state.records if k[:1] in tags)
    return (*known, *(pub(name) for name in NAMES), bytes(32), b"\xff" * 32)


@cache
def action_of(kind: type[Action], known: tuple[bytes, ...]) -> st.SearchStrategy[Action]:
    """Any value of one action."""
    return _values(inspect.type_info(kind), known).map(lambda v: msgspec.convert(v, kind))


def _values(t: inspect.Type, known: tuple[bytes, ...]) -> st.SearchStrategy[Any]:
    """What msgspec converts into a value of this type."""
    match t:
        case inspect.Metadata():
            return _values(t.type, known)
        case inspect.IntType():
            low, high = t.ge or 0, t.le if t.le is not None else 2**63 - 1
            ends = sorted({n for n in (low, low + 1, low + 2, 1, 2, 8, high - 1, high) if low <= n <= high})
            return st.sampled_from(ends) | st.integers(low, high)
        case inspect.BytesType():
            low, high = t.min_length or 0, min(80, t.max_length if t.max_length is not None else 80)
            fitting = tuple(k for k in known if low <= len(k) <= high)
            noise = st.binary(min_size=low, max_size=max(low, high))
            return st.sampled_from(fitting) | noise if fitting else noise
        case inspect.StrType():
            return st.sampled_from([w for w in WORDS if not t.pattern or w.isascii()])
        case inspect.EnumType():
            return st.sampled_from([m.value for m in t.cls])
        case inspect.VarTupleType():
            most = min(3, t.max_length if t.max_length is not None else 3)
            return st.lists(_values(t.item_type, known), max_size=most)
        case inspect.StructType():
            fields = st.tuples(*(_values(f.type, known) for f in t.fields))
            return fields.map(lambda v: [t.tag, *v] if t.tag is not None else list(v))
        case _:
            raise TypeError(f"no action has a {t}")


def actions(w: World) -> st.SearchStrategy[Action]:
    """Any action, each as likely as every other."""
    known = pools(w)
    return st.one_of([action_of(kind, known) for kind in get_args(Action)])


def good(w: World) -> st.SearchStrategy[tuple[str, Action]]:
    """One of `promising`."""
    return st.sampled_from(promising(w))


def promising(w: World) -> list[tuple[str, Action]]:
    """What would happen as it stands, were it not for what comes before it."""
    budget = next(k[1:] for k in sorted(w.machine.state.records) if k[:1] == BUDGETS.tag)
    return [
        ("ann", w.lending("ann-hot", {"ben-hot": 40_000})),
        ("cat", w.rotation("cat", "cat-hot", "fresh")),
        ("ann", w.rotation("ann", "ann-hot", "fresher")),
        ("eve", w.announcement("eve", "nobody")),
        ("eve", w.execution("eve", "nobody")),
        ("dan", w.registration("dan", "spare")),
        ("cat-hot", w.serving("one")),
        ("dan-hot", w.serving("two")),
        ("cat", RetireModel(model_id(manifest("one")))),
        ("cat", SetAccess(model_id(manifest("one")), Access.NAMED, (pub("ann"),), ())),
        ("dan", SetAccess(model_id(manifest("two")), Access.ADMITTED, (), ())),
        ("dan", RemoveStake(pub("dan-hot"), 5 * TOKEN)),
        ("eve", AddStake(pub("cat-hot"), 5 * TOKEN)),
        ("eve", MoveStake(pub("cat-hot"), pub("fresh"), TOKEN)),
        ("ben", SetTake(pub("ben-hot"), 5)),
        ("ann", CloseBudget(budget)),
        ("dan", w.joining("dan", "a producer")),
        ("dan", RetireProducer(pub("a producer"))),
        ("eve", ConvictDoubleSpend(*(w.ticket("ann-hot", budget, 1, miner) for miner in ("cat-hot", "fresh")))),
        ("owner", SetHyperparameters(1, replace(w.subnet().hyperparameters, tempo=5))),
    ]


def reports(most: int) -> st.SearchStrategy[list[bytes]]:
    """What an engine, or who stands in for one, may say of producers: several, again, strangers, and no addresses."""
    return st.lists(st.sampled_from(REPORTED) | st.binary(max_size=40), max_size=most)


def bent(raw: bytes, at: int, by: int) -> bytes:
    """One byte changed."""
    if not raw:
        return b"\0"
    at %= len(raw)
    return raw[:at] + bytes([raw[at] ^ (1 + by % 255)]) + raw[at + 1 :]


def order_envelopes(orders: Sequence[bytes]) -> list[bytes]:
    return [encode(BrakeOrder(raw)) for raw in orders]
