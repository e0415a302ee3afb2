"""Which orders that count name a subject: what `davy.killswitch.scope` says, found by name instead of by walking all.

A brake may hold a thousand orders with a hundred names each; a verdict looks up the subject's own names only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from davy.killswitch.book import Book, HaltEntry, LowerEntry, RaiseEntry
from davy.killswitch.leases import LeaseInForce
from davy.killswitch.scope import ModelFacts, Subject
from davy.protocol.order import Models
from davy.protocol.recorded import (
    GLOBAL_NAME,
    file_name,
    miner_name,
    model_name,
    models_names,
    registrant_name,
    subnet_name,
    target_names,
)
from davy.protocol.words import Hotkey, ModelId


def facts_names(models: Iterable[ModelFacts]) -> Iterator[bytes]:
    """All names by which a target can know these models."""
    for m in models:
        yield model_name(m.id)
        yield from map(file_name, m.files)
        yield registrant_name(m.registrant)


def subject_names(x: Subject) -> Iterator[bytes]:
    """All names under which a HALT covers `x`: to prove that none does, prove the absence of each."""
    yield GLOBAL_NAME
    if x.netuid is not None:
        yield subnet_name(x.netuid)
    if x.hotkey is not None:
        yield miner_name(x.hotkey)
    yield from facts_names(x.lineage)
    yield from facts_names(x.siblings)


class Naming:
    """The entries of a book by the names they give."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._halts: dict[bytes, list[int]] = {}
        self._raises: dict[bytes, list[RaiseEntry]] = {}
        self._lowers: dict[ModelId, list[LowerEntry]] = {}
        self._leases: dict[ModelId, list[LeaseInForce]] = {}
        for n, h in enumerate(book.halts):
            for name in target_names(h.target):
                self._halts.setdefault(name, []).append(n)
        for r in book.raises:
            for name in models_names(r.models):
                self._raises.setdefault(name, []).append(r)
        for low in book.lowers:
            for model in low.models:
                self._lowers.setdefault(model, []).append(low)
        for lease in book.leases:
            for model in lease.models:
                self._leases.setdefault(model, []).append(lease)
        named = [*(h.target for h in book.halts if isinstance(h.target, Models)), *(r.models for r in book.raises)]
        self._ids = frozenset(i for m in named for i in m.ids)
        self._files = frozenset(f for m in named for f in m.files)
        self._registrants = frozenset(r for m in named for r in m.registrants)

    @property
    def names_models(self) -> bool:
        """Whether any entry names a model: if not, nobody need know a subject's lineage and siblings."""
        return bool(self._raises) or any(name[:1] in (b"m", b"f", b"r") for name in self._halts)

    def named(self) -> Iterator[tuple[bytes, list[HaltEntry]]]:
        """Each name that a HALT gives, with the HALTs that give it."""
        for name, places in self._halts.items():
            yield name, [self._book.halts[n] for n in places]

    def halts(self, x: Subject) -> list[HaltEntry]:
        """The HALTs that cover `x`, in the order of the book."""
        if not self._halts:
            return []
        alone = subject_names(x._replace(model=None, ancestors=(), siblings=()))
        names = (*alone, *self._named(x.lineage), *self._named(x.siblings))
        places = {n for name in names for n in self._halts.get(name, ())}
        return [self._book.halts[n] for n in sorted(places)]

    def raises(self, x: Subject) -> list[RaiseEntry]:
        """The Raises of `x` or of what it descends from."""
        if not self._raises:
            return []
        return [r for name in self._named(x.lineage) for r in self._raises.get(name, ())]

    def halts_miner(self, hotkey: Hotkey) -> bool:
        """Whether a HALT names this hotkey."""
        return miner_name(hotkey) in self._halts

    def _named(self, models: Iterable[ModelFacts]) -> Iterator[bytes]:
        """Those of `facts_names` that any order gives: of the thousands that a model's kin may have mostly none."""
        for m in models:
            if m.id in self._ids:
                yield model_name(m.id)
            if not self._files.isdisjoint(m.files):
                yield from map(file_name, self._files & m.files)
            if m.registrant in self._registrants:
                yield registrant_name(m.registrant)

    def lowers(self, x: Subject) -> list[LowerEntry]:
        """The Lowers of `x`."""
        return [] if x.model is None else self._lowers.get(x.model.id, [])

    def leases(self, model: ModelId) -> list[LeaseInForce]:
        """The LEASEs of a model."""
        return self._leases.get(model, [])
