"""One OpenAI-compatible URL for users who only send prompts: routing, relay and receipts over the network's miners.

May import: tasks and everything below it; never miners, validators or keyholders.

Flows through: a user's request in, one miner asked; its answer is passed on with its receipt, and sampled exchanges go
to the validators who score them. A halted model answers 451 with the signed order.

=============  ===============================================================================
`gateway`      the door: routes, API key, rate limits, places, errors in one sentence
`wish`         a user's request, what goes out for it, and what of the answer comes back
`directory`    who serves what, from the ledger's metagraphs
`routing`      which miner is asked first, and who next: pure
`relay`        asks one miner after another until the first byte; passes the answer on
`passing`      one stream on its way from a miner to a user
`guarding`     what the guard is asked about each miner, and what miners tell of orders
`sampling`     exchanges kept for whoever scores them
`node`         follows the ledger
=============  ===============================================================================
"""
