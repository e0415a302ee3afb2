"""How nodes reach each other: transport (HTTP over pinned TLS, or memory), signed requests, OpenAI's schemas, brake routes, gossip.

May import: ledger.rules and everything below it. Every byte that arrives is bounded and decoded strictly before anything looks at it.

Flows through: signed requests and signed orders, both ways. Gossip (py-libp2p) runs in a process of its own behind a Unix socket, in the
extra `gossip`.
"""
