"""Whether a block holds a transaction, shown by all blocks that could.

A ledger that says it does not find one may hide it.
"""

from __future__ import annotations

from typing import Final

from davy.ledger.client.answers import BlockAnswer, Headers
from davy.ledger.client.believed import Believed
from davy.ledger.client.rpc import RpcCaller, to_bytes
from davy.ledger.headers import OpenedHeader
from davy.protocol.encoding import decode
from davy.protocol.errors import Refused
from davy.protocol.limits import MAX_RESULT_BYTES, MAX_RPC_PAGE
from davy.protocol.recorded import AccountRecord
from davy.protocol.transaction import tx_hash
from davy.protocol.words import Height, TxHash

_MOST_BLOCKS: Final = 2_000


def next_nonce(stored: bytes | None) -> int:
    """What a key's next transaction must bear, by the proved record of its account.

    Raises
    ------
    Malformed
    """
    return 0 if stored is None else decode(stored, AccountRecord, limit=MAX_RESULT_BYTES).nonce


async def holding_block(rpc: RpcCaller, believed: Believed, h: TxHash, first: Height, last: Height) -> Height | None:
    """The block of a range that holds a transaction; None: each header of the range names others, or none.

    Raises
    ------
    Refused
        The range is too long, or the ledger does not show all of it.
    """
    if last - first >= _MOST_BLOCKS:
        raise Refused(f"it could stand in any of the blocks {first} to {last}, too many to read")
    while first <= last:
        until = min(last, first + MAX_RPC_PAGE - 1)
        page = await rpc.call("blockchain", Headers, minHeight=str(first), maxHeight=str(until))
        for meta in reversed(page.block_metas):
            opened = await believed.open(to_bytes(meta.signed_header))
            if opened.header.height != first or first > until:
                break
            if h in await _transactions(rpc, opened):
                return first
            first += 1
        if first <= until:
            raise Refused(f"the ledger does not show block {first}")
    return None


async def _transactions(rpc: RpcCaller, opened: OpenedHeader) -> list[TxHash]:
    if opened.names([]):
        return []
    height = opened.header.height
    block = (await rpc.call("block", BlockAnswer, height=str(height))).block
    hashes = [tx_hash(to_bytes(text)) for text in block.data.txs]
    if not opened.names(hashes):
        raise Refused(f"header {height} does not name the transactions that the ledger shows of its block")
    return hashes
