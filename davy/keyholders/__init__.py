"""What a keyholder runs, perhaps at night: ceremonies, the coordinator of a signature, the screen for what is signed.

May import: killswitch, protocol, network and ledger.client, so that an order leaves by every route. Never torch or
ledger.rules: a keyholder needs no node, and a test looks at what this room loads.

Flows through: an order's exact bytes in; the signer decodes and renders them itself, asks, and releases its share of
the signature.

======================  ==============================================================================
`circle`                who the keyholders are and where they listen: one line each
`messages`              what they ask each other, and what is answered
`voice`                 how another keyholder is asked: over the network, or in this process
`server`                answers the others

`screen`                an order as its signer sees it, from its exact bytes
`desk`                  what waits for a person's yes or no; `control` is the desk as its owner reaches it
`keys`                  a keyholder's shares, generation after generation
`steps`                 a person's yes first, then each step of a ceremony once

`signer`                one keyholder's part in a signature
`standing`              which HALTs a LIFT must name, as one signer knows them
`spending`              how long the allowance lets a HALT last, as one signer knows it
`claims`                which HALTs others say it must name, as far as they are heeded
`founding`              one keyholder's part in the making of a roster
`mending`               one keyholder's part in a refresh or a repair
`dealing`               what one keyholder computes for one key in these
`sealing`               shares, encrypted from one keyholder to another

`coordinator`           brings t of them together for a signature
`assembly`              brings all of them together for a roster
`authors`               whether what each hands in for all is its own
`renewal`               brings them together for a refresh or a repair
`succession`            brings two rosters together for the INSTALL of the second

`sheets`                questions and answers as text that is carried by hand
`by_hand`               a keyholder who is asked by sheets
`release`               a signed order leaves by every route there is
`listening`             the nodes that the ledger names, or named before: one of these routes
`again`                 which that others coordinated leave once more from here, and how many at a time
`drills`                how long a drill took, by the clock of who released it
`watch`                 how the brake stands on every node and on the ledger
======================  ==============================================================================
"""
