"""A validator: challenges miners, scores them, keeps their standing, and commits and reveals weights.

May import: tasks and everything below it; never miners, keyholders or gateway: a validator knows a miner only by its
answers.

Flows through: challenges out, answers and receipts in; scores become standing, keyed by (hotkey, registration), and
standing becomes committed weights. The guard is asked before each challenge and each commit.

=============  ===============================================================================
`node`         follows the ledger; commits once an epoch, and reveals when due
`source`       the seam: where a row of weights comes from
`examiner`     the honest source: rounds of challenges, scored
`challenger`   asks one miner one thing
`arrived`      an answer as it arrived, with its receipt
`standing`     what is known of each miner: a window of scores
`evidence`     the seam for claims beyond skill; each only ever lowers a weight
`identity`     a miner runs the files it registered; `library` has the models that can be run again
`originality`  miners that answer alike share one reward
`organic`      what users get comes from the model that validators see
`grounds`      what a weight rests on, written down for `davy why`
`committer`    commits a row and reveals it, through any crash
=============  ===============================================================================
"""

if not __name__.startswith("davy."):
    raise ImportError("import davy.validators, not validators: the folder at the root is a link, for reading only")
