"""`davy miner`: put a model on the network, or see first what a validator would make of it."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from davy.cli.ending import until_told
from davy.cli.gossip import gossip_options, joining
from davy.cli.later import Whole
from davy.cli.loop import run
from davy.cli.model import backend_options
from davy.cli.network import Network, ledger_of, metagraph_of, network_option, neuron_of, read_network
from davy.cli.options import (
    Host,
    Tokens,
    home_option,
    host_fault,
    json_option,
    made,
    netuids_option,
    pace_options,
    unlocked,
)
from davy.cli.output import show, show_table
from davy.host.clock import SystemClock
from davy.host.entropy import OsEntropy
from davy.host.home import Home
from davy.host.keys import FileKeyStore
from davy.host.store import SqliteStore
from davy.ledger.client import RpcLedger
from davy.miners.admission import Rules
from davy.miners.checking import Asked, Finding, check_miner
from davy.miners.loading import option
from davy.miners.running import MinerOptions, Started, run_miner
from davy.network.certificate import CertificateFiles, make_certificate
from davy.network.http_client import HttpTransport
from davy.network.node_brake import NodeBrake
from davy.protocol.errors import Misconfigured, TxCode, TxFailed
from davy.protocol.ports import Ports
from davy.protocol.words import TOKEN, KeyRole, ModelId


@click.group("miner", cls=Whole, invoke_without_command=True)
@home_option
@network_option
@backend_options
@netuids_option
@click.option("--host", type=Host(), default="127.0.0.1", show_default=True, help="Host to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, show_default=True, help="Port; 0 for any free one.")
@click.option("--public-host", type=Host(public=True), help="Host where others reach it; --host by default.")
@click.option(
    "--public-port", type=click.IntRange(0, 65_535), default=0, help="Port where others reach it; --port by default."
)
@click.option("--open", "open_to_all", is_flag=True, help="Answer everybody who signs, not only callers with stake.")
@click.option("--minimum-stake", type=Tokens(), default=TOKEN, help="Tokens a caller must have staked; 1 by default.")
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 100_000),
    default=20.0,
    show_default=True,
    help="Requests per second from one caller.",
)
@click.option(
    "--insecure-local", type=click.IntRange(0, 65_535), help="Port on 127.0.0.1 that takes unsigned requests."
)
@gossip_options
@click.option("--brake", hidden=True, help="module:function that changes the node's brake: for sabotage.")
@click.option("--verbose", is_flag=True, help="Log what it does.")
@json_option
@click.pass_context
def miner_command(
    ctx: click.Context,
    home: Path,
    network: Path,
    backend: str,
    options: tuple[str, ...],
    netuids: tuple[int, ...],
    host: str,
    port: int,
    public_host: str | None,
    public_port: int,
    open_to_all: bool,
    minimum_stake: int,
    rate: float,
    insecure_local: int | None,
    gossip_port: int | None,
    gossip_host: str | None,
    gossip_peers: tuple[str, ...],
    brake: str | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Serve a model until Ctrl-C; SIGHUP reloads it.

    The home needs a hotkey that is registered on the subnet; the model must be on the ledger's register
    (`davy model register`).
    """
    if ctx.invoked_subcommand is not None:
        return
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s")
    if public_host is None and (fault := host_fault(host, public=True)):
        raise Misconfigured(f"the ledger would tell others of --host, and '{host}' {fault}: --public-host NAME")
    opened = Home.open(home)
    chosen = MinerOptions(
        backend,
        dict(map(option, options)),
        netuids=netuids,
        host=host,
        port=port,
        public_host=public_host or host,
        public_port=public_port,
        insecure_local=insecure_local,
        rules=Rules(open=open_to_all, minimum_stake=minimum_stake, rate=rate, burst=int(2 * rate) + 1),
        gossip=joining(gossip_host or host, gossip_port, gossip_peers),
    )
    keys = unlocked(opened, KeyRole.HOTKEY)
    with opened.running():
        serving = partial(_serve, opened, keys, read_network(network), chosen, partial(_braked, brake), as_json)
        run(until_told, serving, "the miner has stopped")


