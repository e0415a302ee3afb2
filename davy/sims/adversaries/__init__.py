"""Cheats that run as real nodes: the demo and the sabotage tests put them on a network to see them earn nothing.

Each is a backend (`davy miner --backend davy.sims.adversaries.constant:Constant`) or a source of weights
(`davy validator --source davy.sims.adversaries.copy_weights:CopyWeights`), one story a file.
"""
