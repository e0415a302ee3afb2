"""What runs the rules: embedded (one process, SQLite) or cometbft (over its ABCI socket).

May import: ledger.rules and everything below it, network, ledger.client. The embedded driver signs its headers with a
genesis key. Both answer with the same JSON-RPC, CometBFT's, so no client can tell them apart.

Flows through: signed transactions in; blocks, headers, proofs and events out. What a client has seen in a block is
never lost.

===============  =========================================================================================
`service`        the embedded ledger as a whole: file, producer and front door
`embedded`       makes the blocks and signs their headers
`mempool`        transactions that wait for a block
`blockstore`     blocks, results and state in one SQLite file
`recovery`       opens that file again
`node`           the seam: what the front door asks of either driver
`server`         the front door: JSON-RPC over HTTP and WebSocket
`guests`         its connections: how many, and who is hung up on
`methods`        its methods; `shapes` is how CometBFT writes values into JSON
`news`           what is told of a block beside its header; `subscribers` who hears of it
`cometbft`       the other driver: its own room
===============  =========================================================================================
"""
