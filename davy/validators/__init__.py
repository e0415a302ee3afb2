"""A validator: challenges miners, scores them, keeps their standing, and commits and reveals weights.

May import: tasks and everything below it; never miners, keyholders or gateway: a validator knows a miner only by its
answers.

Flows through: challenges out, answers and receipts in; scores become standing, keyed by (hotkey, registration), and
standing becomes committed weights. The guard is asked before each challenge and each commit.
"""

if not __name__.startswith("davy."):
    raise ImportError("import davy.validators, not validators: the folder at the root is a link, for reading only")
