"""The state machine: accounts, subnets, neurons, stake, weights, models, budgets, brake, epoch, conservation.

May import: incentive, killswitch (but guard), protocol. No clock, entropy, file, socket or event loop: height and
verified time arrive as a Moment. Integers only, no order but a sorted one, work bounded by counted units.

Flows through: a block's transactions in; results, app hash and producer updates out. A transaction runs in a
savepoint, and whatever goes wrong in it becomes a deterministic error code and a rollback: no exception stops a node.
"""
