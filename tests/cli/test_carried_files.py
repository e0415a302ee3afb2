"""Files that people carry have been through editors: what only they add is no mistake, and what is one is told."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from davy.cli.carrying import Folder
from davy.cli.circles import read_circle_file
from davy.cli.ordering import read_book_file
from davy.keyholders.circle import holder_line
from davy.protocol.errors import Misconfigured
from tests.keyholders.stage import Stage

LINES = "".join(f"{holder_line(h)}\n" for h in Stage().circle.holders)


@pytest.mark.parametrize(
    "text",
    [
        LINES.replace("\n", "\r\n"),
        "\ufeff" + LINES.replace("\n", "\r\n"),
        LINES.replace("\n", "\n   "),
        f"# us\n{LINES}",
    ],
)
def test_a_circle_is_read_however_an_editor_wrote_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "circle"
    path.write_bytes(text.encode())
    assert read_circle_file(path) == Stage().circle


def test_so_is_an_address_book(tmp_path: Path) -> None:
    path = tmp_path / "book"
    path.write_bytes("\ufeff127.0.0.1:7000\r\n  http://127.0.0.1:8000\r\n".encode())
    assert len(read_book_file(path).nodes) == 2
    path.write_bytes("127.0.0.1:7000\n".encode("utf-16"))
    with pytest.raises(Misconfigured, match="not an address book"):
        read_book_file(path)


@pytest.mark.anyio
async def test_what_came_back_and_is_no_sheet_is_told_and_another_waited_for(tmp_path: Path) -> None:
    post = Folder(tmp_path, lambda name, what: None)
    back = tmp_path / "from-bob-1.txt"
    with anyio.fail_after(20):
        for raw in ("an answer".encode("utf-16"), b"x" * 300_000, b"an answer"):
            back.write_bytes(raw)
            last = await post.carry("bob", "a sheet")
    assert last == "an answer"
    assert (tmp_path / "to-bob-1.txt").read_text() == "a sheet"
