"""What a keyholder runs, perhaps at night: ceremonies, the coordinator of a signature, the screen for what is signed.

May import: killswitch, protocol, network and ledger.client, so that an order leaves by every route. Never torch, nor
ledger.rules: a keyholder needs no node, and a test looks at what this room loads.

Flows through: an order's exact bytes in; the signer decodes and renders them itself, asks, and releases its share of
the signature.

======================  ==============================================================================
`circle`                who the keyholders are and where they listen: one line each
`messages`              what they ask each other, and what is answered
`screen`                an order as its signer sees it, from its exact bytes
`standing`              which HALTs a LIFT must name, as one signer knows them
`claims`                what others say that it must name, as far as they are heeded
`desk`                  what waits for a person's yes or no
`keys`                  a keyholder's shares, generation after generation
`steps`                 a person's yes first, then each step of a ceremony once
`signer`                one keyholder's part in a signature
`dealing`               what one computes for a key in a refresh or a repair
`sealing`               shares, encrypted from one keyholder to another
`mending`               one keyholder's part in a refresh or a repair
`founding`              one keyholder's part in the making of a roster
`voice`                 how another keyholder is asked: over the network, or in this process
`coordinator`           brings t of them together for a signature
`succession`            brings two rosters together for the INSTALL of the second
`assembly`              brings all of them together for a roster
`authors`               whether what each hands in for all is its own
`renewal`               brings them together for a refresh or a repair
`sheets`                questions and answers as text that is carried
`by_hand`               a keyholder who is asked by sheets
`control`               the desk, as its owner reaches it
`server`                answers the others
`release`               an order that is signed leaves by every route there is
`watch`                 how the brake stands on every node and on the ledger
======================  ==============================================================================
"""
