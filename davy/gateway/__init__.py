"""One OpenAI-compatible URL for whoever only sends prompts: routing, relay and spot checks over the network's miners.

May import: tasks and everything below it; never miners, validators or keyholders.

Flows through: a user's request in, a ticket spent, one miner asked; its response is passed on unchanged with its
receipt. A halted model answers 451 with the signed order.
"""
