"""What runs the rules: embedded (one process, SQLite) and cometbft (over its ABCI socket).

May import: ledger.rules and everything below it, network, ledger.client. The embedded one signs its headers with a
genesis key. Both answer on one JSON-RPC surface, CometBFT's, so that no client can tell them apart.

Flows through: signed transactions in; blocks, headers, proofs and events out. What a client has seen in a block is
never lost.
"""
