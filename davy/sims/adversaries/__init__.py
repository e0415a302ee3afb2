"""Cheats that run as real nodes: the demo and the sabotage tests put them on a network to see them earn nothing.

Each is a backend (`davy miner --backend davy.sims.adversaries.constant:Constant`) or a source of weights
(`davy validator --source davy.sims.adversaries.copy_weights:CopyWeights`), one story a file.

==============  ================================================================
`constant`      always gives the same answer
`lookup`        searches all public text
`relay`         passes on a good miner's answers
`liar`          claims a model and runs its int8 copy
`selective`     good to validators, weak to everybody else
`copy_weights`  a validator that scores nobody
`sabotage`      not a cheat: honest nodes with one defence switched off
==============  ================================================================
"""
