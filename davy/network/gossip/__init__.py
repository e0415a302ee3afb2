"""The brake's fourth route: orders from peer to peer by libp2p, in a process of its own, in the extra `gossip`.

Two halves that meet at a pipe only. The node's half (`joining`, `route`, `meeting`, `pipe`) is imported by nodes and
needs nothing beyond the base. The process' half (`process`, `mesh`, `link`, `holding`, `standing`) is imported by the
command that the node starts, `davy gossip`, and nothing else; `link` alone imports libp2p. Import contracts keep it so.

May import: what davy.network may. Flows through: signed orders, both ways, verified on each side of the pipe; and where
each process can be met. What is bounded: peers, messages, bytes a second, pages, connections of an address
(`standing.Bounds`); the process' memory and files (`process`); the node never waits for it.

======================  ==============================================================================
`route`                 the node's end: starts the process, watches it, starts it again
`meeting`               ``GET /gossip``, and whom the process is told to dial
`joining`               both of these as a node wants them
`pipe`                  what node and process say to each other
`process`               the process' end
`mesh`                  its peers: dialled, admitted, told, asked
`holding`               what it knows of the brake
`standing`              who may come in, and what an address may cost
`link`                  one connection by libp2p: Noise, Yamux, one stream
======================  ==============================================================================
"""
