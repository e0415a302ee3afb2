"""The ledger's rules alone: transfers, commits and reveals a second, and the block of an epoch of 256 and 4096 UIDs.

Goals: ≥ 5,000 signed transfers a second, an epoch of 256 UIDs below 5 ms.
Seconds are of processor time: one thread, whatever else runs.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable

from nacl import bindings

from davy.ledger.rules import packed
from davy.ledger.rules.machine import Machine
from davy.ledger.rules.records import (
    HOTKEYS,
    NEURONS,
    RUNNING,
    STAKES,
    SUBNETS,
    UIDS,
    WEIGHTS,
    HotkeyRecord,
    NeuronRecord,
    RunningRecord,
    StakeRecord,
    UidRecord,
    WeightsRecord,
    neuron_key,
    subnet_key,
)
from davy.protocol.encoding import encode
from davy.protocol.genesis import Allocation, Genesis, GenesisSubnet, chain_id
from davy.protocol.limits import chain_parameters, hyperparameters
from davy.protocol.signing import Domain, sign
from davy.protocol.transaction import (
    Action,
    CommitWeights,
    RevealWeights,
    SignedTx,
    Transfer,
    TxBody,
    Weight,
    weight_subject,
    weights_commitment,
)
from davy.protocol.words import TOKEN

BLOCK = 1_000
BLOCKS = 10


def key(name: str) -> tuple[bytes, bytes]:
    return bindings.crypto_sign_seed_keypair(hashlib.sha256(name.encode()).digest())


def transfers(accounts: int) -> None:
    """Blocks of signed transfers among many accounts; the signatures are verified in the block, none before."""
    people = [key(f"person {i}") for i in range(accounts)]
    held = tuple(Allocation(public, 1_000 * TOKEN) for public, _ in people)
    g = Genesis(1, "bench", 0, chain_parameters(), (people[0][0],), held, (), ())
    chain, machine = chain_id(g), Machine.from_genesis(g)
    nonces = [0] * accounts
    seconds: list[float] = []
    for block in range(BLOCKS):
        raws: list[bytes] = []
        for i in range(BLOCK):
            sender = (block * BLOCK + i * 7) % accounts
            public, secret = people[sender]
            to = people[(sender * 31 + 17) % accounts][0]
            body = encode(TxBody(1, chain, public, nonces[sender], Transfer(to, 1)))
            raws.append(encode(SignedTx(1, body, sign(secret, Domain.TX, body))))
            nonces[sender] += 1
        started = time.process_time()
        result = machine.apply_block(block + 1, block, raws)
        seconds.append(time.process_time() - started)
        if any(r.code for r in result.results):
            raise SystemExit("a transfer of the benchmark was refused")
    rate = BLOCK / statistics.median(seconds)
    print(f"transfers among {accounts} accounts, {BLOCK} a block: {rate:,.0f}/s (goal 5,000)")


def crowded(uids: int, validators: int) -> Machine:
    """A subnet whose UIDs are all taken; the first `validators` have stake and a row of weights on all the others."""
    h = hyperparameters(tempo=max(10, uids * validators >> 14), max_uids=uids, max_validators=validators)
    owner = key("owner")[0]
    subnet = GenesisSubnet(0, owner, "text", "yuma3", h, 1_000_000)
    m = Machine.from_genesis(
        Genesis(1, "bench", 0, chain_parameters(), (owner,), (Allocation(owner, 1),), (subnet,), ())
    )
    s = m.state
    hotkeys = [key(f"hotkey {uid}")[0] for uid in range(uids)]
    subjects = [weight_subject(hotkey, 0, b"") for hotkey in hotkeys]
    running = s.need(RUNNING, subnet_key(0), "")
    s.put(RUNNING, subnet_key(0), RunningRecord(0, 0, running.ends, 0, uids, running.price, 0, 0, 0, 0))
    for uid, hotkey in enumerate(hotkeys):
        coldkey = hashlib.sha256(hotkey).digest()
        s.put(HOTKEYS, hotkey, HotkeyRecord(coldkey, 0, 0, (0,), (coldkey,) if uid < validators else (), ()))
        s.put(NEURONS, neuron_key(0, uid), NeuronRecord(hotkey, coldkey, 0, (), subjects[uid], 0, 0))
        s.put(UIDS, subnet_key(0) + hotkey, UidRecord(uid))
        if uid < validators:
            s.put(STAKES, hotkey + coldkey, StakeRecord((1_000 + uid) * TOKEN, (), ()))
            row = [Weight(j, subjects[j], 1 + (uid + j * j) % 60_000) for j in range(validators, uids)]
            s.put(WEIGHTS, neuron_key(0, uid), WeightsRecord(2, packed.pack_row(row), 0))
    return m


def votes(uids: int, validators: int, rounds: int) -> None:
    """Blocks of commits, and of reveals of a row on all miners; the signatures are verified in the block."""
    m = crowded(uids, validators)
    chain, voters = m.state.chain, [key(f"hotkey {uid}") for uid in range(validators)]
    subjects = [m.state.need(NEURONS, neuron_key(0, uid), "").subject for uid in range(uids)]
    row = tuple(Weight(j, subjects[j], 1 + j % 60_000) for j in range(validators, uids))
    nonces, salt = [0] * validators, bytes(32)
    seconds: dict[str, list[float]] = {"commits": [], "reveals": []}

    def running() -> RunningRecord:
        return m.state.need(RUNNING, subnet_key(0), "")

    def until(epoch: int) -> None:
        while running().epoch < epoch:
            m.apply_block(m.height + 1, m.height, [])

    def block(what: str, action: Callable[[bytes], Action]) -> None:
        raws: list[bytes] = []
        for n, (public, secret) in enumerate(voters):
            body = encode(TxBody(1, chain, public, nonces[n], action(public)))
            raws.append(encode(SignedTx(1, body, sign(secret, Domain.TX, body))))
            nonces[n] += 1
        started = time.process_time()
        result = m.apply_block(m.height + 1, m.height, raws)
        seconds[what].append((time.process_time() - started) / len(raws))
        if failed := [r.log for r in result.results if r.code]:
            raise SystemExit(f"votes of the benchmark failed: {failed[0]}")

    until(1)  # which gives the permits
    for _ in range(rounds):
        epoch = running().epoch
        block(
            "commits",
            lambda public, e=epoch: CommitWeights(0, e, weights_commitment(chain, 0, public, 0, e, row, salt)),
        )
        until(epoch + m.state.need(SUBNETS, subnet_key(0), "").hyperparameters.reveal_epochs)
        block("reveals", lambda _, e=epoch: RevealWeights(0, e, row, salt))
    for what, taken in seconds.items():
        of = f" of rows of {len(row)}" if what == "reveals" else ""
        print(f"{what}{of}, {validators} a block: {1 / statistics.median(taken):,.0f}/s")


def epochs(uids: int, validators: int, count: int) -> None:
    """Blocks that hold nothing but an epoch: from its records to the app hash."""
    m = crowded(uids, validators)
    seconds: list[float] = []
    while len(seconds) < count + 1:
        due = m.state.need(RUNNING, subnet_key(0), "").ends == m.height + 1
        started = time.process_time()
        result = m.apply_block(m.height + 1, m.height, [])
        if due:
            seconds.append(time.process_time() - started)
        if result.faults:
            raise SystemExit(f"an epoch of the benchmark failed: {result.faults}")
    paid = m.state.need(RUNNING, subnet_key(0), "").epoch
    print(f"block with an epoch of {uids} UIDs, {validators} of them validators ({paid} run): ", end="")
    print(f"{statistics.median(seconds[1:]) * 1e3:.1f} ms" + (" (goal 5)" if uids == 256 else ""))
    started = time.process_time()
    answer = m.query("/metagraph", subnet_key(0))
    print(f"its metagraph: {(time.process_time() - started) * 1e3:.1f} ms, {len(answer) // 1024} KiB")


def main() -> None:
    transfers(1_000)
    transfers(10_000)
    votes(256, 64, 10)
    epochs(256, 64, 20)
    epochs(4_096, 64, 3)


if __name__ == "__main__":
    main()
