"""The ledger: who holds what, who serves what, and which orders stand, as a function of the blocks.

rules is the state machine, pure; driver runs it, embedded in one process or under CometBFT; client is what every
other node sees; headers checks what a producer signed, for both; submit has a transaction included once. This file
imports none of them: a client loads of the rules what it checks an answer with, when it asks for one.
"""
