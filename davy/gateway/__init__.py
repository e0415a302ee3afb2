"""One OpenAI-compatible URL for whoever only sends prompts: routing, relay and receipts over the network's miners.

May import: tasks and everything below it; never miners, validators or keyholders.

Flows through: a user's request in, one miner asked; its answer is passed on with its receipt, and sampled exchanges go
to those who score. A halted model answers 451 with the signed order.

=============  ===============================================================================
`routing`      which miner is asked first, and who next: pure
`directory`    who serves what, from the ledger's metagraphs
`wish`         a user's request, what goes out for it, and what of the answer comes back
`relay`        asks one miner after another until the first byte; passes the answer on
`gateway`      the door: routes, key, rates, places, errors in one sentence
`sampling`     exchanges kept for whoever scores them
`node`         follows the ledger
=============  ===============================================================================
"""
