"""What a subnet asks, and how an answer is scored: one small file per task.

May import: ledger.driver, ledger.client and everything below them. A task is found by its entry point in the group
`davy.tasks`, so a stranger's package adds one without a change here. Only `reexecution` and `calibrate` run models, and
they import what runs them when one is loaded.

Flows through: a seeded generator and a corpus in, a challenge out; a miner's answer in, a score by a proper rule out.

==================  ==================================================================================
`task`              the seam: `Task`, `Corpus`, `Setting`; tasks by name
`text`              the task with a pinned tokenizer; `text_open` the one for any tokenizer
`rule`              the scoring rule for distributions
`base`              the public base distribution: a search of all public text and of the prompt
`vocabulary`        the pinned tokenizer; `answer` reads completions in it
`corpus`            where text comes from; `rename` disguises it; `shape` makes a challenge look like a user's request
`skill`             from scores to weights
`identity`          reports against a run of the files (`reexecution`), by thresholds (`calibrate`)
`originality`       miners that answer alike share one reward
==================  ==================================================================================
"""
