"""Attacks, a story each: `catalogue` finds them by name.

=============  ==================================================================
`cartel`       validators with miners of their own: together, or each for itself
`copying`      validators that copy: fresh, stale, consensus or average
`lazy`         constant, random, and a noise that a cartel shares
`griefing`     under-weighing the best; commits that are opened only when it suits
`answers`      miners: sybils of one model, relayed answers
`two_faced`    miners: good to validators, cheap to users
=============  ==================================================================
"""
