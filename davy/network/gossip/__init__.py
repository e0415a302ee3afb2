"""The brake's fourth route: orders from peer to peer by libp2p, in a process of its own, in the extra `gossip`.

Two halves meet only at a pipe. The node's half (`joining`, `route`, `meeting`, `pipe`) is imported by nodes and needs
nothing beyond the base. The process's half (`process`, `mesh`, `link`, `holding`, `standing`) is imported only by
`davy gossip`, the command that the node starts; `link` alone imports libp2p. Import contracts keep it so.

May import: what davy.network may.

Flows through: signed orders, both ways, verified on each side of the pipe, and the addresses of gossip processes.
Everything is bounded: peers, messages, bytes a second, pages and connections from one address by `standing.Bounds`, the
process's memory and files by `process`. The node never waits for the process.

======================  ==============================================================================
`route`                 the node's end: starts the process, watches it, and restarts it
`meeting`               ``GET /gossip``, and whom the process is told to dial
`joining`               `route` and `meeting` together, as a node uses them
`pipe`                  what node and process say to each other
`process`               the process's end
`mesh`                  its peers: dialled, admitted, told, asked
`holding`               what it knows of the brake
`standing`              who may come in, and what an address may cost
`link`                  one connection by libp2p: Noise, Yamux, one stream
======================  ==============================================================================
"""
