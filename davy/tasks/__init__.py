"""What a subnet asks, and how an answer is scored: one small file a task.

May import: ledger.driver, ledger.client and everything below them. A task is found by its entry point in the group
`davy.tasks`, so a stranger's package adds one without a change here.

Flows through: a seeded generator and a corpus in, a challenge out; a miner's answer in, a score by a proper rule out.
"""
