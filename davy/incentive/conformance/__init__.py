"""Conformance: the mechanisms held against reference vectors, `python -m davy.incentive.conformance FILE…`.

Files are told apart by what they hold: inputs of `cases` with one or more expected outputs, `scenarios`, `traces`, or
single `functions`; `report` prints the errors. Here, and nowhere else in the room, are floats: they read a reference's
decimals and measure the distance to them. They become integers before a rule sees them.
"""
