"""Proofs, against a trie built from the definition alone: what is there is proved, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.protocol.chain import Proof, ProofStep
from davy.protocol.errors import Refused
from davy.protocol.proof import EMPTY_ROOT, key_bit, leaf_hash, node_hash, value_hash, verify_absence, verify_presence

Map = dict[bytes, bytes]
MAPS = st.dictionaries(
    st.binary(min_size=1, max_size=4).filter(lambda k: k[-1] != 0), st.binary(max_size=3), max_size=12
)
"""Keys followed by endless zeros are one key: the ledger's end in no zero byte, or are of fixed length."""


def split(keys: list[bytes]) -> int:
    """The first bit at which the keys differ."""
    return next(bit for bit in range(2**16) if len({key_bit(k, bit) for k in keys}) == 2)


def root(m: Map) -> bytes:
    keys = sorted(m)
    if not keys:
        return EMPTY_ROOT
    if len(keys) == 1:
        return leaf_hash(keys[0], value_hash(m[keys[0]]))
    bit = split(keys)
    sides = [{k: m[k] for k in keys if key_bit(k, bit) == side} for side in (0, 1)]
    return node_hash(bit, root(sides[0]), root(sides[1]))


def proof(m: Map, key: bytes) -> Proof:
    steps: list[ProofStep] = []
    while len(m) > 1:
        bit = split(sorted(m))
        side = key_bit(key, bit)
        steps.insert(0, ProofStep(bit, root({k: m[k] for k in m if key_bit(k, bit) != side})))
        m = {k: m[k] for k in m if key_bit(k, bit) == side}
    (leaf,) = m or {b"": b""}
    return Proof(1, leaf, value_hash(m[leaf]) if m else bytes(32), tuple(steps))


@given(MAPS, st.binary(min_size=1, max_size=4).filter(lambda k: k[-1] != 0))
def test_what_is_there_and_what_is_not_are_proved(m: Map, asked: bytes) -> None:
    for key in {asked, *m}:
        shown = proof(m, key)
        if key in m:
            verify_presence(root(m), key, m[key], shown)
            with pytest.raises(Refused):
                verify_absence(root(m), key, shown)
            with pytest.raises(Refused):
                verify_presence(root(m), key, m[key] + b"x", shown)
        else:
            verify_absence(root(m), key, shown)
            with pytest.raises(Refused):
                verify_presence(root(m), key, b"", shown)


@given(MAPS.filter(lambda m: len(m) > 1), st.data())
def test_a_present_key_is_never_shown_absent(m: Map, data: st.DataObject) -> None:
    """Neither by another leaf's path, nor with steps left out, moved or doubled."""
    key, other = data.draw(st.permutations(sorted(m)))[:2]
    honest, foreign = proof(m, key), proof(m, other)
    steps = foreign.steps
    forged = [foreign, Proof(1, b"", bytes(32), ()), Proof(1, other, foreign.leaf_value, honest.steps)]
    forged += [Proof(1, other, foreign.leaf_value, steps[:n] + steps[n + 1 :]) for n in range(len(steps))]
    forged += [Proof(1, other, foreign.leaf_value, (*steps, s)) for s in steps]
    forged += [Proof(1, other, foreign.leaf_value, tuple(ProofStep(b, s.sibling) for s in steps)) for b in (0, 65_535)]
    for one in forged:
        with pytest.raises(Refused):
            verify_absence(root(m), key, one)


@given(MAPS.filter(lambda m: len(m) > 1))
def test_a_proof_is_for_its_state_only(m: Map) -> None:
    key = min(m)
    changed = m | {max(m): m[max(m)] + b"x"}
    with pytest.raises(Refused):
        verify_presence(root(changed), key, m[key], proof(m, key))
    with pytest.raises(Refused):
        verify_absence(EMPTY_ROOT, b"absent", proof(m, b"absent"))


def test_an_empty_state_has_nothing() -> None:
    empty = Proof(1, b"", bytes(32), ())
    verify_absence(EMPTY_ROOT, b"k", empty)
    with pytest.raises(Refused):
        verify_absence(root({b"a": b""}), b"k", empty)
    with pytest.raises(Refused):
        verify_presence(EMPTY_ROOT, b"k", b"", empty)


def test_an_inner_node_cannot_pose_as_a_leaf() -> None:
    m = {b"a": b"1", b"b": b"2"}
    top = proof(m, b"a")
    for step in top.steps:
        for key in (step.sibling, b"\1" + step.sibling):
            with pytest.raises(Refused):
                verify_presence(root(m), key, b"", Proof(1, key, value_hash(b""), ()))


def test_a_map_of_a_wrong_shape_proves_nothing() -> None:
    """Its producer may have signed any root: only a key's own path counts, and bits fall from leaf to root."""
    leaf, other = leaf_hash(b"b", value_hash(b"2")), bytes(32)
    astray = key_bit(b"a", 7) == 1  # b stands where the search for a ends, though a bit on its way is not b's
    top = node_hash(7, other, leaf) if astray else node_hash(7, leaf, other)
    with pytest.raises(Refused, match="does not follow the key"):
        verify_absence(top, b"a", Proof(1, b"b", value_hash(b"2"), (ProofStep(7, other),)))
    low = node_hash(0, leaf, other)
    for bit in (0, 1):  # bits 0 and 1 of both keys are equal, so only their order is wrong
        side = key_bit(b"a", bit)
        top = node_hash(bit, other, low) if side else node_hash(bit, low, other)
        with pytest.raises(Refused, match="does not follow the key"):
            verify_absence(top, b"a", Proof(1, b"b", value_hash(b"2"), (ProofStep(0, other), ProofStep(bit, other))))
