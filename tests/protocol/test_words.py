"""Keys as text: what people copy by hand comes back whole or not at all."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from davy.protocol.errors import Malformed
from davy.protocol.words import KeyRole, key_from_text, key_text

KEYS = st.binary(min_size=32, max_size=32)


@given(st.sampled_from(list(KeyRole)), KEYS)
def test_round_trip(role: KeyRole, key: bytes) -> None:
    assert key_from_text(role, key_text(role, key)) == key
    assert key_from_text(role, f"  {key_text(role, key)}\n") == key


def test_every_single_letter_change_is_refused() -> None:
    text = key_text(KeyRole.HOTKEY, bytes(range(32)))
    accepted = {
        changed
        for place in range(len(text))
        for letter in string.ascii_lowercase + string.digits + "_=ı "
        if (changed := text[:place] + letter + text[place + 1 :]) != text and _reads(changed)
    }
    assert accepted == set()


def test_every_missing_doubled_or_swapped_letter_is_refused() -> None:
    text = key_text(KeyRole.COLDKEY, bytes(range(32)))
    for place in range(len(text)):
        assert not _reads(text[:place] + text[place + 1 :], KeyRole.COLDKEY)
        assert not _reads(text[:place] + text[place] + text[place:], KeyRole.COLDKEY)
        swapped = text[:place] + text[place : place + 2][::-1] + text[place + 2 :]
        assert swapped == text or not _reads(swapped, KeyRole.COLDKEY)


@given(KEYS)
def test_a_key_of_another_role_is_refused(key: bytes) -> None:
    text = key_text(KeyRole.COLDKEY, key)
    with pytest.raises(Malformed, match="begins with 'hot_'"):
        key_from_text(KeyRole.HOTKEY, text)
    assert not _reads(text.replace("cold_", "hot_"))


@given(st.text(max_size=80))
def test_any_text_is_refused_in_words(text: str) -> None:
    for typed in (text, "hot_" + text):
        with pytest.raises(Malformed):
            key_from_text(KeyRole.HOTKEY, typed)


def _reads(text: str, role: KeyRole = KeyRole.HOTKEY) -> bool:
    try:
        key_from_text(role, text)
    except Malformed:
        return False
    return True
