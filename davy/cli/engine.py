"""`davy ledger install-engine`, `init-net` and `start`: a chain whose blocks several producers decide together."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import anyio
import click
import msgspec
from anyio.abc import TaskStatus

from davy.cli.ending import until_told
from davy.cli.genesis import REVIEWED, Wanted, chain_options, draft, with_keys
from davy.cli.join import check_engine_files, place_of, renewed, write_producer
from davy.cli.loop import run
from davy.cli.network import Network, network_option, write_network
from davy.cli.options import Host, Place, home_option, json_option
from davy.cli.output import show
from davy.host.entropy import OsEntropy
from davy.host.files import make_private_folder, read_bounded, whole_path
from davy.host.home import Home
from davy.host.open_files import allow_many_open_files
from davy.ledger.driver.service import DEFAULT_PORT
from davy.protocol.errors import Misconfigured
from davy.protocol.genesis import chain_id
from davy.protocol.words import KeyRole, key_from_text, key_text

ENGINES: Final = Path("~/.davy/engine")
STOPPED: Final = "the producer has stopped; started again, it catches up with the others"
LEAST_KEPT: Final = 100
_FIRST_PORT: Final = 26_656
_PORTS_APART: Final = 10
_MAX_KEY_FILE_BYTES: Final = 4 * 1024


@click.command("install-engine")
@json_option
@click.option("--to", type=Place(), default=ENGINES, show_default=True, help="Folder to install it in.")
def install_engine(as_json: bool, to: Path) -> None:
    """Build the BFT engine, CometBFT, from its source with Go: one version, pinned by its checksum."""
    from davy.ledger.driver.cometbft.install import MODULE_SUM, VERSION, install

    folder = whole_path(to)
    make_private_folder(folder)
    program = install(folder)
    show({"engine": str(program), "version": VERSION, "module": MODULE_SUM}, as_json=as_json)


@click.command("init-net")
@click.option("--home", type=Place(), required=True, help="Folder to make, with a home for each producer.")
@json_option
@click.option(
    "--producers",
    type=click.IntRange(1, 128),
    default=4,
    show_default=True,
    help="3f+1 of them tolerate f that are away.",
)
@click.option(
    "--at", "places", multiple=True, metavar="HOST:PORT", help="Where a producer's engine listens; repeat for each."
)
@click.option("--owner", required=True, help="Coldkey that owns the subnets.")
@chain_options("text", REVIEWED)
@click.option("--block-time", type=click.IntRange(0, 3_600_000), default=1_000, show_default=True, help="Milliseconds.")
def init_net(
    home: Path,
    as_json: bool,
    producers: int,
    places: tuple[str, ...],
    owner: str,
    wanted: Wanted,
    block_time: int,
) -> None:
    """Make a chain and the homes of all its producers, `producer-1` and so on; start each of them separately.

    A new model may be served a day after it is registered, at a block a second: `--parameters model_review=86400` is
    what holds unless another number is given.
    """
    from davy.ledger.driver.cometbft.configuration import Peer, Secrets, public_of
    from davy.ledger.driver.cometbft.supervisor import EnginePlace

    root = whole_path(home)
    where = _places(places, producers)
    draw = OsEntropy().bytes
    secrets = [Secrets(draw(32), draw(32)) for _ in range(producers)]
    peers = [Peer(host, port, public_of(s.node)) for (host, port), s in zip(where, secrets, strict=True)]
    owned_by = key_from_text(KeyRole.COLDKEY, owner)
    genesis = with_keys(draft(wanted), owned_by, [public_of(s.producer) for s in secrets])
    if root.exists() and any(root.iterdir()):
        raise Misconfigured(f"{root} is not empty; choose a new folder")
    homes = [root / f"producer-{n}" for n in range(1, producers + 1)]
    if not places:  # else they are carried elsewhere
        EnginePlace(Home(homes[-1]).engine).check()
    for place, secret, peer in zip(homes, secrets, peers, strict=True):
        write_producer(place, genesis, secret, peer, [p for p in peers if p is not peer], block_time)
    show(
        {"chain": chain_id(genesis).hex(), "homes": [str(h) for h in homes], "peers": [p.name for p in peers]},
        as_json=as_json,
    )


@click.command("start")
@home_option
@network_option
@json_option
@click.option("--host", type=Host(), default="127.0.0.1", show_default=True, help="Host to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True, help="Port; 0 for any free one."
)
@click.option("--engine", type=Place(), envvar="DAVY_ENGINE", help="The engine's program ($DAVY_ENGINE).")
@click.option(
    "--snapshots",
    type=click.IntRange(0),
    default=1_000,
    show_default=True,
    help="Blocks from one snapshot to the next; 0 for none.",
)
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="How many blocks to keep; 0 for all. The engine keeps the last unbonding time's, too.",
)
def start(
    home: Path, network: Path, as_json: bool, host: str, port: int, engine: Path | None, snapshots: int, keep: int
) -> None:
    """Run one producer and its engine, and answer clients. Writes the network file once it does."""
    from davy.ledger.driver.cometbft.install import NAME, VERSION, is_engine

    opened = Home.open(home)
    if not opened.has_genesis() or not opened.engine.is_dir():
        raise Misconfigured(f"{opened.root} is not a producer's home; make some with `davy ledger init-net`")
    check_engine_files(opened)
    program = whole_path(engine or ENGINES / NAME)
    if not is_engine(program):
        raise Misconfigured(f"{program} is no CometBFT {VERSION}; build it with `davy ledger install-engine`")
    if 0 < keep < LEAST_KEPT:
        raise Misconfigured(f"at least {LEAST_KEPT} blocks are kept, for those that catch up; or all, with --keep 0")
    kept = {"snapshots": snapshots, "keep": keep}
    made = partial(_run, opened, network, program, as_json=as_json, host=host, port=port, kept=kept)
    allow_many_open_files()
    run(until_told, made, STOPPED)


async def _run(
    home: Home, network: Path, program: Path, *, as_json: bool, host: str, port: int, kept: dict[str, int]
) -> None:
    try:
        from davy.ledger.driver.cometbft.service import serve_producer
        from davy.ledger.driver.cometbft.supervisor import EnginePlace
    except ModuleNotFoundError as e:
        raise Misconfigured(f"a producer needs protobuf ({e}); install it with `pip install davy[cometbft]`") from None
    from davy.ledger.driver.cometbft.configuration import PRODUCER_KEY, producer_of

    genesis = home.genesis()
    public = producer_of(read_bounded(home.engine / PRODUCER_KEY, _MAX_KEY_FILE_BYTES))
    with home.running():
        async with anyio.create_task_group() as tasks:

            async def producer(*, task_status: TaskStatus[str]) -> None:
                await serve_producer(
                    home.ledger,
                    genesis,
                    public,
                    program,
                    EnginePlace(home.engine),
                    host=host,
                    port=port,
                    **kept,
                    renew=partial(renewed, home),
                    task_status=task_status,
                )

            address: str = await tasks.start(producer)
            written = Network(1, chain_id(genesis).hex(), address)
            write_network(network, written)
            signer = key_text(KeyRole.PRODUCER, public)
            if as_json:
                show({**msgspec.structs.asdict(written), "network": str(network), "producer": signer}, as_json=True)
            else:
                click.echo(f"the ledger answers at {address}; chain {written.chain[:16]}…; network file {network}")
                begun = public in genesis.producers
                click.echo(f"this engine's key is {signer}, {'a producer of the genesis' if begun else 'for a seat'}")


def _places(typed: tuple[str, ...], producers: int) -> list[tuple[str, int]]:
    if not typed:
        return [("127.0.0.1", _FIRST_PORT + _PORTS_APART * n) for n in range(producers)]
    if len(typed) != producers:
        raise Misconfigured(f"{len(typed)} places for {producers} producers; write --at once for each, or not at all")
    return [place_of(text) for text in typed]
