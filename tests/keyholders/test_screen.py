"""The screen: every action, everything that is signed, nothing that could deceive."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.keyholders.circle import fingerprint
from davy.keyholders.screen import View, rehearsed, screen
from davy.keyholders.spending import Allowed
from davy.killswitch.clocks import duration, moment
from davy.protocol.encoding import encode
from davy.protocol.errors import Misdirected, Refused
from davy.protocol.limits import DAY_MS, FRESH_MS
from davy.protocol.order import (
    Drill,
    Extend,
    Global,
    GroupKey,
    Halt,
    Heartbeat,
    Install,
    Lease,
    Lift,
    Lower,
    Miner,
    Models,
    Order,
    OrderAction,
    Raise,
    Subnet,
    order_id,
    reason_digest,
)
from davy.protocol.roster import roster_digest
from davy.protocol.words import KeyRole, key_text
from tests.twins.keyholders import Keyholders

HOLDERS = Keyholders()
CHAIN = bytes(range(32))
NOW = 1_800_000_000_000
REASON = "it answers with other people's mail"
K = b"\x0b" * 32
M = Models((b"\1" * 32, b"\2" * 32), (b"\3" * 32,), (b"\4" * 32,))


def view(action: Any, *, end: int = NOW + DAY_MS, reason: str = REASON, **more: Any) -> View:
    lasting = isinstance(action, Raise | Heartbeat | Lift | Lower | Install)
    order = HOLDERS.order(CHAIN, action, NOW, 0 if lasting else end, reason)
    return View(encode(order), order, reason, HOLDERS.roster, "bob", **more)


HALTED = view(Halt(M, GroupKey.HALT)).order
RAISED = view(Raise(M)).order

SHOWN: list[tuple[View, tuple[str, ...]]] = [
    (view(Halt(M, GroupKey.HALT)), ("HALT: stop this", "01" * 32, "02" * 32, "03" * 32,
        key_text(KeyRole.COLDKEY, b"\4" * 32), "every node",
        "(1 days 0 hours)", "HALT: 3 of 5 keyholders sign; 2 besides you", "earns nothing",
        "what is left of it is not known")),
    (view(Halt(M, GroupKey.HALT), allowed=Allowed(14 * DAY_MS, NOW + DAY_MS)),
        ("21 days of any 90", "14 days 0 hours are used before this")),
    (view(Halt(M, GroupKey.HALT), allowed=Allowed(20 * DAY_MS, NOW + 1)), ("ENDS SOONER    " + moment(NOW + 1),)),
    (view(Halt(M, GroupKey.LIFT)),
        ("by the LIFT key beyond the allowance", "LIFT: 4 of 5", "3 besides you", "allowance      none is used")),
    (view(Halt(Global(), GroupKey.HALT)), ("EVERYTHING",)),
    (view(Halt(Subnet(513), GroupKey.HALT)), ("subnet 513",)),
    (view(Halt(Miner(K), GroupKey.HALT)), (key_text(KeyRole.HOTKEY, K), "whatever it serves")),
    (view(Drill(M)), ("DRILL: a rehearsal; nothing stops", "rehearses", "01" * 32, "nothing stops")),
    (view(Extend(order_id(encode(HALTED)), HALTED.end), end=NOW + 2 * DAY_MS, named=(HALTED,)),
        ("EXTEND", "01" * 32, order_id(encode(HALTED)).hex()[:16], moment(HALTED.end), "(2 days 0 hours)",
         "in all 2 days 0 hours since that HALT", "for so much longer", "goes on", "what is left of it is not known")),
    (view(Extend(order_id(encode(HALTED)), HALTED.end), end=NOW + 7 * DAY_MS, named=(HALTED,),
          allowed=Allowed(19 * DAY_MS, NOW + 3 * DAY_MS)),
        ("19 days 0 hours are used before this", "ENDS SOONER    " + moment(NOW + 3 * DAY_MS), "only the LIFT key")),
    (view(Raise(M)), ("RAISE", "01" * 32, "03" * 32, "without a LEASE")),
    (view(Heartbeat(K)),
        ("HEARTBEAT", K.hex(), "keeps running  systemic models that are leased",
         moment(NOW + FRESH_MS) + " (60 seconds)", "on the nodes that it reaches", "though the ledger is not seen")),
    (view(Lift((order_id(encode(HALTED)),)), named=(HALTED,)),
        ("LIFT: let this run again", "frees", "01" * 32, "STILL STOPPED  nothing else", "LIFT: 4 of 5",
         "in use again", "a systemic model stays stopped until it has a LEASE that is newer than its HALT")),
    (view(Lift((order_id(encode(HALTED)),)), named=(HALTED,), rest=(view(Halt(Miner(K), GroupKey.HALT)).order,)),
        ("STILL STOPPED  the miner " + key_text(KeyRole.HOTKEY, K),)),
    (view(Lease((K,)), end=NOW + 30 * DAY_MS), ("LEASE", K.hex(), "(30 days 0 hours)", "LIFT: 4 of 5",
        "3 days 0 hours of grace: without another LEASE they stop " + moment(NOW + 33 * DAY_MS), "a HALT voids this")),
    (view(Lower((K,), (order_id(encode(RAISED)),)), named=(RAISED,)), ("LOWER", K.hex(), "01" * 32, "raised by order")),
]  # fmt: skip


@pytest.mark.parametrize(("v", "words"), SHOWN)
def test_each_action_shows_what_it_does(v: View, words: tuple[str, ...]) -> None:
    text = screen(v)
    i = order_id(v.body)
    everywhere = (REASON, "asked by       bob", CHAIN.hex(), i.hex(), fingerprint(i), moment(NOW))
    for part in (*words, *everywhere):
        assert part in text, (part, text)


def labels(text: str) -> list[str]:
    """What begins the lines of a screen, for each of a real one and of a rehearsal's."""
    return [found[1] for line in text.splitlines() if (found := re.match(r"(?:REHEARSAL \| )?  (\S.*?)(?:  |$)", line))]


