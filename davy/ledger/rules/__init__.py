"""The state machine: accounts, subnets, neurons, stake, weights, models, the brake, epochs, emission, conservation.

May import: incentive, killswitch (but guard), protocol. No clock, entropy, file, socket or event loop: height and
verified time arrive as a Moment. Integers only, no order but a sorted one, work bounded by counted units.

Flows through: a block's transactions in; results, app hash and producer updates out. A transaction runs in a
savepoint, and whatever goes wrong in it becomes a deterministic error code and a rollback: no exception stops a node.

A block in order: stake that is due becomes free; each subnet's part of the reward is minted into what its next epoch
pays; the transactions; the epochs that end with this block. So a commit in an epoch's last block belongs to that epoch.

=====================  ===============================================================================================
`machine`              start here: check_tx, apply_block, query, prove, restore
`transactions`         from raw bytes to a rule; nonces; what an exception becomes
`block`                what a block does besides its transactions: payouts and accrual before, epochs after them
`upgrades`             from which height on which rules hold
`door`                 how many transactions of a sender may wait for a block
`queries`, `kept`      answers, from the state after the last block; those that are given again

`records`              every record's type and key; `packed` is the arrays of all UIDs as bytes
`state`, `trie`        records with a journal and savepoints; the authenticated map over their encodings
`genesis`              the state before the first block
`conservation`         the witness: no part of a block makes or loses a base unit

`accounts`             transfer, burn
`subnets`              create_subnet, prices, when epochs end
`hyperparameters`      set_hyperparameters: what one change may do, and when it takes effect
`neurons`              register, serve, who loses its UID
`models`               register_model, retire_model, what may be served
`stake`, `moves`       add_stake, remove_stake, the least held; move_stake, and what it answers for
`take`                 set_take
`children`             set_children; `families` is who lends stake to whom, epoch by epoch
`rotation`             rotate_hotkey, and who answers for whom
`coldkeys`             swaps of a coldkey, and who signs for what
`budgets`              open_budget, close_budget, convict_double_spend
`producers`            register_producer, retire_producer, who has a seat; `absences` is who was silent for too long

`weights`              commit_weights, reveal_weights, set_weights, expiry
`epoch`                one epoch: `seats` are asked, the mechanism of davy.incentive answers, `payment` pays
`emission`             rewards, and the whole schedule as one function

`brake`                orders of keyholders: verified, and recorded once
`halts`, `frozen`      what they stop; a halted subnet's time stands still
`facts`                what orders can know of a hotkey's model, and which rows show it
`attestations`         who answered an order, and when
`convictions`          a receipt against its signer, who served what was halted
=====================  ===============================================================================================
"""
