"""The state machine: accounts, subnets, neurons, stake, weights, models, epochs, emission, conservation.

May import: incentive, killswitch (but guard), protocol. No clock, entropy, file, socket or event loop: height and
verified time arrive as a Moment. Integers only, no order but a sorted one, work bounded by counted units.

Flows through: a block's transactions in; results, app hash and producer updates out. A transaction runs in a
savepoint, and whatever goes wrong in it becomes a deterministic error code and a rollback: no exception stops a node.

===============  ====================================================================================================
`machine`        start here: check_tx, apply_block, query, prove, restore
`transactions`   from raw bytes to a rule; nonces; what an exception becomes
`block`          what a block does besides its transactions: payouts and accrual before them, epochs after them
`upgrades`       from which height on which rules hold      `door`       how much of whom may wait for a block
`accounts`       transfer, burn                            `models`     register_model, retire_model, what may be served
`subnets`        create_subnet, prices, when epochs end    `neurons`    register, serve, who loses its UID
`stake`          add, remove, the least held, unbonding    `weights`    commit, reveal, set, expiry
`epoch`          one epoch: `seats` are asked, the mechanism of davy.incentive answers, `payment` pays
`emission`       rewards, and the whole schedule as one function
`moves`          move_stake, and what it answers for       `take`       set_take
`families`       who lends whom stake, epoch by epoch       `children`   set_children
`rotation`       rotate_hotkey, and who answers for whom    `coldkeys`   swaps, and who signs for what
`budgets`        open, close, convict_double_spend
`producers`      register_producer, retire_producer, who has a seat, who loses its bond
`hyperparameters`  set_hyperparameters: what one change may do, and when it takes effect
`conservation`   the witness: no part of a block makes or loses a base unit
`records`        every record's type and key               `packed`     arrays of all UIDs as bytes
`state`, `trie`  records with a journal and savepoints; the authenticated map over their encodings
`genesis`        the state before the first block          `queries`    answers
`facts`          what orders can know of a hotkey's model, and which rows show it
===============  ====================================================================================================

A block in order: stake that is due becomes free; each subnet's part of the reward is minted into what its next epoch
pays; the transactions; the epochs that end with this block. So a commit in an epoch's last block belongs to that epoch.
"""
