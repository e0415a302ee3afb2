"""One file, two threads that write: a block, and the header of an earlier one."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

from davy.ledger.driver.blockstore import Block, BlockStore
from davy.protocol.chain import TxResult


def test_blocks_and_headers_are_written_side_by_side(store: BlockStore) -> None:
    store.begin(b"genesis", [])
    failed: list[Exception] = []
    count = 120

    def blocks() -> None:
        try:
            for n in range(1, count + 1):
                store.append(Block(n, b"", bytes(32), [], [], [], [], {}))
        except Exception as e:
            failed.append(e)

    def headers() -> None:
        try:
            for n in range(1, count + 1):
                while store.height() < n:
                    pass
                store.put_header(n, b"header %d" % n)
        except Exception as e:
            failed.append(e)

    threads = [threading.Thread(target=work) for work in (blocks, headers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert (store.height(), store.told()) == (count, count)
    assert store.header(count) == b"header %d" % count


def test_whoever_reads_the_whole_state_holds_up_no_news(store: BlockStore) -> None:
    store.begin(b"g", [(bytes([n]), b"v") for n in range(200)])
    store.append(Block(1, b"", bytes(32), (), (), (), ()))
    rows = store.state()
    next(rows)
    store.put_header(1, b"told")
    assert store.header(1) == b"told"
    assert sum(1 for _ in rows) == 199


def test_a_file_that_forgets_blocks_grows_no_further(store: BlockStore) -> None:
    """What is forgotten makes room for what comes."""
    store.begin(b"genesis", [])
    keep, pages = 20, list[int]()
    for height in range(1, 401):
        txs = [b"%d %d" % (height, n) * 100 for n in range(5)]
        results = [TxResult(height, n, 0, "") for n in range(5)]
        store.append(Block(height, b"header", bytes(32), txs, results, [(b"key", b"%d" % height)], ()))
        store.prune(height - keep + 1, 100)
        with closing(sqlite3.connect(store.path)) as apart:
            pages.append(apart.execute("PRAGMA page_count").fetchone()[0])
    assert (store.earliest(), store.height()) == (381, 400)
    assert max(pages) <= 2 * pages[keep]
