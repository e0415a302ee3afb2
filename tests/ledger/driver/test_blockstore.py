"""One file, two threads that write: a block, and the header of an earlier one."""

from __future__ import annotations

import threading

from davy.ledger.driver.blockstore import Block, BlockStore


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
