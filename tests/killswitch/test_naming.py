"""What is found by name is what a walk through all orders finds."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.killswitch import naming
from davy.killswitch.book import Book, HaltEntry, LowerEntry, RaiseEntry
from davy.killswitch.leases import LeaseInForce
from davy.killswitch.naming import Naming
from davy.killswitch.scope import ModelFacts, Subject, covers, names
from davy.protocol.order import Global, Miner, Models, Subnet, VerifiedOrder

WORDS = st.sampled_from([bytes([n]) * 32 for n in range(5)])
"""Few, and one for every kind: a name of one kind must not be taken for another's."""
FACTS = st.builds(ModelFacts, WORDS, st.frozensets(WORDS, max_size=2), WORDS)
MODELS = st.builds(Models, *(st.lists(WORDS, max_size=2, unique=True).map(lambda x: tuple(sorted(x))),) * 3)
TARGETS = st.one_of(st.just(Global()), st.builds(Subnet, st.integers(0, 3)), st.builds(Miner, WORDS), MODELS)
SUBJECTS = st.builds(
    Subject,
    st.none() | st.integers(0, 3),
    st.none() | WORDS,
    st.none() | FACTS,
    st.lists(FACTS, max_size=2).map(tuple),
    st.lists(FACTS, max_size=2).map(tuple),
)


def halt(n: int, target: Global | Subnet | Miner | Models) -> HaltEntry:
    return HaltEntry(VerifiedOrder(bytes([n]), b"", None), target, n, (), (), None, 0)  # type: ignore[arg-type]


@given(st.lists(TARGETS, max_size=6), st.lists(MODELS, max_size=4), SUBJECTS)
def test_by_name_or_one_by_one(targets: list[Global], raised: list[Models], x: Subject) -> None:
    book = Book(
        tuple(halt(n, t) for n, t in enumerate(targets)),
        tuple(RaiseEntry(m, n) for n, m in enumerate(raised)),
        tuple(LowerEntry(m.ids, n) for n, m in enumerate(raised)),
        tuple(LeaseInForce(m.ids, n, n, n) for n, m in enumerate(raised)),
    )
    found = Naming(book)
    assert found.halts(x) == [h for h in book.halts if covers(h.target, x)]
    assert set(found.raises(x)) == {r for r in book.raises if any(names(r.models, m) for m in x.lineage)}
    own = [] if x.model is None else [low for low in book.lowers if x.model.id in low.models]
    assert found.lowers(x) == own
    for i in (bytes([n]) * 32 for n in range(5)):
        assert found.leases(i) == [lease for lease in book.leases if i in lease.models]
    assert found.names_models == any(isinstance(t, Models) and (t.ids or t.files or t.registrants)
                                     for t in (*targets, *raised))  # fmt: skip


def test_only_what_an_order_names_is_made_a_name_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registrant of many models, itself halted, cost 2.5 ms a transaction: all their files were looked up."""
    kin = tuple(
        ModelFacts(bytes([n]) * 32, frozenset(hashlib.sha256(bytes([n, k])).digest() for k in range(64)), bytes(32))
        for n in range(1, 100)
    )
    file = min(kin[7].files)
    book = Book((halt(0, Models((), (), (bytes(32),))), halt(1, Models((), (file,), ()))), (), (), ())
    made: list[bytes] = []
    known = naming.file_name
    found = Naming(book)
    monkeypatch.setattr(naming, "file_name", lambda digest: made.append(digest) or known(digest))
    assert found.halts(Subject(model=kin[0], ancestors=kin[1:50], siblings=kin[50:])) == list(book.halts)
    assert made == [file]
