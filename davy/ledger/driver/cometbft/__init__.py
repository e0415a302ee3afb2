"""The state machine as the application of a BFT engine, CometBFT 0.38. Consensus is the engine's; none of it is here.

May import: what davy.ledger.driver may.

Flows through: decided blocks in, state out, durable before the engine hears that they are; headers with the producers'
commits out to clients. A producer's machine trusts its own engine, as far as the two sockets in its home go.

===============  =========================================================================================
`service`        a producer's ledger as a whole: file, application, engine and front door
`application`    holds the machine and its file, and answers what the engine asks
`proposals`      what a block may hold; `door` knows who waits for one
`wire`           ABCI 2.0 on a Unix socket, in the messages of abci.proto (`abci_pb2`)
`engine`         the engine's own JSON-RPC
`node`           joins application and engine, and learns each block's header with its commit
`supervisor`     runs the engine's process
`configuration`  what the engine reads at its start
`vote_log`       the engine's log of votes, which would fill a gigabyte
`snapshots`      the state in chunks, for those who join; `fetched` such chunks on their way here
`install`        builds the engine from its source
===============  =========================================================================================
"""
