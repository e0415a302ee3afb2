"""What the engine is given to read, how it is built and watched: with programs that stand in for Go and for it."""

import asyncio
import errno
import json
import os
import re
import shutil
import signal
import stat
import sys
import tomllib
from pathlib import Path
from typing import Any

import anyio
import pytest

from davy.ledger.commits import address, engine_chain_id, in_order
from davy.ledger.driver.cometbft import install as building
from davy.ledger.driver.cometbft import supervisor
from davy.ledger.driver.cometbft.configuration import Peer, Secrets, files, genesis_document, producer_of, public_of
from davy.ledger.driver.cometbft.install import MODULE_SUM, NAME, VERSION, check_sum, install, is_engine
from davy.ledger.driver.cometbft.supervisor import EnginePlace, supervise
from davy.ledger.driver.cometbft.vote_log import VoteLog
from davy.ledger.rules import upgrades
from davy.protocol.errors import Misconfigured
from davy.protocol.genesis import chain_id
from davy.protocol.limits import chain_parameters
from tests.ledger.rules.stand import FOUR
from tests.ledger.rules.world import genesis

pytestmark = [pytest.mark.anyio]


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_engines_genesis_is_the_chains(chain: Any) -> None:
    told = genesis_document(chain.genesis)
    assert told["chain_id"] == engine_chain_id(chain.id)
    assert len(told["chain_id"]) == 43  # of the 50 that the engine takes
    assert told["genesis_time"] == "1970-01-01T00:00:00.501Z"  # after the genesis' own, so that the first block is
    (only,) = told["validators"]
    assert only["address"] == address(chain.producer.public()).hex().upper()
    assert only["power"] == "2"
    assert told["consensus_params"]["version"]["app"] == "1"


@pytest.mark.parametrize(("unbonding", "blocks"), [(50_400, 50_399), (5, 4), (0, 1)])
def test_two_votes_cannot_be_shown_after_the_bond_that_answers_for_them_came_back(unbonding: int, blocks: int) -> None:
    """Who leaves its seat at height h votes up to h + 1, and has the bond back at h + unbonding."""
    g = genesis(p=chain_parameters(unbonding=unbonding), producers=FOUR)
    told = genesis_document(g)["consensus_params"]["evidence"]
    assert int(told["max_age_num_blocks"]) == blocks
    assert int(told["max_age_duration"]) <= 10**9, "the engine drops only what is older than both"


def test_engines_of_an_older_edition_keep_what_they_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    g = genesis(producers=FOUR)
    monkeypatch.setattr(upgrades, "CHAINS", {chain_id(g): (0, 0, 0, 1_000)})
    told = genesis_document(g)
    assert told["consensus_params"]["evidence"]["max_age_num_blocks"] == "200000"
    assert {v["power"] for v in told["validators"]} == {"1"}


def test_each_producer_knows_the_others_and_its_own_keys(chain: Any) -> None:
    mine, theirs = Secrets(b"\1" * 32, b"\2" * 32), Secrets(b"\3" * 32, b"\4" * 32)
    here, there = Peer("10.0.0.1", 26656, public_of(mine.node)), Peer("10.0.0.2", 1, public_of(theirs.node))
    made = files(chain.genesis, mine, here, [there], 250)
    assert producer_of(made["config/priv_validator_key.json"]) == public_of(mine.producer)
    settings = made["config/config.toml"].decode()
    assert f'persistent_peers = "{address(public_of(theirs.node)).hex()}@10.0.0.2:1"' in settings
    assert "addr_book_strict = true" in settings
    assert 'timeout_commit = "250ms"' in settings
    read = tomllib.loads(settings)
    assert read["storage"]["discard_abci_responses"], "results of blocks are kept here, and asked of nobody else"
    assert read["tx_index"]["indexer"] == "null", "so are transactions by their hashes"
    local = files(chain.genesis, mine, here._replace(host="127.0.0.1"), [there], 250)["config/config.toml"].decode()
    assert 'laddr = "tcp://127.0.0.1:26656"' in local
    assert "addr_book_strict = false" in local
    secrets = [json.loads(made[f"config/{name}_key.json"])["priv_key"]["value"] for name in ("node", "priv_validator")]
    assert len(set(secrets)) == 2
    with pytest.raises(Misconfigured):
        producer_of(b"{}")


def test_producers_stand_in_the_engines_order() -> None:
    keys = [public_of(bytes([n]) * 32) for n in range(5)]
    assert in_order(keys) == in_order(keys[::-1])
    assert [address(k) for k in in_order(keys)] == sorted(map(address, keys))


GO = """
case "$1" in
mod) echo '{{"Dir": "{dir}", "Sum": "{sum}"}}' ;;
build) cp {built} "$3" ;;
esac
"""


