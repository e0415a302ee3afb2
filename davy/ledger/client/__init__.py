"""The ledger as every other node sees it, over JSON-RPC: `RpcLedger`.

ledger is the client, following every head in order, rpc one call, answers what is read of each, saved a proof that was
kept. May import: protocol and ledger.headers; never ledger.rules.

Flows through: whatever a server says comes in bounded, is decoded strictly, and is checked against the chain id as far
as it can be.
"""

from davy.ledger.client.ledger import RpcLedger

__all__ = ["RpcLedger"]
