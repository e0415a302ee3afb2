"""What a keyholder runs, perhaps at night: ceremonies, the coordinator of a signature, the screen for what is signed.

May import: killswitch, protocol, network and ledger.client, so that an order leaves by every route. Never torch, nor
ledger.rules: a keyholder needs no node, and a test looks at what this room loads.

Flows through: an order's exact bytes in; the signer decodes and renders them itself, asks, and releases its share of
the signature.
"""
