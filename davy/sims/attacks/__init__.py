"""Attacks, one story each: `catalogue` finds them by name.

=============  =============================================================================
`cartel`       validators with miners of their own: together, or each for itself
`copying`      validators that copy: fresh, stale, consensus or average
`lazy`         validators that do not look: constant, random, or a noise that a cartel shares
`griefing`     validators that hurt: under-weighing the best; revealing only when it suits them
`moving`       validators with many hotkeys and one stake that moves
`answers`      miners that sell one answer twice: sybils of one model, relayed answers
`presence`     miners that answer from memory, or as late as they may
`two_faced`    miners that are good to validators and cheap to users
`halting`      keyholders that abuse the brake
=============  =============================================================================
"""
