"""The state machine as the application of a BFT engine, CometBFT 0.38. Consensus is its; nothing of it is written here.

application holds the machine and its file, and answers what the engine asks; proposals are the rules of what a block
may hold, and door knows who waits; wire speaks ABCI 2.0 on a Unix socket, with the messages of abci.proto; engine is
the engine's own JSON-RPC; node joins them and learns each block's header with its commit; supervisor runs the engine's
process; configuration is what that reads, snapshots the state as others fetch it, and install how the engine is
built. May import what davy.ledger.driver may.

Flows through: decided blocks in, state out, durable before the engine hears that they are; headers with the producers'
commits out to clients. A producer's machine trusts its own engine, as far as the two sockets in its home go.
"""