@miner_command.command()
@home_option
@network_option
@json_option
@backend_options
@netuids_option
@pace_options
@click.option("--offline", is_flag=True, help="Do not compare with the ledger.")
def check(
    home: Path,
    network: Path,
    as_json: bool,
    backend: str,
    options: tuple[str, ...],
    netuids: tuple[int, ...],
    challenges: int,
    round_s: float,
    offline: bool,
) -> int:
    """Look at the model as a validator of this pace would, on this machine.

    The exit code is 1 if something is wrong, or too slow.
    """
    opened = Home.open(home)
    keys = unlocked(opened, KeyRole.HOTKEY)
    chosen = MinerOptions(backend, dict(map(option, options)), netuids=netuids)
    asked = Asked(challenges, round_s)
    findings = run(_check, opened, keys, None if offline else read_network(network), chosen, asked)
    rows = [{"ok": f.ok if as_json else "ok" if f.ok else "WRONG", "what": f.name, "found": f.said} for f in findings]
    show_table(("ok", "what", "found"), rows, as_json=as_json)
    return 0 if all(f.ok for f in findings) else 1


async def _check(
    home: Home, keys: FileKeyStore, network: Network | None, options: MinerOptions, pace: Asked
) -> list[Finding]:
    of_this_machine = partial(
        check_miner,
        options,
        keys=keys,
        clock=SystemClock(),
        entropy=OsEntropy(),
        certificate=_certificate(home),
        pace=pace,
    )
    if network is None:
        return await of_this_machine(chain=bytes(32))
    async with ledger_of(network) as ledger:
        permitted = partial(_permitted, ledger, options)
        return await of_this_machine(chain=ledger.chain, ledger=ledger, permitted=permitted)


def _certificate(home: Home) -> CertificateFiles:
    """The home's certificate, made when it has none."""
    files = CertificateFiles(home.tls.certificate, home.tls.key)
    if not files.certificate.exists():
        made = make_certificate(OsEntropy().bytes(32))
        home.keep_tls(made.certificate, made.key)
    return files


async def _serve(
    home: Home,
    keys: FileKeyStore,
    network: Network,
    options: MinerOptions,
    change: Callable[[NodeBrake], NodeBrake],
    as_json: bool,
) -> None:
    store = SqliteStore(home.store)
    try:
        clock = SystemClock()
        async with ledger_of(network) as ledger, HttpTransport(clock) as transport:
            for netuid in options.netuids:
                neuron_of(await metagraph_of(ledger, netuid), keys.public(KeyRole.HOTKEY))
            certificate = _certificate(home)
            genesis = await ledger.genesis()
            await run_miner(
                options._replace(anchor_slack=genesis.parameters.anchor_slack),
                Ports(keys, ledger, clock, OsEntropy(), store, transport),
                genesis,
                certificate,
                ready=partial(_ready, as_json),
                permitted=partial(_permitted, ledger, options),
                change=change,
            )
    finally:
        store.close()


def _braked(spec: str | None, brake: NodeBrake) -> NodeBrake:
    return made(spec, brake, methods=("guard", "peers", "run")) if spec else brake


async def _permitted(ledger: RpcLedger, options: MinerOptions, model: ModelId) -> None:
    """Look the model up on the ledger's register.

    Raises
    ------
    Misconfigured
        It is not there; the message holds the command that puts it there.
    """
    try:
        await ledger.query("/model", model)
    except TxFailed as e:
        if e.code is not TxCode.NOT_FOUND:
            raise
        words = ["davy", "model", "register", "--backend", options.backend]
        words += [word for key, value in options.backend_options.items() for word in ("-o", f"{key}={value}")]
        raise Misconfigured(
            f"the model {model.hex()[:16]}… is not on the ledger's register; put it there once: `{shlex.join(words)}`"
        ) from None


def _ready(as_json: bool, started: Started) -> None:
    if as_json:
        local = {} if started.local_port is None else {"local": f"http://127.0.0.1:{started.local_port}/v1"}
        at = f"{started.endpoint.host}:{started.endpoint.port}"
        show({"name": started.name, "model": started.model_id.hex(), "endpoint": at, **local}, as_json=True)
        return
    click.echo(f"serving {started.name} ({started.model_id.hex()}) at {started.endpoint.host}:{started.endpoint.port}")
    if started.local_port is not None:
        click.echo(f"unsigned requests from this machine: http://127.0.0.1:{started.local_port}/v1")
