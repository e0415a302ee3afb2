"""What a subnet asks, and how an answer is scored: one small file a task.

May import: ledger.driver, ledger.client and everything below them. A task is found by its entry point in the group
`davy.tasks`, so a stranger's package adds one without a change here. Only `reexecution` and `calibrate` run models, and
they import what runs them when one is loaded.

Flows through: a seeded generator and a corpus in, a challenge out; a miner's answer in, a score by a proper rule out.

==================  ==================================================================================
`task`              the seam: `Task`, `Corpus`, `Setting`; tasks by name
`text`              the pinned task; `text_open` the one for any tokenizer
`rule`              the scoring rule of distributions
`base`              the public base distribution: a search of all public text and of the prompt
`vocabulary`        the pinned tokenizer; `answer` reads completions in it
`corpus`            where text comes from; `rename` disguises it; `shape` dresses a challenge as use
`skill`             from scores to weights
`identity`          reports against a run of the files (`reexecution`), by thresholds (`calibrate`)
`originality`       who answers alike shares one reward
==================  ==================================================================================
"""
