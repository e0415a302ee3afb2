"""davy: a market for machine intelligence with a brake.

Imports run one way, and import-linter keeps it so (the contracts stand in pyproject.toml):

    cli → sims → gateway | miners | validators | keyholders → tasks → ledger.driver, ledger.client → network | models
        → ledger.rules → incentive | killswitch → protocol

`host` (the real clock, entropy and store) is imported only by `cli` and the tests. Data runs one way too: prompt →
miner → response and receipt → score → weight commit → reveal → consensus → emission. A halt enters at `killswitch` and
stops that flow at every edge through one object, the guard.

This file imports nothing, so that `davy` costs nothing to import and a keyholder never pays for a miner's torch.
"""

__version__ = "0.1.0"
