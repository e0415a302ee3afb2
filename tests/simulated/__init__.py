"""A whole network in virtual time: the nodes' own logic on trio's mocked clock, without socket, thread or disk."""
