"""The authenticated map in memory: a crit-bit trie whose shape depends on its contents alone.

Hashes and the meaning of a proof are davy.protocol.proof's. A batch of changes marks the paths it touches; `root`
hashes the marked nodes once. Nothing recurses: whoever chooses keys freely can make a path as long as a key has
bits.
"""

from __future__ import annotations

from collections.abc import Iterable

from davy.protocol.chain import Proof, ProofStep
from davy.protocol.proof import EMPTY_ROOT, leaf_hash, node_hash


class _Leaf:
    __slots__ = ("hash", "key", "value")

    def __init__(self, key: bytes, value: bytes) -> None:
        self.key = key
        self.set(value)

    def set(self, value: bytes) -> None:
        self.value = value
        self.hash = leaf_hash(self.key, value)


class _Node:
    __slots__ = ("bit", "byte", "hash", "left", "mask", "right")

    def __init__(self, bit: int, left: _Leaf | _Node, right: _Leaf | _Node) -> None:
        self.bit = bit
        self.byte, self.mask = bit >> 3, 0x80 >> (bit & 7)
        self.left, self.right = left, right
        self.hash = b""
        """Empty while a change below has not been hashed; then every node above is empty as well."""


class Trie:
    """Keys and value hashes under one root."""

    def __init__(self, items: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._root: _Leaf | _Node | None = None
        for key, value in items:
            self.put(key, value)

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value hash at a key."""
        leaf = self._end(key)
        if leaf is None:
            self._root = _Leaf(key, value)
        elif leaf.key == key:
            self._path(key)
            leaf.set(value)
        else:
            self._split(key, value, _critical_bit(key, leaf.key))

    def delete(self, key: bytes) -> None:
        """Remove a key; its sibling takes the place of their parent."""
        leaf = self._end(key)
        if leaf is None or leaf.key != key:
            return
        path = self._path(key)
        if not path:
            self._root = None
            return
        parent = path.pop()
        sibling = parent.right if parent.left is leaf else parent.left
        self._replace(path, parent, sibling)

    def root(self) -> bytes:
        """Return the app hash; hashes only what changed since the last call."""
        if self._root is None:
            return EMPTY_ROOT
        stack = [self._root]
        while stack:
            node = stack[-1]
            if isinstance(node, _Leaf) or node.hash:
                stack.pop()
            elif node.left.hash and node.right.hash:
                node.hash = node_hash(node.bit, node.left.hash, node.right.hash)
                stack.pop()
            else:
                stack += [child for child in (node.left, node.right) if not child.hash]
        return self._root.hash

    def prove(self, key: bytes) -> Proof:
        """Return the proof of what the map holds at a key, or that it holds nothing; `root` must have been called."""
        leaf = self._end(key)
        if leaf is None:
            return Proof(1, b"", bytes(32), ())
        steps: list[ProofStep] = []
        node = self._root
        while isinstance(node, _Node):
            side = node.byte < len(key) and key[node.byte] & node.mask
            steps.append(ProofStep(node.bit, (node.left if side else node.right).hash))
            node = node.right if side else node.left
        return Proof(1, leaf.key, leaf.value, tuple(reversed(steps)))

    def _end(self, key: bytes) -> _Leaf | None:
        """The leaf where the search for a key ends."""
        node, length = self._root, len(key)
        while isinstance(node, _Node):
            node = node.right if node.byte < length and key[node.byte] & node.mask else node.left
        return node

    def _path(self, key: bytes, bit: int = 1 << 16) -> list[_Node]:
        """Nodes above `bit` on the way to a key, from the root, each marked as changed."""
        path: list[_Node] = []
        node, length = self._root, len(key)
        while isinstance(node, _Node) and node.bit < bit:
            node.hash = b""
            path.append(node)
            node = node.right if node.byte < length and key[node.byte] & node.mask else node.left
        return path

    def _split(self, key: bytes, value: bytes, bit: int) -> None:
        path = self._path(key, bit)
        if path:
            last = path[-1]
            below = last.right if last.byte < len(key) and key[last.byte] & last.mask else last.left
        else:
            below = self._root
        if below is None:
            raise AssertionError("a trie with a leaf has a root")
        leaf = _Leaf(key, value)
        one = bit >> 3 < len(key) and key[bit >> 3] & (0x80 >> (bit & 7))
        self._replace(path, below, _Node(bit, below, leaf) if one else _Node(bit, leaf, below))

    def _replace(self, path: list[_Node], old: _Leaf | _Node, new: _Leaf | _Node) -> None:
        if not path:
            self._root = new
        elif path[-1].left is old:
            path[-1].left = new
        else:
            path[-1].right = new


def _critical_bit(a: bytes, b: bytes) -> int:
    """First bit in which two keys differ, each followed by endless zeros."""
    width = max(len(a), len(b))
    difference = int.from_bytes(a.ljust(width, b"\0"), "big") ^ int.from_bytes(b.ljust(width, b"\0"), "big")
    return width * 8 - difference.bit_length()
