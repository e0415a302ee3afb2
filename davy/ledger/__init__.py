"""The ledger: who holds what, who serves what, and which orders stand, as a function of the blocks.

============  ============================================================================================
`rules`       the state machine: pure
`driver`      what runs it: embedded in one process, or under CometBFT
`client`      the ledger as every other node sees it
`headers`     what makes a header one of a chain's, for both kinds of producers
`commits`     headers of the BFT engine: the signatures of more than two thirds of its producers
`zip215`      Ed25519 as that engine verifies it
`submit`      has a transaction included exactly once
============  ============================================================================================

This file imports none of them: a client loads only those rules that it checks an answer with, when it asks for one.
"""
