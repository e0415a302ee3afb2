"""A property meets the same examples whatever ran before it, so that what passes here passes in CI."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st


def drawn() -> list[tuple[int, bytes, str]]:
    met: list[tuple[int, bytes, str]] = []

    @given(st.integers(), st.binary(), st.text())
    def property_of(number: int, raw: bytes, word: str) -> None:
        met.append((number, raw, word))

    property_of()
    return met


def test_what_was_imported_before_changes_no_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = drawn()
    source = tmp_path / "found.py"
    words = [f"word {n}" for n in range(50)]
    source.write_text(f"FOUND = {[*range(5_000, 5_500)]}, {words}, {[w.encode() for w in words]}\n")
    spec = spec_from_file_location("found", source)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    monkeypatch.setitem(sys.modules, "found", found)
    assert drawn() == before
