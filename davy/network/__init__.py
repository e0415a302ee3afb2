"""How nodes reach each other: transport, signed requests, the schemas of OpenAI's API, brake routes, gossip.

May import: ledger.rules and everything below it. The transport is HTTP over pinned TLS, or memory in simulations and
tests. Every byte that arrives is bounded and decoded strictly before anything looks at it.

Flows through: signed requests and signed orders, both ways. Gossip (py-libp2p) runs in a process of its own behind a
Unix socket, in the extra `gossip`.
"""