KINDS = {type(v.order.action).__name__: v for v, _ in SHOWN}
"""One of each, with an INSTALL."""


def installing(**more: Any) -> View:
    after = msgspec.structs.replace(Keyholders(1).roster, members=HOLDERS.roster.members)
    return view(Install(after, HOLDERS.digest, ()), **more)


KINDS["Install"] = installing()


def test_every_kind_of_order_is_tried() -> None:
    assert set(KINDS) == {kind.__name__ for kind in get_args(OrderAction)}


@pytest.mark.parametrize("word", [kind.__name__ for kind in get_args(OrderAction)])
def test_every_screen_says_where_until_when_why_and_what_it_costs(word: str) -> None:
    """In a rehearsal, too, where no line lacks the word that it is one."""
    real = screen(KINDS[word])
    rehearsal = rehearsed(real)
    assert all(line.startswith("REHEARSAL | ") for line in rehearsal.splitlines())
    for text in (real, rehearsal):
        assert {"where", "until", "why", "costs"} <= set(labels(text)), text
        for each in ("where", "until", "costs"):
            assert labels(text).count(each) == 1, text
            assert re.search(rf"  {each} +\S+ \S+", text), text


def test_an_install_shows_who_comes_who_goes_and_what_goes_on() -> None:
    before = HOLDERS.roster
    comes = b"\x0c" * 32
    after = msgspec.structs.replace(Keyholders(1).roster, members=(*before.members[1:], comes), halt_threshold=2)
    after = msgspec.structs.replace(after, lift_threshold=4)
    lease = view(Lease((K,)), end=NOW + 30 * DAY_MS).order
    install = Install(after, HOLDERS.digest, (order_id(encode(HALTED)), order_id(encode(RAISED))))
    text = screen(view(install, named=(HALTED, RAISED), rest=(lease,), names={comes: "frank"}))
    for part in (
        "INSTALL: new keys", "1, after 0", "2 of 5 sign", after.halt.hex(), after.lift.hex(),
        fingerprint(roster_digest(after)), f"COMES          frank: {key_text(KeyRole.KEYHOLDER, comes)}",
        f"GOES           {key_text(KeyRole.KEYHOLDER, before.members[0])}", "goes on        HALT", "01" * 32,
        order_id(encode(HALTED)).hex()[:16], "RAISE by order", "ENDS in 3 days LEASE until", K.hex(),
        "LIFT: 4 of today's 5", "no way back",
    ):  # fmt: skip
        assert part in text, (part, text)
    for key in (*before.members, *after.members):
        assert key_text(KeyRole.KEYHOLDER, key) in text
    other = msgspec.structs.replace(after, lift=K)
    assert screen(view(msgspec.structs.replace(install, roster=other), named=(HALTED, RAISED))) != text


