"""Orders to and from other nodes: `spread` to many at once, `exchange` with one whose head differs.

::

    told = await spread(orders, addressees, transport, clock)        # transport: HttpTransport(clock, pinned=False)
    for t in told: t.attestations (opened, verified), t.fault ('' if it was reached)

    peers = BrakePeers(guard, transport, clock, entropy)             # transport: the node's own, pinned
    peers.note(receipt.brake_head, endpoint, hotkey)                 # after each exchange; a different head is settled
    peers.heard(caller.brake_head)                                   # on a server: somebody knows another set
    await peers.run()                                                # does it, beside the node
"""
