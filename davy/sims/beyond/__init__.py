"""Studies beyond an epoch's market, one question a file. The first paragraph of a class's docstring is its story.

May import: what davy.sims may.

==============  ============================================================================
`spreading`     how long a halt takes to reach everybody; `graphs` is who knows whom
`registration`  a full subnet whose `seats` are fought over
`bribery`       validators who are promised that a bribe costs them nothing (P+ε)
`roster`        what it costs to own the keyholders
`votes`         votes by stake that is borrowed or bought
==============  ============================================================================
"""
