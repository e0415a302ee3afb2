"""What other people's disks hold is played again: blocks of before give the hashes of before, and new rules wait."""

from __future__ import annotations

from typing import get_args

import pytest

from davy.ledger.rules import upgrades
from davy.ledger.rules.machine import Machine
from davy.protocol.encoding import decode
from davy.protocol.errors import Malformed, TxCode
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import MAX_GENESIS_BYTES, MAX_TX_BYTES
from davy.protocol.manifest import Access
from davy.protocol.order import Subnet
from davy.protocol.recorded import GLOBAL_NAME
from davy.protocol.transaction import (
    Action,
    Execute,
    Propose,
    RetireModel,
    SetAccess,
    Transfer,
    Vote,
    is_brake_order,
    open_tx,
)
from tests.ledger.rules.recording import GOLDEN, Chain, kept_back_install, read
from tests.ledger.rules.world import World, begins, genesis, pub
from tests.twins.keyholders import Keyholders

EDITIONS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8}
"""Recorded chains, and the edition that was the newest when they were."""
NEVER_DONE = {Propose, Vote, Execute}
"""Places that are kept: no block has done any of these."""


def replay(chain: Chain, starts: tuple[int, ...], *, restart_every: int = 0) -> Machine:
    """Play a recorded chain; every block must do what it did."""
    g = decode(chain.genesis, Genesis, limit=MAX_GENESIS_BYTES)
    m = Machine.from_genesis(g, starts)
    rows = dict(m.rows())
    for height, block in enumerate(chain.blocks, 1):
        done = m.apply_block(height, block.time, block.txs, block.evidence, block.absent)
        assert [r.code for r in done.results] == block.codes
        assert done.app_hash == block.app_hash, f"block {height} gives another state than it gave"
        assert not done.faults
        rows = {k: v for k, v in (rows | done.changes.puts).items() if k not in done.changes.deletes}
        if restart_every and height % restart_every == 0:
            m = Machine.restore(g, rows.items(), m.height, m.time, starts)
    return m


def test_every_recorded_chain_is_one_of_the_list() -> None:
    assert {p.stem for p in GOLDEN.glob("*.chains")} == EDITIONS.keys()


@pytest.mark.parametrize(("name", "edition"), [*EDITIONS.items(), ("fifth", 6)])
def test_old_blocks_give_their_old_hashes(name: str, edition: int) -> None:
    chains = read(name)
    assert len(chains) > 30
    assert sum(len(c.blocks) for c in chains) > 1_000
    for chain in chains:
        replay(chain, begins(edition))


@pytest.mark.parametrize(("name", "edition"), EDITIONS.items())
def test_old_blocks_hold_every_action_there_was(name: str, edition: int) -> None:
    done: set[str] = set()
    for chain in read(name):
        for block in chain.blocks:
            for raw, code in zip(block.txs, block.codes, strict=True):
                if code == TxCode.OK and not is_brake_order(raw):
                    done.add(type(open_tx(raw)[1].action).__name__)
    old = {kind.__name__ for kind in {*get_args(Action)} - NEVER_DONE if upgrades.SINCE.get(kind, 1) <= edition}
    assert done == old


def test_a_replay_may_stop_anywhere() -> None:
    replay(read("first")[0], begins(1), restart_every=1)


def test_a_change_in_a_rule_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from davy.ledger.rules import emission

    monkeypatch.setattr(emission, "reward_at", lambda height, p: 7)
    with pytest.raises(AssertionError):
        replay(read("first")[0], begins(1))


def test_a_new_action_waits_for_its_height() -> None:
    """Before it the bytes are none; the block before takes them into the mempool, as the next one would."""
    w = World()
    w.machine = Machine.from_genesis(w.genesis, (0, 3))
    raw = w.tx("ann", RetireModel(bytes(32)), nonce=0)
    assert w.machine.check_tx(raw).code is TxCode.MALFORMED
    assert w.apply([raw]).results[0].code == TxCode.MALFORMED
    assert w.account("ann").nonce == 0
    w.apply([])
    assert w.machine.check_tx(raw).code is TxCode.OK
    again = Machine.restore(w.genesis, w.rows.items(), 2, w.machine.time, (0, 3))
    assert again.check_tx(raw).code is TxCode.OK
    assert w.apply([raw]).results[0].code == TxCode.NOT_FOUND, "there is no such model"
    assert w.account("ann").nonce == 1


