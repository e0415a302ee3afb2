"""Studies beyond an epoch's market, one question a file: the brake, a full subnet, keyholders and votes.

May import: what davy.sims may. The first paragraph of a class's docstring is its story.
"""
