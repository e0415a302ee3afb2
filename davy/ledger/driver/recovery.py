"""Opening a ledger's file: the history is one chain to a signed head, and the state is the one its last block left.

Nothing is replayed. The last header's signature vouches for every header before it by the chain of hashes; each names
the app hash of the block before; and the restored machine must have the last one.
"""

from __future__ import annotations

from typing import NamedTuple

from davy.ledger.driver.blockstore import BlockStore
from davy.ledger.headers import Authority, check_follows, open_header, origin
from davy.ledger.rules.machine import Machine
from davy.protocol.chain import Head
from davy.protocol.encoding import encode
from davy.protocol.errors import Misconfigured, Refused
from davy.protocol.genesis import Genesis
from davy.protocol.words import INT63


class Recovered(NamedTuple):
    """Where a file's chain stands."""

    machine: Machine
    head: Head


def recover(store: BlockStore, g: Genesis) -> Recovered:
    """Begin a new file, or check an old one and restore its machine.

    Raises
    ------
    Misconfigured
        The file belongs to another genesis, or is damaged: the message says where.
    StoreFailed
        It cannot be read or written.
    """
    begun_with = store.genesis()
    if begun_with is None:
        machine = Machine.from_genesis(g)
        store.begin(encode(g), machine.rows())
        return Recovered(machine, origin(g))
    if begun_with != encode(g):
        raise Misconfigured(f"{store.path} belongs to another chain; name its genesis, or another file")
    try:
        head, app_hash = _verified_head(store, g)
        machine = Machine.restore(g, store.state(), head.height, head.time)
    except Refused as e:
        raise Misconfigured(f"{store.path} is damaged ({e}); restore a backup of the ledger") from None
    if app_hash not in (b"", machine.app_hash):
        raise Misconfigured(f"{store.path} is damaged: its state is not block {head.height}'s; restore a backup")
    return Recovered(machine, head)


def _verified_head(store: BlockStore, g: Genesis) -> tuple[Head, bytes]:
    """The last block's head and the app hash after it (empty before the first block), every link to it checked."""
    authority, head, app_hash = Authority.of(g), origin(g), b""
    last = None
    for height, raw, after in store.headers(0, INT63):
        last = open_header(raw, authority, check_signature=False)
        check_follows(head, last)
        if height != last.header.height:
            raise Refused(f"row {height} holds block {last.header.height}")
        if app_hash not in (b"", last.header.app_hash):
            raise Refused(f"the app hash after block {head.height} is not the one that block {height} names")
        head, app_hash = last.head, after
    if last is not None:
        open_header(last.raw, authority)
        if not store.holds_txs(head.height, last.header.txs):
            raise Refused(f"the transactions of block {head.height} are not those its header names")
    return head, app_hash