def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sum_: str = MODULE_SUM, version: str = VERSION) -> Path:
    """A Go that downloads a module of this checksum and builds a program that says this version."""
    built = program(tmp_path / "built", f"echo {version}")
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin/go", GO.format(dir=tmp_path, sum=sum_, built=built))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "to").mkdir()
    return tmp_path / "to"


def test_the_pinned_module_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to = go(tmp_path, monkeypatch)
    made = install(to)
    assert made == to / NAME
    assert is_engine(made)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert install(to) == made  # no Go is needed
    assert [p.name for p in to.iterdir()] == [NAME]


def test_another_module_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to = go(tmp_path, monkeypatch, sum_="h1:" + "A" * 43 + "=")
    with pytest.raises(Misconfigured, match="changed on its way"):
        install(to)
    assert list(to.iterdir()) == []
    with pytest.raises(Misconfigured, match="of nothing"):
        check_sum("")


def test_another_version_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to = go(tmp_path, monkeypatch, version="0.38.19")
    with pytest.raises(Misconfigured, match="not installed"):
        install(to)
    assert list(to.iterdir()) == []


def test_without_go_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Misconfigured, match=r"no Go on this machine's PATH; install Go 1\.22\.11"):
        install(tmp_path)


def test_what_go_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "go", "echo dial tcp: no route >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Misconfigured, match="dial tcp: no route"):
        install(tmp_path)
    program(tmp_path / "go", "echo what")
    with pytest.raises(Misconfigured, match="not understood"):
        install(tmp_path)
    assert building.VERSION >= "0.38.26"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_an_engine_that_ends_is_started_again(tmp_path: Path) -> None:
    place = EnginePlace(tmp_path)
    engine = program(
        tmp_path / "engine", f'echo "$@" >> {tmp_path}/lives; ls $TMPDIR >> {tmp_path}/left; mktemp -d; exit 0'
    )
    lives = tmp_path / "lives"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise, engine, place, lambda: 0, lambda: 0)
        with anyio.fail_after(60):
            while not lives.exists() or len(lives.read_text().splitlines()) < 2:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
    assert (tmp_path / "left").read_text() == "", "what it had begun to fetch when it was killed"
    assert len(list(place.temporary.iterdir())) <= 1
    assert lives.read_text().splitlines()[0] == (
        f"start --home {tmp_path} --proxy_app unix://{tmp_path}/app.sock --rpc.laddr unix://{tmp_path}/rpc.sock"
    )


LATE = (
    "+2/3 committed an invalid block: block time 2026-11-26 16:50:44 +0000 UTC is too far in the future"
    " (wall clock 2026-11-26 16:49:42 +0000 UTC m=+2.508955965 + tolerance 1m0s)"
)


LATE_LINE = f"E[2026-11-26|02:11:33.123] CONSENSUS FAILURE!!!    module=consensus err={LATE}"


@pytest.mark.parametrize(
    ("why", "advice"),
    [("wrong", "set ledger.db aside"), (LATE, "set this machine's clock right"), ("'too far in the future'", "aside")],
)
async def test_a_failed_engine_ends_the_pair_with_a_sentence(why: str, advice: str, tmp_path: Path) -> None:
    """Whoever has a slow clock need not fetch every block again."""
    line = f"E[2026-11-26|02:11:33.123] CONSENSUS FAILURE!!!    module=consensus err={why}"
    engine = program(tmp_path / "engine", f'echo "{line}"; exec sleep 999')
    with anyio.fail_after(60):
        with pytest.raises(Misconfigured, match=f"failed after block 41 and takes no part any more.*{advice}"):
            await supervise(engine, EnginePlace(tmp_path), lambda: 41, lambda: 0)


FULL = "failed to write message to consensus WAL due to write wal: no space left on device"


