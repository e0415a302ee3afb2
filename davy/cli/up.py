"""`davy up`: a local network that stays: ledger and faucet in one process, for trying things out.

Its keys are protected by no secret; what they hold is worth nothing outside this machine.
"""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import click
import msgspec
from anyio.abc import TaskStatus
from click.core import ParameterSource

from davy.cli.act import act
from davy.cli.ending import until_told
from davy.cli.genesis import TRIED_OUT, Wanted, chain_options, draft
from davy.cli.ledger import STOPPED, create_chain, run_ledger
from davy.cli.loop import run
from davy.cli.network import Network, ledger_of, network_option
from davy.cli.options import Host, Place, json_option, tokens
from davy.host.entropy import OsEntropy
from davy.host.files import make_private_folder, whole_path
from davy.host.home import Home
from davy.host.keys import QUICK, FileKeyStore, key_path, write_key
from davy.host.open_files import allow_many_open_files
from davy.ledger.driver.service import DEFAULT_PORT
from davy.network.http_server import serve
from davy.protocol.errors import DavyError, Malformed, Misconfigured, TooLarge
from davy.protocol.genesis import Genesis
from davy.protocol.ports import Response, SignedRequest
from davy.protocol.transaction import Transfer
from davy.protocol.words import TOKEN, KeyRole, key_from_text

_PASSWORD: Final = "local"
_FAUCET_TOKENS: Final = 1_000_000
_MOST_AT_ONCE: Final = 10_000 * TOKEN


@click.command("up")
@click.option(
    "--home",
    type=Place(),
    default=Path("~/.davy/local"),
    show_default=True,
    help="Folder of the network. $DAVY_HOME is a node's, and not looked at.",
)
@network_option
@json_option
@click.option("--host", type=Host(), default="127.0.0.1", show_default=True, help="Host to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True, help="Port; 0 for any free one."
)
@click.option(
    "--block-time",
    type=click.IntRange(10, 60_000),
    default=250,
    show_default=True,
    help="Milliseconds from block to block.",
)
@chain_options("text:tempo=40,immunity=400", TRIED_OUT, parameters="unbonding=100,model_review=0", note="local")
def up_command(
    home: Path,
    network: Path,
    as_json: bool,
    host: str,
    port: int,
    block_time: int,
    wanted: Wanted,
) -> None:
    """Run a local network until Ctrl-C. Started again, it continues where it stopped."""
    place = Home(whole_path(home))
    if place.has_genesis():
        _check_same(place, draft(wanted))
    else:
        draft(_with_faucet(wanted, bytes(32)))
        _check_port(host, port)
        make_private_folder(whole_path(network).parent)
        place = _create(home, wanted)
    keys = FileKeyStore(place.keys)
    for role in (KeyRole.COLDKEY, KeyRole.PRODUCER):
        keys.unlock(role, _PASSWORD)
    allow_many_open_files()
    run(until_told, partial(_run, place, keys, network, as_json, host, port, block_time), STOPPED)


def _create(home: Path, wanted: Wanted) -> Home:
    """Make the network's home, keys and genesis; goes on where an earlier try was cut off."""
    made = Home.create(home)
    if not key_path(made.keys, KeyRole.COLDKEY).exists():
        seed = OsEntropy().bytes(32)
        write_key(made.keys, KeyRole.COLDKEY, seed, _PASSWORD, entropy=OsEntropy(), cost=QUICK)
    owner = FileKeyStore(made.keys).public(KeyRole.COLDKEY)
    create_chain(made, _PASSWORD, _with_faucet(wanted, owner), owner, cost=QUICK)
    return made


def _with_faucet(wanted: Wanted, faucet: bytes) -> Wanted:
    return wanted._replace(allocations={faucet: _FAUCET_TOKENS * TOKEN, **wanted.allocations})


def _check_same(home: Home, wanted: Genesis) -> None:
    """A chain cannot be changed by the words it is started with: those typed must be its own.

    Raises
    ------
    Misconfigured
    """
    there = home.genesis()
    rules = [
        (g.parameters, [(s.task, s.mechanism, s.hyperparameters, s.share) for s in g.subnets]) for g in (there, wanted)
    ]
    source = click.get_current_context().get_parameter_source
    typed = any(source(name) is ParameterSource.COMMANDLINE for name in ("subnets", "parameters"))
    granted = set(wanted.allocations) - set(there.allocations)
    halted_by = wanted.keyholders and wanted.keyholders != there.keyholders
    if granted or halted_by or (typed and rules[0] != rules[1]):
        raise Misconfigured(
            f"{home.root} has a network with other rules, allocations or keyholders already; leave --subnet, "
            "--parameters, --allocate and --keyholders out to go on with it, or choose another --home"
        )


def _check_port(host: str, port: int) -> None:
    """Raise Misconfigured where nothing can listen, before anything is written."""
    try:
        socket.create_server((host, port)).close()
    except (OSError, UnicodeError) as e:
        why = str(getattr(e, "strerror", None) or e).partition(" (")[0]
        raise Misconfigured(f"cannot listen on {host}:{port} ({why}); choose another --port or --host") from None


async def _run(
    home: Home, keys: FileKeyStore, network: Path, as_json: bool, host: str, port: int, block_time: int
) -> None:
    faucet = Faucet(keys)
    async with serve(faucet, host, 0, None) as faucet_port, anyio.create_task_group() as tasks:

        async def ledger(*, task_status: TaskStatus[Network]) -> None:
            await run_ledger(
                home,
                keys,
                network,
                as_json=as_json,
                host=host,
                port=port,
                block_time=block_time,
                faucet=f"http://{host}:{faucet_port}/faucet",
                task_status=task_status,
            )

        faucet.network = await tasks.start(ledger)
        if not as_json:
            click.echo(f"the faucet gives tokens: `davy faucet`; all of the network lies in {home.root}")
            click.echo("Ctrl-C stops the network, `davy up` brings it back")


class _Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    to: str
    amount: int


class Faucet:
    """Gives the network's own tokens to whoever asks (`davy.protocol.ports.Handler`)."""

    def __init__(self, keys: FileKeyStore) -> None:
        self._keys = keys
        self._one_at_a_time = anyio.Lock()
        self.network: Network | None = None

    async def handle(self, request: SignedRequest) -> Response:
        """Answer ``POST /faucet``."""
        try:
            return _answer(200, await self._give(request))
        except DavyError as e:
            return _answer(400, {"error": str(e)})

    async def _give(self, request: SignedRequest) -> dict[str, object]:
        if (request.method, request.path) != ("POST", "/faucet") or self.network is None:
            raise Malformed('POST {"to": "cold_…", "amount": base units} to /faucet')
        try:
            wish = msgspec.json.decode(request.body, type=_Wish)
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as e:
            raise Malformed(f"not a wish: {e}") from None
        if not 0 < wish.amount <= _MOST_AT_ONCE:
            raise TooLarge(
                f"the faucet gives more than 0 and up to {tokens(_MOST_AT_ONCE)} tokens at once; ask for that"
            )
        to = key_from_text(KeyRole.COLDKEY, wish.to)
        async with self._one_at_a_time, ledger_of(self.network) as ledger:
            result = await act(ledger, self._keys, KeyRole.COLDKEY, Transfer(to, wish.amount))
        return {"height": result.height}


def _answer(status: int, value: dict[str, object]) -> Response:
    return Response(status, (("content-type", "application/json"),), msgspec.json.encode(value))
