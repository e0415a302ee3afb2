"""Attack simulations, on the very code of incentive, killswitch and ledger.rules: no chain, no network, no hour.

May import: every room but cli and host; runs stand on axis 0 of the arrays.

Flows through: a Scenario (population, strategies, mechanism, parameters, runs, epochs, seed) in; arrays and a tidy
table out: attacker's return, cost to attack, emission share, honest loss and griefing factor, with the seed.
"""

if not __name__.startswith("davy."):
    raise ImportError("import davy.sims, not sims: the folder at the root is a link, for reading only")
