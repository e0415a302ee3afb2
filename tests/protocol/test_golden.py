"""An upgrade cannot fork the network: every wire type, word and digest has the bytes it was born with."""

from typing import Any

from davy.protocol.encoding import Wire, decode

Freeze = dict[str, Any]


def test_every_type_has_frozen_bytes_and_keeps_them(freeze: Freeze, wire_type: type[Wire]) -> None:
    name, frozen = freeze["type_name"](wire_type), freeze["frozen"]()["types"]
    assert name in frozen, f"{name} is new: freeze it with `python tests/protocol/golden/freeze.py --add`"
    assert freeze["types"]()[name] == frozen[name]


def test_frozen_bytes_decode(freeze: Freeze, wire_type: type[Wire]) -> None:
    data = bytes.fromhex(freeze["frozen"]()["types"][freeze["type_name"](wire_type)])
    assert decode(data, wire_type, limit=len(data)) == freeze["sample"](wire_type)


def test_no_frozen_type_was_dropped(freeze: Freeze) -> None:
    assert freeze["frozen"]()["types"].keys() == freeze["types"]().keys()


def test_words_are_frozen(freeze: Freeze) -> None:
    assert freeze["words"]() == freeze["frozen"]()["words"]


def test_digests_and_signatures_are_frozen(freeze: Freeze) -> None:
    assert freeze["digests"]() == freeze["frozen"]()["digests"]
