"""`davy keyholder init | circle | genesis`: a keyholder's own key, the others, and the chain. Typed once."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from davy.cli.circles import circles_of, read_circle_file
from davy.cli.loop import run
from davy.cli.network import ledger_of, network_option, read_network
from davy.cli.options import home_option, json_option, password
from davy.cli.output import show, show_table
from davy.host.entropy import OsEntropy
from davy.host.files import read_bounded, whole_path, write_over
from davy.host.home import Home
from davy.host.keys import MODERATE, QUICK, FileKeyStore, key_path, write_key
from davy.host.recovery import new_words, seed_from_words
from davy.keyholders.circle import Circle, Holder, check_name, fingerprint, holder_line, parse_address
from davy.network.certificate import make_certificate, read_fingerprint
from davy.protocol.encoding import decode
from davy.protocol.errors import Misconfigured, Refused
from davy.protocol.genesis import Genesis, chain_id
from davy.protocol.limits import MAX_GENESIS_BYTES
from davy.protocol.roster import roster_digest
from davy.protocol.transaction import Endpoint
from davy.protocol.words import KeyRole, PublicKey, key_text


@click.command()
@home_option
@json_option
@click.option("--name", required=True, help="The name that other keyholders see.")
@click.option("--address", required=True, metavar="HOST:PORT", help="Where they reach your `davy keyholder serve`.")
@click.option("--quick", is_flag=True, help="Derive passwords with less work: for rehearsals and tests only.")
@click.option("--recover", is_flag=True, help="Make the key again from its 24 words, typed or on standard input.")
def init(home: Path, as_json: bool, name: str, address: str, quick: bool, recover: bool) -> None:
    """Make your own key, print the line that the others need, and the 24 words that bring the key back.

    The words on paper are the only backup of a share that may leave its machine: whoever has them, and whom the others
    trust, gets the share back by `davy keyholder repair`. By themselves they sign nothing.
    """
    host, port = parse_address(address)
    check_name(name)
    place = Home(whole_path(home))
    if key_path(place.keys, KeyRole.KEYHOLDER).exists():
        raise Misconfigured(f"{place.root} has a keyholder's key, which is never overwritten; choose another --home")
    words = _read_words() if recover else new_words(OsEntropy())
    seed = seed_from_words(words, KeyRole.KEYHOLDER)
    secret = password(KeyRole.KEYHOLDER, twice=True)
    made = Home.create(home)
    entropy = OsEntropy()
    cost = QUICK if quick else MODERATE
    key = write_key(made.keys, KeyRole.KEYHOLDER, seed, secret, entropy=entropy, cost=cost)
    if not made.tls.certificate.exists():
        certificate = make_certificate(entropy.bytes(32))
        made.keep_tls(certificate.certificate, certificate.key)
    line = holder_line(Holder(name, Endpoint(host, port, read_fingerprint(made.tls.certificate), b""), key))
    told = {"line": line} if recover else {"line": line, "words": words}
    show(told, as_json=True) if as_json else click.echo(line)
    if not recover and not as_json:
        click.echo(f"\n{words}\n\nWrite these 24 words down on paper, now: they are shown once.", err=True)


@click.command()
@home_option
@json_option
@click.option(
    "--next", "is_next", is_flag=True, help="The next keyholders, you among them: see `davy keyholder roster`."
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
def circle(home: Path, as_json: bool, is_next: bool, file: Path | None) -> None:
    """Keep the lines of all keyholders, yours among them, from FILE; without FILE, show those that are kept."""
    opened = Home.open(home)
    own = FileKeyStore(opened.keys).public(KeyRole.KEYHOLDER)
    if file is not None:
        kept = _keep_circle(opened, own, file, is_next)
    elif is_next and not opened.next_circle.exists():
        raise Misconfigured(f"{opened.root} knows of no keyholders to follow; give it their lines, too")
    else:
        kept = read_circle_file(opened.next_circle) if is_next else circles_of(opened)[0]
    rows = [
        {
            "": "you" if h.key == own else "",
            "number": n,
            "name": h.name,
            "address": f"{h.endpoint.host}:{h.endpoint.port}",
            "key": key_text(KeyRole.KEYHOLDER, h.key),
        }
        for n, h in enumerate(kept.holders, 1)
    ]
    if as_json:
        show({"fingerprint": fingerprint(kept.digest), "keyholders": rows}, as_json=True)
        return
    show_table(("", "number", "name", "address", "key"), rows, as_json=False)
    click.echo(f"fingerprint: {fingerprint(kept.digest)}")
    click.echo("Read it to each other: the same words at everybody.")


@click.command()
@home_option
@network_option
@json_option
@click.argument("file", required=False, type=click.Path(path_type=Path))
def genesis(home: Path, network: Path, as_json: bool, file: Path | None) -> None:
    """Learn which chain your keys are for: from its genesis FILE, or else from the network's ledger."""
    opened = Home.open(home)
    own = FileKeyStore(opened.keys).public(KeyRole.KEYHOLDER)
    if file is None:
        learnt = run(_genesis, network)
    else:
        try:
            learnt = decode(read_bounded(file, MAX_GENESIS_BYTES), Genesis, limit=MAX_GENESIS_BYTES)
        except Refused as e:
            raise Misconfigured(f"{file} is not a genesis ({e}); copy the file `genesis` of a node's home") from None
    if not learnt.keyholders:
        raise Misconfigured("this chain has no keyholders: nobody can halt it; make one with --keyholders")
    (roster,) = learnt.keyholders
    # Whoever comes later has a share of a later roster, and none of this one.
    if own not in roster.members and not opened.shares.exists():
        raise Misconfigured("this chain's keyholders are others; name the genesis of the chain that you hold keys of")
    opened.keep_genesis(learnt)
    show({"chain": chain_id(learnt).hex(), "roster": roster_digest(roster).hex()}, as_json=as_json)


def _keep_circle(home: Home, own: PublicKey, file: Path, is_next: bool) -> Circle:
    kept = read_circle_file(file)
    if own not in kept.keys:
        raise Misconfigured(f"your own line is not in {file}; add what `davy keyholder init` printed")
    lines = "".join(f"{holder_line(h)}\n" for h in kept.holders).encode()
    there = circles_of(home) if home.circle.exists() else ()
    if is_next:
        if not there:
            raise Misconfigured("no keyholders are known here whom others could follow; leave --next out")
        if there[0].digest != read_circle_file(home.circle).digest:  # those who were to follow are in office
            write_over(home.circle, home.next_circle.read_bytes())
        write_over(home.next_circle, lines)
        return kept
    path = home.circle
    if home.next_circle.exists() and read_circle_file(home.next_circle).digest == kept.digest:
        path = home.next_circle
    elif there and there[0].digest != kept.digest and home.shares.exists():
        raise Misconfigured(f"{home.root} has shares with {_names(there[0])}; who follows them is kept with --next")
    write_over(path, lines)
    return kept


def _read_words() -> str:
    asked = sys.stdin.isatty()
    return str(click.prompt("The 24 words", hide_input=True)) if asked else sys.stdin.read(1_000)


def _names(c: Circle) -> str:
    return ", ".join(h.name for h in c.holders)


async def _genesis(network: Path) -> Genesis:
    async with ledger_of(read_network(network)) as ledger:
        return await ledger.genesis()
