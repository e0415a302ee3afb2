"""The brake: t of n keyholders halt a model, a miner, a subnet or everything, on every node.

May import: protocol. Only `guard` and `running` may touch a clock, a store or an event loop, and nothing else in this
room imports `guard`: the rules stay functions over values.

Flows through: signed orders in, from any route, in any order, any number of times; out come verdicts, and ModelHalted
where one says no.

======================  ==============================================================================
`guard`                 the shell: the one object that every edge asks before it serves, scores, mints or loads
`running`               an answer that lasts, and that a halt ends; `refusal` is the error that tells of it
`index`                 what a guard keeps on disk beside the orders
`notices`               what an operator should hear before a stop
`verdict`               what the brake says of a subject at given clocks
`brake`                 its state: a join over the set of valid orders
`book`                  what counts of a set of orders
`allowance`             how long the HALT key alone may stop something
`leases`                until when a systemic model may run
`roster`                whose orders count, from the genesis on
`scope`                 who is covered by a target; `naming` finds that by name
`clocks`                which clock counts: always the one that stops more

`frost`                 threshold signing in two rounds (RFC 9591)
`dkg`                   the making of a key by all its holders
`refresh`, `repair`     new shares of the same key; one share given back
`echo`                  nobody tells two stories in a DKG, a refresh or a repair
`keys`                  what a keyholder has after a ceremony
`sharing`               Shamir's and Feldman's secret sharing
`group`                 points and scalars, and the gates for those received
`conformance`           a command that holds all of it against reference vectors
======================  ==============================================================================
"""

if not __name__.startswith("davy."):
    raise ImportError("import davy.killswitch, not killswitch: the folder at the root is a link, for reading only")
