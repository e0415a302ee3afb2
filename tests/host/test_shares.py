"""Shares and the journal on disk: encrypted, whole or not there, never overwritten."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from davy.host.journal import FileJournal
from davy.host.keys import Cost
from davy.host.shares import FileShares
from davy.protocol.errors import Busy, Misconfigured, NoSuchKey, StoreFailed, WrongPassword
from davy.protocol.limits import MAX_RELEASED
from davy.protocol.ports import Entropy

pytestmark = pytest.mark.anyio
ROSTER, OTHER = b"\1" * 32, b"\2" * 32
BODY = b"secret" * 100


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def shares(tmp_path: Path, entropy: Entropy, cheap: Cost) -> FileShares:
    return FileShares(tmp_path / "shares", "open sesame", entropy, cost=cheap)


async def test_what_is_kept_is_opened_by_its_password_alone(
    shares: FileShares, tmp_path: Path, entropy: Entropy, cheap: Cost
) -> None:
    await shares.keep(ROSTER, BODY)
    assert await shares.open(ROSTER) == BODY
    (file,) = (tmp_path / "shares").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert b"secret" not in file.read_bytes()
    with pytest.raises(WrongPassword):
        await FileShares(tmp_path / "shares", "open", entropy, cost=cheap).open(ROSTER)
    assert "sesame" not in repr(shares)


async def test_shares_are_never_overwritten(shares: FileShares) -> None:
    await shares.keep(ROSTER, BODY)
    with pytest.raises(Misconfigured, match="never overwritten"):
        await shares.keep(ROSTER, b"others")
    assert await shares.open(ROSTER) == BODY
    await shares.keep(OTHER, b"others")
    assert await shares.open(ROSTER) == BODY


async def test_no_shares_is_said(shares: FileShares) -> None:
    with pytest.raises(NoSuchKey, match="davy keyholder dkg"):
        await shares.open(ROSTER)


async def test_an_empty_password_is_refused(tmp_path: Path, entropy: Entropy, cheap: Cost) -> None:
    with pytest.raises(Misconfigured, match="empty password"):
        await FileShares(tmp_path / "shares", "", entropy, cost=cheap).keep(ROSTER, BODY)
    assert not (tmp_path / "shares").exists()


async def test_a_file_of_another_roster_under_its_name_is_refused(shares: FileShares, tmp_path: Path) -> None:
    await shares.keep(ROSTER, BODY)
    (file,) = (tmp_path / "shares").iterdir()
    file.rename(file.with_name(f"{OTHER.hex()[:16]}.json"))
    with pytest.raises(Misconfigured, match="another roster"):
        await shares.open(OTHER)


async def test_a_file_of_a_later_version_says_what_to_do(shares: FileShares, tmp_path: Path) -> None:
    await shares.keep(ROSTER, BODY)
    (file,) = (tmp_path / "shares").iterdir()
    fields = msgspec.json.decode(file.read_bytes())
    file.write_bytes(msgspec.json.encode(fields | {"version": 2, "kdf": "another"}))
    with pytest.raises(Misconfigured, match="version 2, which a later davy writes; install that one"):
        await shares.open(ROSTER)


@pytest.mark.parametrize("field", ["version", "salt", "box", "ops"])
async def test_a_changed_file_is_one_sentence(shares: FileShares, tmp_path: Path, field: str) -> None:
    await shares.keep(ROSTER, BODY)
    (file,) = (tmp_path / "shares").iterdir()
    fields = msgspec.json.decode(file.read_bytes())
    old = fields[field]
    fields[field] = old + 1 if isinstance(old, int) else ("A" if old[0] != "A" else "B") + old[1:]
    file.write_bytes(msgspec.json.encode(fields))
    with pytest.raises(Misconfigured):
        await shares.open(ROSTER)


async def test_a_file_that_asks_for_hours_of_work_is_refused(shares: FileShares, tmp_path: Path) -> None:
    await shares.keep(ROSTER, BODY)
    (file,) = (tmp_path / "shares").iterdir()
    file.write_bytes(file.read_bytes().replace(b'"ops": 1', b'"ops": 9999'))
    with pytest.raises(Misconfigured, match="not a share"):
        await shares.open(ROSTER)


async def test_the_journal_keeps_each_order_once(tmp_path: Path) -> None:
    one, other = FileJournal(tmp_path / "orders"), FileJournal(tmp_path / "orders")
    assert await one.orders() == await one.signed() == []
    await one.keep(ROSTER, b"order")
    await other.keep(OTHER, b"another")
    await one.keep(ROSTER, b"not this")
    await other.keep_signed(ROSTER, b"whole")
    assert await one.orders() == [b"order", b"another"]
    assert await one.signed() == [b"whole"]
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in (tmp_path / "orders").iterdir())


async def test_the_journal_reads_past_what_is_not_its_own(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    (tmp_path / "notes.order").write_text("mine")
    (tmp_path / f".{'0' * 64}.order.1234").write_text("half")
    assert await journal.orders() == []


async def test_the_journal_is_bounded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_RELEASED > 1_000
    monkeypatch.setattr("davy.host.journal.MAX_RELEASED", 1)
    journal = FileJournal(tmp_path)
    await journal.keep(ROSTER, b"order")
    with pytest.raises(Misconfigured, match="holds 1 orders"):
        await journal.keep(OTHER, b"another")


async def test_the_journal_drops_what_is_over_under_the_eyes_of_who_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = FileJournal(tmp_path), FileJournal(tmp_path)
    await one.keep(ROSTER, b"order")
    await one.keep_signed(ROSTER, b"whole")
    await one.keep_signed(OTHER, b"another")
    await other.drop(ROSTER)
    await other.drop(ROSTER)
    assert (await one.orders(), await one.signed()) == ([], [b"another"])
    gone = tmp_path / f"{ROSTER.hex()}.signed"
    paths = one._paths

    def seen_before(kind: str) -> list[Path]:
        return [gone, *paths(kind)]

    monkeypatch.setattr(one, "_paths", seen_before)
    assert await one.signed() == [b"another"]
    gone.mkdir()
    with pytest.raises(Misconfigured):
        await one.signed()


async def test_an_order_that_cannot_be_written_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "orders").write_text("a file where a folder is needed")
    with pytest.raises((Misconfigured, StoreFailed)):
        await FileJournal(tmp_path / "orders").keep(ROSTER, b"order")


async def test_a_body_is_replaced_only_where_it_is_still_the_same(
    shares: FileShares, tmp_path: Path, entropy: Entropy, cheap: Cost
) -> None:
    await shares.keep(ROSTER, b"old")
    other = FileShares(tmp_path / "shares", "open sesame", entropy, cost=cheap)
    assert await other.open(ROSTER) == b"old"
    await shares.replace(ROSTER, b"old", b"new")
    assert await shares.open(ROSTER) == await other.open(ROSTER) == b"new"
    with pytest.raises(Busy):
        await other.replace(ROSTER, b"old", b"other")
    assert await shares.open(ROSTER) == b"new"
    with pytest.raises(NoSuchKey):
        await shares.replace(bytes(32), b"old", b"new")