@pytest.mark.parametrize("kind", [Propose, Vote, Execute])
def test_places_for_votes_are_no_transactions_before_their_height_and_not_enabled_after_it(kind: type) -> None:
    """Whatever they hold, whoever sends them; the nonce alone moves, and a restart changes nothing of it."""
    w = World()
    starts = (*(0,) * 6, 3)
    w.machine = Machine.from_genesis(w.genesis, starts)
    for _ in range(2):
        raws = [w.tx("ann", kind(body), nonce=0) for body in (b"", b"no proposal", bytes(4_096))]
        assert {r.code for r in w.apply(raws).results} == {TxCode.MALFORMED}
        assert w.account("ann").nonce == 0
    again = Machine.restore(w.genesis, w.rows.items(), 2, w.machine.time, starts)
    raws = [w.tx("ann", kind(body), nonce=n) for n, body in enumerate((b"", b"no proposal", bytes(4_096)))]
    assert all(w.machine.check_tx(raw).code is TxCode.OK for raw in raws)
    done, theirs = w.apply(raws), again.apply_block(3, w.machine.time, raws)
    assert [r.code for r in done.results] == [TxCode.NOT_ENABLED] * 3
    assert (done.results, done.app_hash) == (theirs.results, theirs.app_hash)
    assert w.account("ann").nonce == 3
    assert w.machine.check_tx(w.tx("ann", kind(bytes(4_097)), nonce=3)).code is TxCode.MALFORMED


def test_who_may_ask_is_set_from_its_height_on() -> None:
    w = World()
    w.machine = Machine.from_genesis(w.genesis, (*(0,) * 6, 3))
    raw = w.tx("ann", SetAccess(bytes(32), Access.ADMITTED, (), ()), nonce=0)
    assert [w.apply([raw]).results[0].code for _ in range(3)] == [TxCode.MALFORMED] * 2 + [TxCode.NOT_FOUND]


def test_an_upgraded_chain_goes_on_from_its_old_blocks() -> None:
    """And a chain that is not in the table begins with everything."""
    chain = read("first")[0]
    height = len(chain.blocks)
    m = replay(chain, (0, *[height + 1] * (upgrades.NEWEST - 1)))
    assert m.state.edition == upgrades.NEWEST
    g = decode(chain.genesis, Genesis, limit=MAX_GENESIS_BYTES)
    assert upgrades.begins(chain_id(g)) == (0,) * upgrades.NEWEST


def test_a_chain_of_the_table_is_played_by_its_heights(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = read("first")[0]
    g = decode(chain.genesis, Genesis, limit=MAX_GENESIS_BYTES)
    monkeypatch.setattr(upgrades, "CHAINS", {chain_id(g): begins(1)})
    m = Machine.from_genesis(g)
    for height, block in enumerate(chain.blocks, 1):
        assert m.apply_block(height, block.time, block.txs).app_hash == block.app_hash
    assert m.state.edition == 1
    assert Machine.restore(g, list(m.rows()), m.height, m.time).state.edition == 1


@pytest.mark.parametrize("edition", [3, 4])
def test_an_install_that_was_kept_back_ends_what_was_halted_meanwhile_in_old_editions_only(edition: int) -> None:
    w = World()
    w.machine = Machine.from_genesis(w.genesis, begins(edition))
    kept_back_install(w)
    assert (w.halted(GLOBAL_NAME) is not None) == (edition == 4)
    again = Machine.restore(w.genesis, w.rows.items(), w.machine.height, w.machine.time, begins(edition))
    assert again.app_hash == w.machine.app_hash


def test_an_edition_that_begins_changes_what_orders_of_before_are_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """An INSTALL counts from its own block, then; and what stands by name follows with the next order."""
    monkeypatch.setattr(World, "check", lambda _: None)  # which asks the next block's rules
    w = World()
    starts = (0, 0, 0, 3)
    w.machine = Machine.from_genesis(w.genesis, starts)
    kept_back_install(w)
    assert w.halted(GLOBAL_NAME) is None
    w.halt(Subnet(7), by=Keyholders(1))
    assert w.halted(GLOBAL_NAME) is not None
    again = Machine.restore(w.genesis, w.rows.items(), w.machine.height, w.machine.time, starts)
    assert again.app_hash == w.machine.app_hash


def test_the_table_of_chains_can_be_read() -> None:
    for starts in upgrades.CHAINS.values():
        assert 1 <= len(starts) <= upgrades.NEWEST
        assert starts[0] == 0
        assert list(starts) == sorted(starts)
    assert upgrades.edition((0, 5), 4) == 1
    assert upgrades.edition((0, 5), 5) == 2
    assert upgrades.edition((0,), 10**9) == 1


def test_bytes_of_no_action_stay_malformed() -> None:
    w = World(genesis())
    raw = w.tx("ann", Transfer(pub("ben"), 1))
    bent = raw.replace(b"transfer", b"transfre")
    with pytest.raises(Malformed):
        open_tx(bent)
    assert len(bent) < MAX_TX_BYTES
    assert w.machine.check_tx(bent).code is TxCode.MALFORMED
