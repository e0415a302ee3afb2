"""The map's root depends on its contents alone, and its proofs prove exactly what it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.ledger.rules.trie import Trie, root_of_rising
from davy.protocol.chain import Proof, ProofStep
from davy.protocol.errors import Malformed, Refused
from davy.protocol.proof import EMPTY_ROOT, value_hash, verify_absence, verify_presence

# Few letters and one width a tag, as the ledger's tables have it: keys share long beginnings, and none is another's.
keys = st.one_of(
    st.builds(lambda k: b"a" + k, st.binary(min_size=2, max_size=2)),
    st.builds(lambda k: b"b" + bytes(k), st.lists(st.sampled_from([0, 1, 128, 255]), min_size=5, max_size=5)),
)
values = st.binary(max_size=3)
changes = st.lists(st.dictionaries(keys, st.none() | values, max_size=12), max_size=6)


def applied(batches: list[dict[bytes, bytes | None]]) -> tuple[Trie, dict[bytes, bytes]]:
    trie, held = Trie(), dict[bytes, bytes]()
    for batch in batches:
        for key, value in batch.items():
            if value is None:
                trie.delete(key)
                held.pop(key, None)
            else:
                trie.put(key, value_hash(value))
                held[key] = value
        trie.root()
    return trie, held


@given(changes)
def test_any_history_gives_the_root_of_its_contents(batches: list[dict[bytes, bytes | None]]) -> None:
    trie, held = applied(batches)
    anew = Trie((key, value_hash(held[key])) for key in sorted(held, reverse=True))
    assert trie.root() == anew.root()
    assert (trie.root() == EMPTY_ROOT) == (not held)


@given(changes)
def test_rising_keys_give_the_same_root_in_one_pass(batches: list[dict[bytes, bytes | None]]) -> None:
    trie, held = applied(batches)
    rows = [(key, value_hash(held[key])) for key in sorted(held)]
    assert root_of_rising(rows) == trie.root()
    for one in range(1, len(rows)):
        with pytest.raises(Malformed, match="rise"):
            root_of_rising([*rows[:one], rows[one], rows[one]])
        with pytest.raises(Malformed, match="rise"):
            root_of_rising([*rows[: one - 1], rows[one], rows[one - 1]])


def test_keys_that_differ_by_zeros_at_their_end_have_no_root() -> None:
    with pytest.raises(Malformed, match="rise"):
        root_of_rising([(b"a", bytes(32)), (b"a\0", bytes(32))])


@given(changes, keys)
def test_every_key_is_proved_present_or_absent_and_never_both(
    batches: list[dict[bytes, bytes | None]], asked: bytes
) -> None:
    trie, held = applied(batches)
    root = trie.root()
    for key in {*held, asked}:
        proof = trie.prove(key)
        if key in held:
            verify_presence(root, key, held[key], proof)
            with pytest.raises(Refused):
                verify_absence(root, key, proof)
        else:
            verify_absence(root, key, proof)
            with pytest.raises(Refused):
                verify_presence(root, key, b"", proof)


def altered(proof: Proof) -> list[Proof]:
    """A proof with each of its parts changed, one at a time."""
    flip = bytes([proof.leaf_value[0] ^ 1]) + proof.leaf_value[1:]
    many = [Proof(1, proof.leaf_key, flip, proof.steps), Proof(1, proof.leaf_key, proof.leaf_value, proof.steps[1:])]
    for i, step in enumerate(proof.steps):
        changed = (ProofStep(step.bit, bytes(32)), ProofStep(step.bit + 1, step.sibling))
        paths = [(*proof.steps[:i], other, *proof.steps[i + 1 :]) for other in changed]
        many += [Proof(1, proof.leaf_key, proof.leaf_value, path) for path in paths]
    return many


def test_a_proof_with_one_part_changed_proves_nothing() -> None:
    trie = Trie((bytes([97, i, j]), value_hash(bytes([i]))) for i in range(9) for j in range(9))
    root = trie.root()
    present, absent = bytes([97, 4, 4]), bytes([97, 4, 200])
    for proof in altered(trie.prove(present)):
        with pytest.raises(Refused):
            verify_presence(root, present, bytes([4]), proof)
    for proof in altered(trie.prove(absent)):
        with pytest.raises(Refused):
            verify_absence(root, absent, proof)


def test_a_path_as_long_as_a_key_has_bits_is_no_danger() -> None:
    """Whoever sends one unit to each of these keys makes a path of 256 nodes."""
    chosen = [(1 << bit).to_bytes(32, "big") for bit in range(256)]
    trie = Trie((b"a" + key, value_hash(key)) for key in chosen)
    root = trie.root()
    proof = trie.prove(b"a" + chosen[0])
    assert len(proof.steps) == 255
    verify_presence(root, b"a" + chosen[0], chosen[0], proof)


def test_keys_that_differ_in_their_first_bit_are_read_in_one_pass_too() -> None:
    items = [(bytes(9), value_hash(b"a")), (b"\x80" + bytes(8), value_hash(b"b"))]
    assert root_of_rising(items) == Trie(items).root()
