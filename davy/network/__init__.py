"""How nodes reach each other: transport, signed requests, the schemas of OpenAI's API, brake routes, gossip.

May import: ledger.rules and everything below it. The transport is HTTP over pinned TLS, or memory in simulations and
tests. Every byte that arrives is bounded and decoded strictly before anything looks at it.

Flows through: signed requests and signed orders, both ways. Gossip (py-libp2p) runs in a process of its own at the end
of a pipe, in the extra `gossip`.

======================  ==============================================================================
`message_signature`     the part of RFC 9421 and RFC 9530 that is used here
`signed`                davy's profile of it: who asks whom, on which chain, knowing which block
`freshness`             no signed request is accepted twice, not even across a restart
`signed_client`         signs a request, and signs it anew where the other node restarted
`probing`               holds a stream open at a miner, and sees how it ends
`receipts`              how a miner's receipt is made, travels and is checked
`exchange`              a request, its answer and the receipt, for whoever checks them later
`openai`, `events`      the schemas and the event streams of OpenAI's API
`error_responses`       errors as answers, and back: one table
`failures`              why a connection failed, in words; `client_failures` for aiohttp's client

`node_brake`            all of a node's brake in one
`brake_routes`          what a node answers on /brake
`fan_out`               orders straight to many nodes, and their attestations
`room`                  places for what a process can only do so much of at once; the most urgent is let in first
`strangers`             which addresses that strangers wrote down are asked, and how their names are looked up
`brake_peers`           exchange of orders with nodes whose head differs
`ledger_route`          orders out of blocks, before a block counts as seen
`gossip`                orders from peer to peer by libp2p: its own room
`attesting`             puts a node's word on the ledger for each order that it obeyed
`telling`               writes into the log what an operator should hear before something stops
`access`                whom a model's registrant lets ask for it
`graphs`                the metagraphs that a node goes by

`meter`                 token buckets
`memory`                a transport without sockets, with loss, delay and partitions
`certificate`           a node's own certificate, known to others by its fingerprint
`tls`                   connections that accept that certificate and no other
`http_client`           `davy.protocol.ports.Transport` by aiohttp
`http_server`           a `Handler` behind uvicorn
======================  ==============================================================================
"""
