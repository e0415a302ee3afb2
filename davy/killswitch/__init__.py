"""The brake: t of n keyholders halt a model, a miner, a subnet or everything, on every node.

frost, dkg, refresh and repair make and mend the keyholders' shares of the HALT and the LIFT key; brake is the state,
a join over the set of valid orders; verdict says what the set means for a subject at given clocks; guard is their
shell, the one object that every edge asks before it serves, scores, mints or loads. Under frost and dkg lie group
(points, scalars, and the gates for received ones), sharing (Shamir and Feldman) and keys (what a keyholder keeps); echo
sees to it that no member of a dkg, a refresh or a repair tells two stories; conformance holds all of it against
reference vectors. Under brake and verdict lie book (what counts of a set of orders), roster (whose orders count),
allowance, leases, scope (who is covered) and clocks; notices says what an operator should hear before a stop.

May import: protocol. Only guard may touch a clock, a store or an event loop, and nothing else in this room imports
guard: the rules stay functions over values.

Flows through: signed orders in, from any route, in any order, any number of times; out come verdicts, and ModelHalted
where one says no.
"""

if not __name__.startswith("davy."):
    raise ImportError("import davy.killswitch, not killswitch: the folder at the root is a link, for reading only")
