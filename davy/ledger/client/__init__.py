"""The ledger as every other node sees it, over JSON-RPC: `RpcLedger`.

ledger is the client, following every head in order, believed whose signatures a header needs, news what came with it;
rpc is one call, answers what is read of each, views what is not proved, connections and subscription the bytes below;
saved is a proof that was kept; subjects reads proved rows by the ledger's own rule. May import: protocol,
ledger.headers and what lies under it, the words of network.failures; of ledger.rules only what subjects needs, and
only when a subject is asked for.

Flows through: whatever a server says comes in bounded, is decoded strictly, and is checked against the chain id as far
as it can be.
"""

from davy.ledger.client.ledger import RpcLedger

__all__ = ["RpcLedger"]