@pytest.mark.parametrize("end", ["\\n", ""])
async def test_a_full_disk_is_told_and_nothing_is_thrown_away(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line that says so has no end where it met the disk's."""
    monkeypatch.setattr(supervisor, "_LOOK_S", 0.05)
    line = f"E[2026-11-26|02:11:33.123] CONSENSUS FAILURE!!!    module=consensus err='{FULL}'"
    engine = program(tmp_path / "engine", f'printf "{line}{end}"; exec sleep 999')
    with anyio.fail_after(60):
        with pytest.raises(Misconfigured, match="The disk is full: make room") as failed:
            await supervise(engine, EnginePlace(tmp_path), lambda: 41, lambda: 0)
    assert "aside" not in str(failed.value)


@pytest.mark.parametrize("begun", ["E[2026-11-26|02:11:33.123] CONSENSUS FAILURE!!!    module=cons", ""])
async def test_a_disk_too_full_for_the_line_is_looked_at(
    begun: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_LOOK_S", 0.05)
    monkeypatch.setattr(supervisor, "_STALLED_S", 0.2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: (10**9, 10**9, 4_096))
    engine = program(tmp_path / "engine", f'printf "{begun}"; exec sleep 999')
    with anyio.fail_after(60):
        with pytest.raises(Misconfigured, match="The disk is full: make room"):
            await supervise(engine, EnginePlace(tmp_path), lambda: 41, lambda: 0)


async def test_a_log_that_cannot_be_read_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where all the files that the process may have open are taken."""
    monkeypatch.setattr(supervisor, "_LOOK_S", 0.05)
    opened, failures = Path.open, ["rb", "rb", "ab"]

    def refuse(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if path.name == "engine.log" and failures[-1:] == [mode]:
            failures.pop()
            raise OSError(errno.EMFILE, "Too many open files", str(path))
        return opened(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    engine = program(tmp_path / "engine", f'echo "{LATE_LINE}"; exec sleep 999')
    with anyio.fail_after(60):
        with pytest.raises(Misconfigured, match="set this machine's clock right"):
            await supervise(engine, EnginePlace(tmp_path), lambda: 41, lambda: 0)
    assert failures == []
    assert "the engine cannot be started now (Too many open files)" in caplog.text


async def test_an_engine_that_cannot_be_started_for_lack_of_files_is_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, failures = asyncio.create_subprocess_exec, iter([errno.EMFILE, errno.ENFILE])

    async def refuse(*args: Any, **kwargs: Any) -> Any:
        number = next(failures, 0)
        if number:
            raise OSError(number, os.strerror(number))
        return await start(*args, **kwargs)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    monkeypatch.setattr(supervisor, "_LOOK_S", 0.05)
    engine = program(tmp_path / "engine", f'echo "{LATE_LINE}"; exec sleep 999')
    with anyio.fail_after(60):
        with pytest.raises(Misconfigured, match="set this machine's clock right"):
            await supervise(engine, EnginePlace(tmp_path), lambda: 41, lambda: 0)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("echo starting; printf 'ERROR: no such file\\033[2J here\\n\\n'", r"ERROR: no such file.\[2J here"),
        ("echo 'panic: that'; echo; echo 'goroutine 1:'; printf '\\tmain.go:7 +0x1\\n'", "panic: that"),
        ("true", "nothing"),
    ],
)
async def test_what_an_engine_said_last_is_told_when_it_ends(
    said: str, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    EnginePlace(tmp_path).log.write_text("panic: of a life before\n")
    engine = program(tmp_path / "engine", f"{said}; exit 1")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise, engine, EnginePlace(tmp_path), lambda: 7, lambda: 0)
        with anyio.fail_after(60):
            while "the engine ended" not in caplog.text:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
    ended = next(r.getMessage() for r in caplog.records if "the engine ended" in r.getMessage())
    assert re.search(rf"with code 1 at block 7; it said last: {told}; it is started again", ended), ended
    assert "life before" not in ended


async def test_what_a_peer_brings_into_the_log_is_no_failure(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    said = "E[2026-11-26|02:11:33.123] Stopping peer for error    err='invalid IP address CONSENSUS FAILURE!!!'"
    engine = program(tmp_path / "engine", f'echo "{said}"; echo life >> {lives}')
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise, engine, EnginePlace(tmp_path), lambda: 0, lambda: 0)
        with anyio.fail_after(60):
            while not lives.exists() or len(lives.read_text().splitlines()) < 2:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
    assert EnginePlace(tmp_path).log.read_text().count("CONSENSUS FAILURE!!!") >= 2


async def test_an_engine_that_hung_up_is_killed_and_started_again(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    engine = program(tmp_path / "engine", f"echo life >> {lives}; trap '' TERM; exec sleep 999")

    def connections() -> int:
        return 4 if asked.__next__() < 2 else 0

    asked = iter(range(1_000))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise, engine, EnginePlace(tmp_path), lambda: 0, connections)
        with anyio.fail_after(60):
            while not lives.exists() or len(lives.read_text().splitlines()) < 2:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()


async def test_an_engine_does_not_outlive_davy(tmp_path: Path) -> None:
    engine = program(tmp_path / "engine", f"echo $$ > {tmp_path}/pid; trap '' TERM; while :; do sleep 0.1; done")
    text = (
        "import anyio; from pathlib import Path; from davy.ledger.driver.cometbft import supervisor as s\n"
        f"anyio.run(s.supervise, Path({str(engine)!r}), s.EnginePlace(Path({str(tmp_path)!r})), lambda: 0, lambda: 0)"
    )
    pid = tmp_path / "pid"
    async with await anyio.open_process([sys.executable, "-c", text]) as davy:
        with anyio.fail_after(60):
            while not pid.exists() or not pid.read_text().endswith("\n"):  # noqa: ASYNC110
                await anyio.sleep(0.05)
        davy.kill()
        await davy.wait()
        with anyio.fail_after(60):
            while is_running(int(pid.read_text())):  # noqa: ASYNC110
                await anyio.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether it is there, and not only as a name that waits for a parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_the_engine_is_ended_with_the_pair(tmp_path: Path) -> None:
    engine = program(tmp_path / "engine", f"echo $$ > {tmp_path}/pid; trap '' TERM; while :; do sleep 0.1; done")
    pid = tmp_path / "pid"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise, engine, EnginePlace(tmp_path), lambda: 0, lambda: 0)
        with anyio.fail_after(60):
            while not pid.exists() or not pid.read_text().endswith("\n"):  # noqa: ASYNC110
                await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):  # deaf to SIGTERM, it was killed
        os.kill(int(pid.read_text()), signal.SIGCONT)


def pieces(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_full_pieces_of_the_vote_log_go_once_later_blocks_ended_in_another(tmp_path: Path) -> None:
    """What the engine looks for at its start is where its newest block ended: here in wal, or in a piece of now."""
    log, at = VoteLog(tmp_path), iter([7, 8, 9, 10, 11])
    others = ["wal", "wal.CORRUPTED", "wal.x12"]
    for name in (*others, "wal.000", "wal.001"):
        (tmp_path / name).write_bytes(b"votes")
    log.tidy(lambda: next(at))
    log.tidy(lambda: next(at))
    assert pieces(tmp_path) == sorted([*others, "wal.000", "wal.001"]), "block 8 may have ended in the last of them"
    (tmp_path / "wal.002").write_bytes(b"votes")
    log.tidy(lambda: next(at))
    assert pieces(tmp_path) == sorted([*others, "wal.002"])
    (tmp_path / "wal.000").write_bytes(b"its engine began to count anew")
    log.tidy(lambda: next(at))
    assert pieces(tmp_path) == sorted([*others, "wal.000", "wal.002"])
    log.tidy(lambda: next(at))
    assert pieces(tmp_path) == sorted([*others, "wal.000"])


def test_a_piece_that_fills_while_the_height_is_asked_is_of_a_later_block(tmp_path: Path) -> None:
    log = VoteLog(tmp_path)

    def height() -> int:
        (tmp_path / "wal.000").write_bytes(b"full meanwhile, of blocks up to 6")
        return 5

    log.tidy(height)
    log.tidy(lambda: 7)
    assert pieces(tmp_path) == ["wal.000"]


async def test_a_running_engines_old_votes_are_forgotten(tmp_path: Path) -> None:
    place, heights = EnginePlace(tmp_path), iter(range(1_000))
    place.votes.mkdir(parents=True)
    for name in ("wal", "wal.000", "wal.001"):
        (place.votes / name).write_bytes(b"votes")
    engine = program(tmp_path / "engine", f"touch {place.rpc}; exec sleep 999")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise, engine, place, lambda: next(heights), lambda: 4)
        with anyio.fail_after(60):
            while pieces(place.votes) != ["wal"]:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()


async def test_no_votes_are_forgotten_while_an_engine_starts(tmp_path: Path) -> None:
    """It replays its blocks into an emptied state then, and has not yet looked for where the last one ended."""
    place, heights = EnginePlace(tmp_path), iter(range(1_000))
    place.votes.mkdir(parents=True)
    (place.votes / "wal.000").write_bytes(b"votes")
    engine = program(tmp_path / "engine", "exec sleep 999")
    enough = anyio.Event()

    def height() -> int:
        now = next(heights)
        if now == 8:
            enough.set()
        return now

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supervise, engine, place, height, lambda: 4)
        with anyio.fail_after(60):
            await enough.wait()
        tasks.cancel_scope.cancel()
    assert pieces(place.votes) == ["wal.000"]


def test_a_piece_that_cannot_be_removed_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = VoteLog(tmp_path)
    (tmp_path / "wal.000" / "in the way").mkdir(parents=True)
    for height in range(6):
        log.tidy(lambda height=height: height)
    assert [r.message for r in caplog.records if "cannot be removed" in r.message] != []
    assert len(caplog.records) == 1


async def test_no_engine_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="install-engine"):
        await supervise(tmp_path / "none", EnginePlace(tmp_path), lambda: 0, lambda: 0)
    with pytest.raises(Misconfigured, match="shorter path"):
        EnginePlace(tmp_path / ("x" * 100)).check()
