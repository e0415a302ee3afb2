"""`davy up`: a local network that stays: ledger and faucet in one process, for trying things out.

Its keys are protected by no secret; what they hold is worth nothing outside this machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import anyio
import click
import msgspec
from anyio.abc import TaskStatus

from davy.cli.act import act
from davy.cli.genesis import parse_allocation
from davy.cli.ledger import create_chain, run_ledger
from davy.cli.network import Network, ledger_of, network_option
from davy.cli.options import run, tokens
from davy.host.entropy import OsEntropy
from davy.host.home import Home
from davy.host.keys import QUICK, FileKeyStore, key_path, write_key
from davy.ledger.driver.service import DEFAULT_PORT
from davy.network.http_server import serve
from davy.protocol.errors import DavyError, Malformed, TooLarge
from davy.protocol.ports import Response, SignedRequest
from davy.protocol.transaction import Transfer
from davy.protocol.words import TOKEN, KeyRole, key_from_text

_PASSWORD: Final = "local"
_FAUCET_TOKENS: Final = 1_000_000
_MOST_AT_ONCE: Final = 10_000 * TOKEN


@click.command("up")
@click.option(
    "--home", type=click.Path(path_type=Path), default=Path("~/.davy/local"), show_default=True, help="Of the network."
)
@network_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True, help="0: any.")
@click.option("--block-time", type=click.IntRange(10, 60_000), default=250, show_default=True, help="Milliseconds.")
@click.option(
    "--subnet",
    "subnets",
    multiple=True,
    default=("text:tempo=40,immunity=400",),
    show_default=True,
    metavar="TASK[:NAME=VALUE,…]",
    help="Repeat it for several; netuids count from 1.",
)
@click.option("--parameters", default="unbonding=100", show_default=True, metavar="NAME=VALUE,…")
@click.option("--allocate", "allocations", multiple=True, metavar="COLD_…=TOKENS", help="Tokens there from the start.")
def up_command(
    home: Path,
    network: Path,
    host: str,
    port: int,
    block_time: int,
    subnets: tuple[str, ...],
    parameters: str,
    allocations: tuple[str, ...],
) -> None:
    """Run a local network until Ctrl-C. Started again, it goes on where it stopped."""
    made = Home.create(home)
    if not made.has_genesis():
        if not key_path(made.keys, KeyRole.COLDKEY).exists():
            seed = OsEntropy().bytes(32)
            write_key(made.keys, KeyRole.COLDKEY, seed, _PASSWORD, entropy=OsEntropy(), cost=QUICK)
        owner = FileKeyStore(made.keys).public(KeyRole.COLDKEY)
        granted = {owner: _FAUCET_TOKENS * TOKEN} | dict(map(parse_allocation, allocations))
        create_chain(
            made,
            _PASSWORD,
            owner=owner,
            subnets=subnets,
            parameters=parameters,
            allocations=granted,
            note="local",
            cost=QUICK,
        )
    keys = FileKeyStore(made.keys)
    for role in (KeyRole.COLDKEY, KeyRole.PRODUCER):
        keys.unlock(role, _PASSWORD)
    run(_run, made, keys, network, host, port, block_time)


async def _run(home: Home, keys: FileKeyStore, network: Path, host: str, port: int, block_time: int) -> None:
    faucet = Faucet(keys)
    async with serve(faucet, host, 0, None) as faucet_port, anyio.create_task_group() as tasks:

        async def ledger(*, task_status: TaskStatus[Network]) -> None:
            await run_ledger(
                home,
                keys,
                network,
                host=host,
                port=port,
                block_time=block_time,
                faucet=f"http://{host}:{faucet_port}/faucet",
                task_status=task_status,
            )

        faucet.network = await tasks.start(ledger)
        click.echo("the faucet gives tokens: `davy faucet`. Ctrl-C stops the network, `davy up` brings it back.")


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
            raise TooLarge(f"the faucet gives up to {tokens(_MOST_AT_ONCE)} tokens at once; ask for less")
        to = key_from_text(KeyRole.COLDKEY, wish.to)
        async with self._one_at_a_time, ledger_of(self.network) as ledger:
            result = await act(ledger, self._keys, KeyRole.COLDKEY, Transfer(to, wish.amount))
        return {"height": result.height}


def _answer(status: int, value: dict[str, object]) -> Response:
    return Response(status, (("content-type", "application/json"),), msgspec.json.encode(value))
