"""Frames come out the same however the bytes were cut on their way, and never larger than their bound."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.network.events import FrameReader, data_frame, data_payloads
from davy.protocol.errors import TooLarge
from davy.protocol.limits import MAX_EVENT_BYTES, MAX_STREAM_BYTES

FRAMES = [data_frame(b'{"a":"b"}'), b": receipt AAAA", data_frame(b"[DONE]"), b"event: x\ndata: y\ndata: z"]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@given(st.lists(st.integers(0, 80), max_size=12))
def test_however_it_is_cut(ending: bytes, cuts: list[int]) -> None:
    text = b"".join(f + b"\n\n" for f in FRAMES).replace(b"\n", ending)
    points = [0, *sorted(cuts), len(text)]
    reader = FrameReader()
    got = [f for a, b in itertools.pairwise(points) for f in reader.feed(text[a:b])]
    assert got == FRAMES
    assert reader.is_between_frames


def test_byte_by_byte() -> None:
    reader = FrameReader()
    text = b"".join(f + b"\r\n\r\n" for f in FRAMES)
    assert [f for i in range(len(text)) for f in reader.feed(text[i : i + 1])] == FRAMES


def test_what_is_left_over_is_noticed() -> None:
    reader = FrameReader()
    assert reader.feed(b"data: whole\n\ndata: cut") == [b"data: whole"]
    assert not reader.is_between_frames


def test_more_blank_lines_are_no_frames() -> None:
    assert FrameReader().feed(b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n") == [b"data: a", b"data: b"]


@pytest.mark.parametrize("end", [b"", b"\n\n"])
def test_a_large_frame_is_refused(end: bytes) -> None:
    assert len(FrameReader().feed(b"x" * MAX_EVENT_BYTES + b"\n\n")) == 1
    with pytest.raises(TooLarge):
        FrameReader().feed(b"x" * (MAX_EVENT_BYTES + 3) + end)
    reader = FrameReader()
    reader.feed(b"x" * MAX_EVENT_BYTES)
    reader.feed(b"xx")
    with pytest.raises(TooLarge):
        reader.feed(b"x")


def test_a_stream_without_end_is_refused() -> None:
    reader = FrameReader()
    frame = b"x" * (MAX_EVENT_BYTES - 2) + b"\n\n"
    for _ in range(MAX_STREAM_BYTES // MAX_EVENT_BYTES):
        reader.feed(frame)
    with pytest.raises(TooLarge):
        reader.feed(b"x")


def test_payloads() -> None:
    assert data_payloads(b"data: a\ndata:b\n: c\ndata\ndata:  d") == [b"a", b"b", b" d"]