def test_another_reason_is_not_shown() -> None:
    with pytest.raises(Misdirected):
        screen(view(Halt(M, GroupKey.HALT))._replace(reason="a drill"))


def test_a_moment_that_no_calendar_has_is_shown_as_a_number() -> None:
    assert str(2**62) in moment(2**62)
    assert moment(253_402_300_799_999) == "9999-12-31 23:59:59 UTC"


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 seconds"), (1, "1 seconds"), (59_999, "60 seconds"), (60_000, "1 minutes"), (30 * 60_000, "30 minutes"),
        (3_599_999, "59 minutes"), (3_600_000, "1 hours 0 minutes"), (DAY_MS - 1, "23 hours 59 minutes"),
        (DAY_MS, "1 days 0 hours"), (21 * DAY_MS + 7_200_000, "21 days 2 hours"),
    ],
)  # fmt: skip
def test_a_length_of_time_is_told_so_that_none_reads_as_nothing(ms: int, text: str) -> None:
    assert duration(ms) == text


def test_a_short_halt_shows_how_short_it_is() -> None:
    """And what is used of the allowance, when that is little."""
    half_an_hour, used = NOW + 1_800_000, 5_400_000
    shown = screen(view(Halt(M, GroupKey.HALT), end=half_an_hour, allowed=Allowed(used, NOW + DAY_MS)))
    assert f"until          {moment(half_an_hour)} (30 minutes)" in shown
    assert "by the orders known here 1 hours 30 minutes are used before this" in shown


@given(st.text(max_size=80))
def test_what_is_shown_of_a_reason_prints_on_one_line_or_nothing_is_shown(reason: str) -> None:
    order = view(Halt(M, GroupKey.HALT)).order
    try:
        order = msgspec.structs.replace(order, reason=reason_digest(reason))
    except Refused:
        assert not reason.isprintable() or any(unicodedata.category(c) == "Cs" for c in reason)
        return
    text = screen(View(encode(order), order, reason, HOLDERS.roster, "bob"))
    assert f"\n    {reason}\n" in text or not reason
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert not {unicodedata.category(c) for c in text.replace("\n", "")} & hidden
    assert len(text.split("\n")) == len(screen(view(Halt(M, GroupKey.HALT))).split("\n"))


CHANGES: dict[str, Any] = {
    "chain": b"\5" * 32, "action": Drill(M), "issued": NOW + 1000, "end": NOW + DAY_MS + 1000, "nonce": b"\1" * 16,
}  # fmt: skip


@pytest.mark.parametrize("field", CHANGES)
def test_no_two_orders_have_one_screen(field: str) -> None:
    one = view(Halt(M, GroupKey.HALT))
    order: Order = msgspec.structs.replace(one.order, **{field: CHANGES[field]})
    assert screen(one._replace(body=encode(order), order=order)) != screen(one)
