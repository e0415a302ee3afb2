"""The words everyone speaks: what goes over a wire, onto a ledger or under a signature, and the seams between rooms.

Everything here is a value or a signature: no input or output, no clock, no entropy (they enter through `ports`).
May import: nothing of davy; msgspec, PyNaCl and the pure part of the standard library.

Flows through: bytes from outside become typed values in `encoding` and nowhere else; a value becomes a
promise when `signing` signs its exact bytes.

======================  ==============================================================================
`words`                 identifiers, amounts, heights, moments, and how a key looks as text
`encoding`              one canonical encoding, strict decoding
`limits`                every bound and parameter: unit, default, range, who may change it
`errors`                the error tree
`signing`               domains, digests, signatures
`ports`                 the seams: clock, entropy, store, keys, ledger, transport

`genesis`               what a chain starts from; its digest is the chain id
`transaction`           what may be asked of the ledger
`chain`                 blocks, headers, results, the metagraph: what the ledger answers
`proof`                 presence and absence of an entry, proved against an app hash
`consents`              what one key signs so that another may name it
`ticket`                what a consumer signs for a request that a budget pays for
`manifest`              what a model is, and its id
`receipt`               what a miner signs about each answer

`roster`                the keyholders' two group keys and thresholds
`order`                 what keyholders sign: halt, extend, lift, lease, drill, install
`attestation`           what a node signs when it obeys an order
`recorded`              what the ledger keeps of the brake
`brake_messages`        what the brake's routes carry between nodes; `gossip` the same over libp2p
======================  ==============================================================================
"""
