"""The ledger as every other node sees it, over JSON-RPC: `RpcLedger`.

May import: protocol, ledger.headers and what lies under it, the words of network.failures; of ledger.rules only what
`subjects` needs, and only when a subject is asked for.

Flows through: whatever a server says comes in bounded, is decoded strictly, and is checked against the chain id as far
as it can be.

==============  ==========================================================================================
`ledger`        the client; `views` is what of it is not proved
`following`     every head after a height, in order, through lost connections
`believed`      whose signatures a header needs
`news`          what comes with a header, so that nobody has to ask after every block
`fates`         whether a block of a range holds a transaction
`braking`       whether the orders that were told are all there are
`subjects`      what orders can know of a model, by the ledger's own rule from proved rows
`saved`         a proof that was kept, checked without a ledger
`rpc`           one call; `answers` is what is read of each result
`connections`   bounded HTTP and WebSocket connections; `subscription` the second
==============  ==========================================================================================
"""

from davy.ledger.client.ledger import RpcLedger

__all__ = ["RpcLedger"]
