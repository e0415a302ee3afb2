"""One value, one encoding: every second form, and every byte an attacker may send, is refused in words."""

from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from davy.protocol.chain import Proof, SignedHeader
from davy.protocol.encoding import Wire, decode, encode
from davy.protocol.errors import Malformed, TooLarge
from davy.protocol.transaction import Action, Endpoint, SignedTx, Transfer, TxBody

PLAIN_STRING = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)


def values(t: inspect.Type) -> st.SearchStrategy[Any]:
    """Plain values within a wire type's bounds, both ends included."""
    match t:
        case inspect.Metadata():
            return values(t.type)
        case inspect.IntType():
            return st.integers(-(2**63) if t.ge is None else t.ge, 2**64 - 1 if t.le is None else t.le)
        case inspect.BoolType():
            return st.booleans()
        case inspect.BytesType():
            return st.binary(min_size=t.min_length or 0, max_size=min(t.max_length or 64, 64))
        case inspect.StrType():
            return st.from_regex(r"\A[A-Za-z0-9]{1,8}\Z") if t.pattern else PLAIN_STRING
        case inspect.EnumType():
            return st.sampled_from([m.value for m in t.cls])
        case inspect.VarTupleType():
            return st.lists(values(t.item_type), min_size=t.min_length or 0, max_size=min(t.max_length or 3, 3))
        case inspect.TupleType():
            return st.tuples(*map(values, t.item_types)).map(list)
        case inspect.StructType():
            fields = st.tuples(*(values(f.type) for f in t.fields)).map(list)
            return fields if t.tag is None else fields.map(lambda row: [t.tag, *row])
        case inspect.UnionType():
            return st.one_of(*map(values, t.types))
        case _:
            raise TypeError(t)


@cache
def within_bounds(kind: type[Wire]) -> st.SearchStrategy[Any]:
    return values(inspect.type_info(kind))


@settings(max_examples=20)
@given(data=st.data())
def test_round_trip(wire_type: type[Wire], data: st.DataObject) -> None:
    value = msgspec.convert(data.draw(within_bounds(wire_type)), wire_type)
    raw = encode(value)
    assert decode(raw, wire_type, limit=len(raw)) == value
    assert encode(decode(raw, wire_type, limit=len(raw))) == raw


@settings(max_examples=50)
@given(raw=st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(wire_type: type[Wire], raw: bytes) -> None:
    try:
        value = decode(raw, wire_type, limit=100)
    except TooLarge:
        assert len(raw) > 100
    except Malformed:
        pass
    else:
        assert encode(value) == raw


def test_any_changed_byte_is_another_value_or_refused(freeze: dict[str, Any], wire_type: type[Wire]) -> None:
    value = freeze["sample"](wire_type)
    raw = encode(value)
    for place in range(min(len(raw), 120)):
        for change in (0x01, 0x80, 0xFF):
            other = raw[:place] + bytes([raw[place] ^ change]) + raw[place + 1 :]
            try:
                assert decode(other, wire_type, limit=len(raw)) != value
            except Malformed:
                continue


def test_cut_lengthened_and_oversized_bytes_are_refused(freeze: dict[str, Any], wire_type: type[Wire]) -> None:
    raw = encode(freeze["sample"](wire_type))
    for bad in [raw[:n] for n in range(len(raw))] + [raw + b"\x00", raw + raw, b"\xc0", b""]:
        with pytest.raises(Malformed):
            decode(bad, wire_type, limit=2 * len(raw))
    with pytest.raises(TooLarge, match=f"{len(raw)} bytes where at most {len(raw) - 1}"):
        decode(raw, wire_type, limit=len(raw) - 1)


def test_missing_and_extra_fields_are_refused(freeze: dict[str, Any], wire_type: type[Wire]) -> None:
    row = msgspec.msgpack.decode(encode(freeze["sample"](wire_type)))
    assert isinstance(row, list)
    for other in (row[:-1], row[1:], [*row, None], [*row, 0], [None, *row], [row], []):
        with pytest.raises(Malformed):
            decode(msgspec.msgpack.encode(other), wire_type, limit=2**20)


TRANSFER = Transfer(b"t" * 32, 5)

OVERLONG = {
    "uint 8": b"\xcc\x05",
    "uint 16": b"\xcd\x00\x05",
    "uint 32": b"\xce\x00\x00\x00\x05",
    "uint 64": b"\xcf" + bytes(7) + b"\x05",
    "int 8": b"\xd0\x05",
    "int 64": b"\xd3" + bytes(7) + b"\x05",
    "float 64": msgspec.msgpack.encode(5.0),
    "text": b"\xa15",
    "true": b"\xc3",
    "nothing": b"\xc0",
}


@pytest.mark.parametrize("form", OVERLONG)
def test_second_forms_of_a_number_are_refused(form: str) -> None:
    raw = encode(TRANSFER)
    assert raw.endswith(b"\x05")
    with pytest.raises(Malformed):
        decode(raw[:-1] + OVERLONG[form], Transfer, limit=100)


@pytest.mark.parametrize("head", [b"\xdc\x00\x03", b"\xdd\x00\x00\x00\x03", b"\x83"])
def test_second_forms_of_an_array_are_refused(head: bytes) -> None:
    raw = encode(TRANSFER)
    assert raw[:1] == b"\x93"
    with pytest.raises(Malformed):
        decode(head + raw[1:], Transfer, limit=100)


def test_text_in_place_of_bytes_and_longer_lengths_are_refused() -> None:
    raw = encode(TRANSFER)
    binary = b"\xc4\x20" + b"t" * 32
    assert binary in raw
    for other in (b"\xd9\x20" + b"t" * 32, b"\xc5\x00\x20" + b"t" * 32, b"\xc4\x1f" + b"t" * 31):
        with pytest.raises(Malformed):
            decode(raw.replace(binary, other), Transfer, limit=100)


def test_a_wrong_tag_is_refused() -> None:
    for tag in ("Transfer", "transfe", "add_stake", "", 0, None, b"transfer"):
        with pytest.raises(Malformed):
            decode(msgspec.msgpack.encode([tag, b"t" * 32, 5]), Transfer, limit=100)
    with pytest.raises(Malformed):
        decode(msgspec.msgpack.encode(["mint", b"t" * 32, 5]), Action, limit=100)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "opening",
    [b"\x91", b"\x81", b"\x81\xa0", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"],
)
def test_deep_nesting_and_great_promises_do_no_harm(opening: bytes) -> None:
    for kind in (TxBody, SignedTx, SignedHeader, Proof):
        with pytest.raises(Malformed):
            decode(opening * 20_000, kind, limit=2**20)
        with pytest.raises(Malformed):
            decode(b"\x95\x01" + opening * 20_000, kind, limit=2**20)


def test_a_line_break_does_not_hide_in_a_name() -> None:
    for host in ("node\n", "\nnode", "node\nx", "node\r", "no de", ""):
        with pytest.raises(Malformed):
            decode(encode(Endpoint(host, 1, bytes(32), b"")), Endpoint, limit=1000)


def test_a_value_out_of_range_cannot_be_decoded() -> None:
    for amount in (-1, 21_000_000 * 10**9 + 1, 2**63, 2**64 - 1):
        with pytest.raises(Malformed):
            decode(encode(Transfer(b"t" * 32, amount)), Transfer, limit=100)


def test_a_refusal_is_one_short_sentence() -> None:
    with pytest.raises(Malformed) as refused:
        decode(b"\xc1" * 50_000, TxBody, limit=2**20)
    assert len(str(refused.value)) < 300
    assert "\n" not in str(refused.value)
