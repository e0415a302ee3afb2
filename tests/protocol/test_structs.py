"""What a struct on a wire may hold: no defaults, floats, maps or nulls; what is signed begins with its version."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from davy.keyholders.keys import Generation, Holdings, Staging
from davy.keyholders.keys import Proof as SharesProof
from davy.keyholders.messages import Hello, MendingHello, SignedHello
from davy.keyholders.voice import Reply, Request
from davy.killswitch.dkg import Round1Package, Round2Share
from davy.killswitch.echo import Echo, Round1Statement, Session, SignedEcho, SignedRound1, Transcript
from davy.killswitch.frost import SignatureShare, SigningCommitments, SigningPackage
from davy.killswitch.keys import KeyPackage, PublicKeyPackage
from davy.protocol.attestation import Attestation, SignedAttestation
from davy.protocol.chain import Header, Proof, SignedHeader
from davy.protocol.encoding import Wire
from davy.protocol.genesis import Genesis
from davy.protocol.limits import ChainParameters, Hyperparameters
from davy.protocol.manifest import Manifest
from davy.protocol.order import Order, SignedOrder
from davy.protocol.receipt import Receipt, SignedReceipt
from davy.protocol.roster import Roster
from davy.protocol.signing import Domain, prefix
from davy.protocol.transaction import SignedTx, TxBody

NAMED_OUTRIGHT: list[type[Wire]] = [
    TxBody, SignedTx, Header, SignedHeader, Receipt, SignedReceipt, Manifest, Genesis, Proof,
    KeyPackage, PublicKeyPackage, SigningCommitments, SigningPackage, SignatureShare,
    Holdings, Generation, Staging, SharesProof, SignedHello, Hello, MendingHello, Request, Reply,
    Round1Package, Round2Share, Session, Round1Statement, SignedRound1, Echo, SignedEcho, Transcript,
    ChainParameters, Hyperparameters, Roster, Order, SignedOrder, Attestation, SignedAttestation,
]  # fmt: skip
HASHED = [
    "_Budget", "_Child", "_Succession", "_Consent", "_Subject", "_Commitment", "_AllRecorded", "_Circle",
    "_Transcripts", "_Producer", "_Accession",
]  # fmt: skip
WITHIN = {"_Named"}
"""Stands in a hashed one."""


def fields_within(t: inspect.Type) -> Iterator[inspect.Type]:
    yield t
    for name in ("type", "item_type"):
        if (inner := getattr(t, name, None)) is not None:
            yield from fields_within(inner)
    for name in ("types", "item_types"):
        for inner in getattr(t, name, ()):
            yield from fields_within(inner)
    if isinstance(t, inspect.StructType):
        for field in t.fields:
            yield from fields_within(field.type)


def faults(kind: type[Any]) -> Iterator[str]:
    top = inspect.type_info(kind)
    assert isinstance(top, inspect.StructType)
    if not top.array_like or not top.forbid_unknown_fields or not kind.__struct_config__.frozen:
        yield "not a frozen array without unknown fields"
    for t in fields_within(top):
        if isinstance(t, inspect.FloatType | inspect.DictType | inspect.NoneType | inspect.AnyType | inspect.SetType):
            yield f"holds a {type(t).__name__}"
        if isinstance(t, inspect.StructType) and any(not f.required for f in t.fields):
            yield f"{t.cls.__name__} has a default"


def test_no_wire_type_holds_what_has_two_forms(wire_type: type[Wire]) -> None:
    assert list(faults(wire_type)) == []


def test_the_walk_finds_what_it_looks_for() -> None:
    class Inner(Wire):
        a: float

    class Bad(Wire):
        rows: tuple[tuple[int, Inner], ...]
        names: dict[str, int]
        maybe: int | None
        last: int = 0

    assert len(list(faults(Bad))) == 4
    assert list(faults(msgspec.defstruct("Loose", [("a", int)])))


@pytest.mark.parametrize("kind", NAMED_OUTRIGHT)
def test_what_is_signed_or_stands_alone_begins_with_its_version(kind: type[Wire]) -> None:
    top = inspect.type_info(kind)
    assert isinstance(top, inspect.StructType)
    first = top.fields[0]
    bound = first.type.type if isinstance(first.type, inspect.Metadata) else first.type
    assert first.name == "version"
    assert isinstance(bound, inspect.IntType)
    assert (bound.ge, bound.le) == (1, 1)


def test_what_is_only_hashed_begins_with_its_version(freeze: dict[str, Any]) -> None:
    kinds = {k.__name__: k for k in freeze["wire_types"]()}
    assert [kinds[name].__struct_fields__[0] for name in HASHED] == ["version"] * len(HASHED)
    private = {name for name in kinds if name.startswith("_")}
    assert private == {*HASHED, *WITHIN}, "a new private struct: say above whether it is signed"


def test_every_domain_is_its_own_and_none_begins_another() -> None:
    prefixes = [prefix(d) for d in Domain]
    assert len(set(prefixes)) == len(Domain)
    for one in prefixes:
        assert one.startswith(b"davy/")
        assert one.count(b"\0") == 1
        assert not [other for other in prefixes if other != one and other.startswith(one)]
