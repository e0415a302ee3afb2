"""One subnet, and one neuron, asked for by name: what the lists say of it, and nothing of any other."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from davy.ledger.rules import packed
from davy.ledger.rules.kept import Kept
from davy.ledger.rules.records import PAID, RUNNING, WEIGHTS, PaidRecord, WeightsRecord, epoch_key, neuron_key
from davy.protocol.chain import EpochRecord, Neuron, RevealedRow, RowInForce, RowsInForce, SubnetInfo
from davy.protocol.errors import Malformed, TxCode, TxFailed
from davy.protocol.limits import MAX_RESULT_BYTES, MAX_UIDS
from davy.protocol.transaction import CreateSubnet, SetHyperparameters, Transfer, Weight
from davy.protocol.words import TOKEN
from tests.ledger.rules.stand import Stand
from tests.ledger.rules.world import World, pub

ONE = b"\0\1"


def asked(w: World, hotkey: str, netuid: int = 1) -> Neuron:
    return w.query("/neuron", netuid.to_bytes(2, "big") + pub(hotkey), Neuron)


def refusal(w: World, path: str, data: bytes) -> TxCode | str:
    """Why a query is not answered."""
    try:
        w.machine.query(path, data)
    except TxFailed as e:
        return e.code
    except Malformed as e:
        return str(e)
    raise AssertionError(f"{path} {data.hex()} is answered")


def test_a_neuron_is_as_the_metagraph_shows_it() -> None:
    """Whatever its UID: who came first, who came last, who serves, who votes, before and after an epoch that paid."""
    w = Stand()
    w.vote()
    for _ in range(2):
        shown = w.metagraph().neurons
        assert len(shown) == 4
        assert [asked(w, f"{name}-hot") for name in ("ann", "ben", "cat", "dan")] == list(shown)
        w.end_epoch()
    assert any(n.incentive for n in w.metagraph().neurons), "there was something to show"
    w.register("eve", "eve-hot")
    new = asked(w, "eve-hot")
    assert (new.uid, new.incentive, new.registered_at) == (4, 0, w.machine.height)
    assert new == w.metagraph().neurons[4]


def test_a_neuron_is_asked_for_on_one_subnet() -> None:
    w = Stand()
    w.register("cat", "cat-hot", netuid=2)
    one, other = asked(w, "cat-hot"), asked(w, "cat-hot", 2)
    assert (one.uid, other.uid) == (2, 0)
    assert one.model
    assert not other.model
    assert refusal(w, "/neuron", b"\0\2" + pub("dan-hot")) is TxCode.NOT_FOUND


def test_who_lost_its_uid_is_no_neuron_and_who_has_it_now_is_another() -> None:
    w = Stand(max_uids=4)
    w.end_epoch()
    before = {n.hotkey: n.uid for n in w.metagraph().neurons}
    w.register("eve", "eve-hot")
    (gone,) = before.keys() - {n.hotkey for n in w.metagraph().neurons}
    assert asked(w, "eve-hot").uid == before[gone]
    assert refusal(w, "/neuron", ONE + gone) is TxCode.NOT_FOUND


def test_a_subnet_is_as_the_list_shows_it_and_follows_its_blocks() -> None:
    w = Stand()
    for _ in range(3):
        for netuid in (1, 2):
            assert w.query("/subnet", netuid.to_bytes(2, "big"), SubnetInfo) == w.subnet(netuid)
        w.block()
    before = w.query("/subnet", ONE, SubnetInfo)
    w.end_epoch()
    after = w.query("/subnet", ONE, SubnetInfo)
    assert (after.epoch, after.pending) == (before.epoch + 1, 0)
    w.ok("owner", SetHyperparameters(1, replace(after.hyperparameters, kappa=after.hyperparameters.kappa - 1)))
    assert w.query("/subnet", ONE, SubnetInfo).hyperparameters == after.hyperparameters, "it is coming"
    w.end_epoch()
    assert w.query("/subnet", ONE, SubnetInfo).hyperparameters.kappa == after.hyperparameters.kappa - 1


def test_a_subnet_is_there_from_the_block_that_makes_it() -> None:
    w = Stand()
    h = w.subnet().hyperparameters
    assert refusal(w, "/subnet", b"\0\0") is TxCode.NOT_FOUND
    w.ok("owner", Transfer(pub("cat"), 500 * TOKEN))
    w.ok("cat", CreateSubnet("new", "yuma3", h))
    made = w.query("/subnet", b"\0\0", SubnetInfo)
    assert (made.owner, made.task, made.share, made.epoch) == (pub("cat"), "new", 0, 0)


@pytest.mark.parametrize(
    ("path", "data"),
    [("/subnet", b"\0\x09"), ("/subnet", b"\xff\xff"), ("/neuron", ONE + pub("nobody")), ("/neuron", ONE + bytes(32)),
     ("/neuron", b"\0\x09" + pub("ann-hot")), ("/neuron", ONE + pub("ann"))],
)  # fmt: skip
def test_what_is_not_there_is_not_found(path: str, data: bytes) -> None:
    assert refusal(Stand(), path, data) is TxCode.NOT_FOUND


@pytest.mark.parametrize(
    ("path", "takes", "lengths"), [("/subnet", 2, (0, 1, 3, 34, 4_096)), ("/neuron", 34, (0, 2, 32, 33, 35, 66, 4_096))]
)
def test_data_of_another_length_is_malformed(path: str, takes: int, lengths: tuple[int, ...]) -> None:
    w = World()
    for length in lengths:
        assert f"takes {takes} bytes of data, not {length}" in str(refusal(w, path, bytes(length)))


VOTERS = (*range(0, 300, 2), 4_000)
VALUES = tuple((uid, 60_000 - uid) for uid in range(MAX_UIDS))
EPOCH = ONE + (0).to_bytes(8, "big")


def crowded() -> World:
    """A subnet of 4,096 UIDs and 151 rows of as many weights, in force and in the record of epoch 0."""
    w = World()
    s = w.machine.state.records
    s[RUNNING.tag + ONE] = replace(w.machine.state.need(RUNNING, ONE, ""), neurons=MAX_UIDS)
    row = packed.pack_row([Weight(uid, bytes(8), value) for uid, value in VALUES])
    for uid in VOTERS:
        s[WEIGHTS.tag + neuron_key(1, uid)] = WeightsRecord(9 + uid, row, 0)
    paid, given = bytes(8 * MAX_UIDS), np.array([[value for _, value in VALUES]] * len(VOTERS))
    s[PAID.tag + epoch_key(1, 0)] = PaidRecord(7, 6, 5, paid, paid, VOTERS, packed.pack_pairs(given))
    return w


def test_rows_that_are_too_many_for_one_answer_are_told_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    w = crowded()
    with monkeypatch.context() as nothing_is_made:
        for name in ("row_pairs", "pairs"):
            nothing_is_made.delattr(packed, name)
        for path, data in (("/weights", ONE), ("/epoch", EPOCH)):
            assert refusal(w, path, data) is TxCode.OUT_OF_RANGE
    in_force: list[RowInForce] = []
    voted: list[RevealedRow] = []
    pages = 0
    for path, data, told in (("/weights", ONE, in_force), ("/epoch", EPOCH, voted)):
        while True:
            after = data + (told[-1].uid + 1 if told else 0).to_bytes(2, "big")
            assert len(w.machine.query(path, after)) <= MAX_RESULT_BYTES // 4
            if path == "/weights":
                in_force += w.query(path, after, RowsInForce).rows
            else:
                page = w.query(path, after, EpochRecord)
                voted += page.weights
                assert (page.height, page.minted, page.owner, page.miners) == (7, 6, 5, (0,) * MAX_UIDS)
            if after[len(data) :] == (VOTERS[-1] + 1).to_bytes(2, "big"):
                break
            pages += 1
    assert in_force == [RowInForce(uid, 9 + uid, VALUES) for uid in VOTERS]
    assert voted == [RevealedRow(uid, VALUES) for uid in VOTERS]
    assert pages < 16, "many rows a page"


def test_the_answer_about_an_epoch_is_kept_while_there_is_its_record() -> None:
    w = Stand()
    w.end_epoch()
    ask = ONE + (w.subnet().epoch - 1).to_bytes(8, "big")
    first = w.machine.query("/epoch", ask)
    w.block(3)
    assert w.machine.query("/epoch", ask) is first
    answers = Kept()
    answers.note("/epoch", ask, first)
    answers.note("/epoch", ask + b"\0\1", first)
    answers.follow({PAID.tag + EPOCH})
    assert answers.get("/epoch", ask) is first
    answers.follow({PAID.tag + ask})
    assert answers.get("/epoch", ask) is answers.get("/epoch", ask + b"\0\1") is None


def test_the_answers_that_are_kept_are_few_and_the_oldest_goes() -> None:
    answers, large = Kept(), bytes(1_048_576)
    for n in range(100):
        answers.note("/epoch", bytes([n]), b"")
    assert [answers.get("/epoch", bytes([n])) for n in (0, 35, 36, 99)] == [None, None, b"", b""]
    for n in range(17):
        answers.note("/weights", bytes([n]), large)
    assert [answers.get("/weights", bytes([n])) is large for n in (0, 1, 16)] == [False, True, True]
    answers.note("/nonce", b"", b"")
    assert answers.get("/nonce", b"") is None
