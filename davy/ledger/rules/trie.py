"""The authenticated map in memory: a crit-bit trie whose shape depends on its contents alone.

Hashes and the meaning of a proof are davy.protocol.proof's. A batch of changes marks the paths it touches; `root`
hashes the marked nodes once. Nothing recurses: whoever chooses keys freely can make a path as long as a key has
bits.
"""

from __future__ import annotations

from collections.abc import Iterable

from davy.protocol.chain import Proof, ProofStep
from davy.protocol.errors import Malformed
from davy.protocol.proof import EMPTY_ROOT, key_bit, leaf_hash, node_hash


class _Leaf:
    __slots__ = ("hash", "key", "up", "value")

    def __init__(self, key: bytes, value: bytes) -> None:
        self.key = key
        self.up: _Node | None = None
        self.value = value
        self.hash = leaf_hash(key, value)


class _Node:
    __slots__ = ("bit", "byte", "hash", "left", "mask", "right", "up")

    def __init__(self, bit: int, left: _Leaf | _Node, right: _Leaf | _Node) -> None:
        self.bit = bit
        self.byte, self.mask = bit >> 3, 0x80 >> (bit & 7)
        self.left, self.right = left, right
        left.up = right.up = self
        self.up: _Node | None = None
        self.hash = b""
        """Empty while a change below has not been hashed; then that of every node above is empty as well."""

    def side(self, key: bytes) -> _Leaf | _Node:
        return self.right if self.byte < len(key) and key[self.byte] & self.mask else self.left


class Trie:
    """Keys and value hashes under one root."""

    def __init__(self, items: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._root: _Leaf | _Node | None = None
        self._leaves: dict[bytes, _Leaf] = {}
        for key, value in items:
            self.put(key, value)

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value hash at a key."""
        leaf = self._leaves.get(key)
        if leaf is not None:
            leaf.value, leaf.hash = value, leaf_hash(key, value)
            _mark(leaf.up)
            return
        leaf = self._leaves[key] = _Leaf(key, value)
        nearest = self._end(key)
        if nearest is None:
            self._root = leaf
            return
        bit = _critical_bit(key, nearest.key)
        below: _Leaf | _Node = nearest
        while below.up is not None and below.up.bit > bit:
            below = below.up
        above = below.up
        one = key_bit(key, bit)
        self._replace(above, below, _Node(bit, below, leaf) if one else _Node(bit, leaf, below))

    def delete(self, key: bytes) -> None:
        """Remove a key; its sibling takes the place of their parent."""
        leaf = self._leaves.pop(key, None)
        if leaf is None:
            return
        if leaf.up is None:
            self._root = None
        else:
            parent = leaf.up
            self._replace(parent.up, parent, parent.right if parent.left is leaf else parent.left)

    def root(self) -> bytes:
        """Return the app hash; hashes only what changed since the last call."""
        if self._root is None:
            return EMPTY_ROOT
        marked = [] if isinstance(self._root, _Leaf) or self._root.hash else [self._root]
        for node in marked:  # it grows: those below come after those above
            marked += [child for child in (node.left, node.right) if isinstance(child, _Node) and not child.hash]
        for node in reversed(marked):
            node.hash = node_hash(node.bit, node.left.hash, node.right.hash)
        return self._root.hash

    def prove(self, key: bytes) -> Proof:
        """Return the proof of what the map holds at a key, or that it holds nothing; `root` must have been called."""
        leaf = self._end(key)
        if leaf is None:
            return Proof(1, b"", bytes(32), ())
        steps: list[ProofStep] = []
        below: _Leaf | _Node = leaf
        while below.up is not None:
            node = below.up
            steps.append(ProofStep(node.bit, (node.left if node.right is below else node.right).hash))
            below = node
        return Proof(1, leaf.key, leaf.value, tuple(steps))

    def _end(self, key: bytes) -> _Leaf | None:
        """The leaf where the search for a key ends."""
        node = self._root
        while isinstance(node, _Node):
            node = node.side(key)
        return node

    def _replace(self, above: _Node | None, old: _Leaf | _Node, new: _Leaf | _Node) -> None:
        new.up = above
        if above is None:
            self._root = new
        elif above.left is old:
            above.left = new
        else:
            above.right = new
        _mark(above)


def root_of_rising(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The root over keys that rise and value hashes, read once; memory holds one path.

    Raises
    ------
    Malformed
        A key does not come after the one before, or only by zeros at its end.
    """
    left: list[tuple[int, bytes]] = []  # from the root down: where a node splits, and what is on its left
    before: bytes | None = None
    whole = EMPTY_ROOT
    for key, value in items:
        if before is not None:
            bit = _critical_bit(before, key)
            if bit == 8 * max(len(before), len(key)) or not key_bit(key, bit):
                raise Malformed("the keys of a state rise, and these do not")
            whole = _joined(left, whole, bit)
            left.append((bit, whole))
        before, whole = key, leaf_hash(key, value)
    return _joined(left, whole, -1)


def _joined(left: list[tuple[int, bytes]], right: bytes, above: int) -> bytes:
    """Close the nodes that split below a bit."""
    while left and left[-1][0] > above:
        bit, other = left.pop()
        right = node_hash(bit, other, right)
    return right


def _mark(node: _Node | None) -> None:
    """Note a change below a node; above one that is marked already, all are."""
    while node is not None and node.hash:
        node.hash = b""
        node = node.up


def _critical_bit(a: bytes, b: bytes) -> int:
    """First bit in which two keys differ, each followed by endless zeros."""
    width = max(len(a), len(b))
    difference = int.from_bytes(a.ljust(width, b"\0"), "big") ^ int.from_bytes(b.ljust(width, b"\0"), "big")
    return width * 8 - difference.bit_length()
