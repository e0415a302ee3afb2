"""A mistake is answered with one sentence that says what to do, exit code 2, no traceback and nothing half done."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from davy.protocol.words import KeyRole, key_text
from tests.cli.conftest import OWNER, Network, Said, Say, contents


class Mistake(NamedTuple):
    """What was typed, the words that must be in the answer, and what was wrong with the surroundings."""

    typed: str
    told: tuple[str, ...]
    environment: Mapping[str, str] = MappingProxyType({})


NINES = "9" * 5_000
UPSTREAM = "--backend upstream -o url=http://localhost:1/v1 -o model=m"
MINER = f"miner --home member {UPSTREAM}"
STRANGER = key_text(KeyRole.HOTKEY, bytes(32))
MISTAKES = {
    # keys, passwords, homes
    "a wrong password": Mistake("stake add 5", ("password", "coldkey.json", "try again"), {"DAVY_PASSWORD": "no"}),
    "a wrong password of a node": Mistake("validator", ("password", "hotkey.json"), {"DAVY_PASSWORD": "no"}),
    "no password": Mistake("key new --home new", ("set DAVY_PASSWORD",), {"DAVY_PASSWORD": ""}),
    "a password that is no text": Mistake("key new --home new", ("no UTF-8", "anew"), {"DAVY_PASSWORD": "\udcff"}),
    "no such home": Mistake("key show --home nowhere", ("not a home of davy", "davy key new --home")),
    "a home with too long a name": Mistake(f"key show --home {NINES}", ("too long", "name another place")),
    "a home that has keys": Mistake("key new", ("never overwritten", "choose another --home")),
    "a file where a home is needed": Mistake("key new --home file", ("cannot create the folder", "choose one")),
    "a home in a file": Mistake("key new --home file/home", ("cannot create the folder", "choose one")),
    "too few words": Mistake("key recover --home new", ("24 words",)),
    "an export over a key": Mistake("key export hot member", ("never overwritten", "move it away")),
    "an export of no key": Mistake("key export cold other --home hot", ("no key", "coldkey.json")),
    "an export into a file": Mistake("key export hot file", ("cannot create the folder", "choose one")),
    "an unknown role": Mistake("key export warm other", ("'cold', 'hot'",)),
    "a home without a name": Mistake("key new --home ''", ("--home", "write a path")),
    "keys brought back into no name": Mistake("key recover --home ''", ("--home", "write a path")),
    "a network's home without a name": Mistake("up --home ''", ("--home", "write a path")),
    "a network file without a name": Mistake("status --network ''", ("--network", "write a path")),
    # producers
    "a peer that is none": Mistake("ledger join --home new --peer somewhere", ("not a peer", "40 hex digits")),
    "a place that is none": Mistake(f"ledger join --home new --at here --peer {'ab' * 20}@h:1", ("not a place",)),
    "an engine beside a chain of one process": Mistake(
        f"ledger join --home new --peer {'ab' * 20}@h:1", ("one process", "no engine can join", "init-net")
    ),
    "a producer by a name that is none": Mistake("producer retire first", ("prod_",)),
    "a bond for no producer": Mistake("producer register --producer member 500", ("priv_validator_key.json",)),
    # the demo
    "a report into a file": Mistake(
        "demo --fast --report file", ("cannot write the report", "choose another --report")
    ),
    "homes kept over others": Mistake("demo --fast --keep --report kept", ("seed-1", "choose another --report")),
    # amounts and keys of others
    "ten decimals": Mistake("transfer COLD 1.0123456789", ("at most nine decimals", "write tokens like")),
    "a negative amount": Mistake("transfer COLD -- -1", ("not an amount", "write tokens like")),
    "no amount at all": Mistake("transfer COLD nothing", ("not an amount", "write tokens like")),
    "zero": Mistake("stake add 0 --home member", ("zero", "at least one")),
    "more than there is": Mistake("stake add 5000 --home member", ("5000 tokens are needed", "are free", "add some")),
    "less than is staked at once": Mistake("stake add 0.0001 --home member", ("at least 0.001 tokens", "stake more")),
    "more than is staked": Mistake("stake remove 5 --home member", ("5 tokens", "0 are staked", "take less")),
    "a move of more than is staked": Mistake(
        "stake move 5 --home member --from HOT --to STRANGER", ("5 tokens", "0 are staked", "take less")
    ),
    "a take of no number": Mistake("stake take half --home member", ("not a percentage", "18 or 9.5")),
    "a take of too much": Mistake("stake take 19 --home member", ("too much", "18 percent at most")),
    "another's take": Mistake(
        "stake take 1 --home LOCAL --hotkey HOT", ("only a hotkey's owner",), {"DAVY_PASSWORD": "local"}
    ),
    "the take of nobody": Mistake("stake take --hotkey STRANGER", ("does not know this hotkey",)),
    "the take that it is": Mistake("stake take 18 --home member", ("is that already",)),
    "a move to nowhere": Mistake("stake move 5 --home member", ("Missing option '--to'",)),
    "a move to a coldkey": Mistake("stake move 5 --home member --to COLD", ("begins with 'hot_'",)),
    "a move to itself": Mistake("stake move 5 --home member --to HOT", ("both hotkeys are one",)),
    "more than there can be": Mistake("stake add 999999999", ("more than there can ever be",)),
    "a hotkey where a coldkey is needed": Mistake("transfer HOT 1", ("begins with 'cold_'",)),
    "a changed letter": Mistake(f"transfer {OWNER[:-1]}t 1", ("checksum", "copy it again")),
    "a wish for too much": Mistake("faucet 20000", ("up to 10000 tokens", "ask for")),
    "a part of more than all": Mistake(
        "stake lend 101 --home member --to STRANGER", ("not a percentage", "from 0 to 100")
    ),
    "a child without a UID": Mistake("stake lend 5 --home member --to STRANGER", ("no UID", "register it first")),
    "a child of one's own will": Mistake(
        "stake lend 5 --home LOCAL --from HOT --to STRANGER", ("only a hotkey's owner",), {"DAVY_PASSWORD": "local"}
    ),
    "a loan that is none": Mistake("stake lend 0 --home member --to STRANGER", ("nothing is lent", "stake children")),
    "half a consent": Mistake("stake lend 5 --home member --to STRANGER --consent ab", ("128 hex digits", "copy")),
    # keys that are replaced
    "a hotkey in its own place": Mistake("key rotate member --home member", ("knows this key already", "new one")),
    "a swap that was not announced": Mistake("key swap stranger --home member", ("no swap is announced", "first")),
    "a successor without a home": Mistake("key rotate nowhere --home member", ("not a home of davy",)),
    # budgets
    "a budget of no tickets": Mistake("budget open 5 --home member --tickets 0", ("--tickets", "1<=x")),
    "a budget of no deposit": Mistake("budget open 0 --home member --tickets 1", ("0.001 tokens or more",)),
    "half a budget's id": Mistake("budget show abcd", ("64 hex digits", "davy budget open")),
    "a budget that is not there": Mistake(f"budget close {'0' * 64} --home member", ("no budget of this id",)),
    "tickets that are none": Mistake("budget convict file file --home member", ("not a valid SignedTicket",)),
    # proofs
    "a proof of too little": Mistake("verify stake HOT", ("write: davy verify stake",)),
    "a proof of no number": Mistake("verify subnet one", ("not a number from 0",)),
    "a proof of no hex": Mistake("verify key xyz", ("not written in hex",)),
    "a proof of no kind": Mistake("verify everything", ("is not one of",)),
    "a kept proof that is none": Mistake("verify saved file", ("not a valid SavedProof",)),
    "a kept proof kept again": Mistake("verify saved file --save other", ("write: davy verify saved FILE",)),
    # the network
    "no network file": Mistake("status --network nowhere.json", ("no network file", "davy up")),
    "a broken network file": Mistake("status --network file", ("not a network file", "copy it again")),
    "a folder as network file": Mistake("status --network empty", ("cannot read", "empty")),
    "an unreachable ledger": Mistake(
        "status --network dead.json", ("does not answer (nothing listens there)", "check that it runs")
    ),
    "a ledger of no host": Mistake("status --network away.json", ("does not answer", "check that it runs")),
    "a ledger of no address": Mistake("status --network wild.json", ("not an address of a ledger", "http://host:port")),
    "a ledger that is another server": Mistake("status --network web.json", ("not a ledger", "check the address")),
    "another chain": Mistake("status --network other.json", ("another chain",)),
    "a faucet that is not there": Mistake("faucet --network dead.json", ("no faucet", "davy transfer")),
    "an unreachable faucet": Mistake(
        "faucet --network dry.json", ("does not answer (nothing listens there)", "davy up")
    ),
    "a faucet of no address": Mistake("faucet --network odd.json", ("not an address", "davy up")),
    "an unknown subnet": Mistake("status --netuid 9", ("no subnet 9", "it has 1")),
    "an unknown subnet to register on": Mistake("register --netuid 1 --netuid 9", ("no subnet 9", "it has 1")),
    "an unknown UID": Mistake("why 900", ("no UID 900", "davy status")),
    "no UID and no hotkey": Mistake("why nobody", ("names no miner", "davy status")),
    "a UID without end": Mistake(f"why {NINES}", ("names no miner", "davy status")),
    "a coldkey to ask about": Mistake("why cold_aaaa", ("names no miner", "hot_")),
    "a hotkey with a changed letter": Mistake("why hot_aaaa", ("copy it again",)),
    "an unknown hotkey": Mistake(f"why {STRANGER}", ("no such hotkey", "davy status")),
    # registering
    "registered already": Mistake("register --home member", ("has UID", "already")),
    "no tokens": Mistake("register", ("holds 0", "add tokens")),
    "a price above the limit": Mistake("register --price-limit 0.000001", ("above your limit", "--price-limit")),
    # subnets
    "another's subnet": Mistake("subnet set 1 tempo=20 --home member", ("another coldkey", "--home")),
    "a subnet that is not there": Mistake("subnet set 9 tempo=20 --home member", ("no subnet 9", "it has 1")),
    "a setting without a value": Mistake("subnet set 1 tempo", ("'tempo' is not a setting", "name=number")),
    "a setting that is no number": Mistake("subnet set 1 tempo=fast", ("'tempo=fast' is not a setting", "name=number")),
    "a setting twice": Mistake("subnet set 1 tempo=20 tempo=30", ("tempo is given twice",)),
    "an unknown setting": Mistake("subnet set 1 speed=5", ("no parameter 'speed'", "names are")),
    "a setting out of range": Mistake("subnet set 1 tempo=1", ("tempo must lie between 2 and",)),
    "nothing to set": Mistake("subnet set 1", ("Missing argument 'KEY=VALUE…'",)),
    "a change too far": Mistake(
        "subnet set 1 tempo=90000 --home LOCAL", ("one change brings tempo", "next epoch"), {"DAVY_PASSWORD": "local"}
    ),
    # miners and models
    "no folder": Mistake("miner --home member -o folder=nowhere", ("no folder", "name the folder")),
    "a file as model": Mistake("miner --home member -o folder=file", ("no folder", "name the folder")),
    "an empty folder": Mistake("miner check --offline -o folder=empty", ("no config.json", "name the folder")),
    "a folder without config": Mistake("model register -o folder=unconfigured", ("no config.json", "name the folder")),
    "pickled weights": Mistake("model register -o folder=pickled", ("pytorch_model.bin", "safetensors only")),
    "weights that are cut short": Mistake("model register --home member -o folder=cut", ("model.safetensors", "copy")),
    "a tokenizer that is cut short": Mistake("model register --home member -o folder=torn", ("tokenizer.json", "copy")),
    "an unknown backend": Mistake(
        "miner --home member --backend magic", ("no backend 'magic'", "huggingface or upstream")
    ),
    "an unknown file": Mistake(
        "miner --home member --backend nowhere.py:Mine", ("no file nowhere.py", "name the Python file")
    ),
    "an unknown module": Mistake(
        "miner --home member --backend nowhere:Mine", ("no module nowhere", "install its package")
    ),
    "an unknown class": Mistake("miner --home member --backend nothing.py:Mine", ("no class Mine", "after the colon")),
    "a class that is no backend": Mistake(
        "miner --home member --backend nothing.py:Nothing", ("not a backend", "SimpleBackend")
    ),
    "an unknown option": Mistake(
        "miner --home member -o order=3 -o folder=stdlib-a", ("no option 'order'", "its options are")
    ),
    "half an option": Mistake("miner --home member -o folder", ("not an option of a backend", "key=value")),
    "an unregistered hotkey": Mistake("miner -o folder=stdlib-a", ("no UID on subnet 1", "davy register --netuid 1")),
    "an unregistered model": Mistake(
        "miner --home member -o folder=stdlib-weak",
        ("not on the ledger's register", "davy model register --backend huggingface -o folder=stdlib-weak"),
    ),
    "a busy port": Mistake(
        "miner --home member --port BUSY --backend upstream -o url=http://localhost:1/v1 -o model=m", ("BUSY",)
    ),
    "an unknown model": Mistake(f"model show {'0' * 64}", ("no model of this id",)),
    "another's model to retire": Mistake(f"model retire {'0' * 64} --home member", ("no model of this id",)),
    "access of an unknown model": Mistake(f"model access {'0' * 64} any --home member", ("no model of this id",)),
    "a policy that there is not": Mistake(f"model access {'0' * 64} some", ("'some'", "'named'")),
    "names where none are named": Mistake(
        f"model access {'0' * 64} admitted --name COLD --home member", ("under 'named' only", "leave --name out")
    ),
    "a name that is no key": Mistake(
        f"model access {'0' * 64} named --name me --home member", ("begins with 'cold_'",)
    ),
    "half a model id": Mistake("model show abcd", ("64 hex digits", "davy status")),
    "a backend that ends the process": Mistake(f"{MINER} --backend leaving.py:Mine", ("leaving.py", "sys.exit")),
    "a backend whose start ends the process": Mistake(
        "model register --backend leaves.py:Mine", ("did not start", "sys.exit")
    ),
    "a module that ends the process": Mistake("model register --backend leaving:Mine", ("leaving", "sys.exit")),
    "a backend of unknown types": Mistake("model register --backend untyped.py:Mine", ("untyped.py", "options")),
    "a backend without a manifest": Mistake("model register --backend namely.py:Mine", ("no manifest", "namely.py")),
    "a backend with too long a name": Mistake("model register --backend named.py:Mine", ("no manifest", "named.py")),
    "an upstream server that is not there": Mistake(
        f"model register {UPSTREAM}", ("one token of 'm'", "http://localhost:1/v1", "nothing listens there")
    ),
    "an upstream server that is another one": Mistake(
        "model register --backend upstream -o url=WEB -o model=m", ("one token of 'm'", "upstream server")
    ),
    "an upstream model with too long a name": Mistake(
        f"model register --backend upstream -o url=WEB -o model={'m' * 300}", ("name=SHORTER",)
    ),
    # where a node listens
    "a host without a name": Mistake(f"{MINER} --host ''", ("--host", "write a name like")),
    "a host of 300 letters": Mistake(f"{MINER} --host {'a' * 300}", ("--host", "write a name like")),
    "a host with too long a part": Mistake(f"{MINER} --host {'a' * 64}.org", ("--host", "write a name like")),
    "a host that is not there": Mistake(f"{MINER} --host nowhere.invalid", ("no host of that name", "choose another")),
    "a host and a port": Mistake(f"{MINER} --host localhost:80", ("--host", "holds a port", "host alone")),
    "every address without a public one": Mistake(f"{MINER} --host 0.0.0.0", ("--public-host NAME", "every address")),
    "every address as a public one": Mistake(f"{MINER} --public-host ::", ("--public-host", "every address")),
    "a public host without a name": Mistake(f"{MINER} --public-host ''", ("--public-host", "write a name like")),
    "a public host of 300 letters": Mistake(f"{MINER} --public-host {'a' * 300}", ("--public-host", "write a name")),
    "a public host with spaces": Mistake(f"{MINER} --public-host 'my host'", ("--public-host", "write a name like")),
    "a public page": Mistake(f"{MINER} --public-host http://node.example.org", ("--public-host", "without http://")),
    "a public host and a port": Mistake(f"{MINER} --public-host node.example.org:80", ("holds a port", "host alone")),
    "a gateway's host without a name": Mistake("gateway --home member --host ''", ("--host", "write a name like")),
    "a validator's host of 300 letters": Mistake(
        f"validator --home member --gateway 0 --gateway-host {'a' * 300}", ("--gateway-host", "write a name like")
    ),
    "a chain's host without a name": Mistake("ledger serve --home chain --host ''", ("--host", "write a name like")),
    "a network's host that is not there": Mistake(
        "up --home new --port 0 --host nowhere.invalid", ("cannot listen on nowhere.invalid", "choose another")
    ),
    "a network's host of 300 letters": Mistake(f"up --home new --host {'a' * 300}", ("--host", "write a name like")),
    # validators
    "a source that takes nothing of ours": Mistake("validator --home member --source os:system", ("os:system", "mend")),
    "a source that is none": Mistake("validator --home member --source operator:is_", ("makes a bool", "run")),
    "a source that ends the process": Mistake("validator --home member --source leaving:Mine", ("leaving", "sys.exit")),
    "a source that raises": Mistake("validator --home member --source raising:Mine", ("raising", "mend")),
    "an unregistered validator": Mistake("validator", ("no UID on subnet 1", "davy register --netuid 1")),
    "exchanges of no home": Mistake("validator --home member --exchanges nowhere", ("not a home of davy",)),
    # gateways
    "an unregistered gateway": Mistake("gateway", ("no UID on subnet 1", "davy register --netuid 1")),
    "a gateway open to others": Mistake("gateway --home member --host 0.0.0.0", ("DAVY_GATEWAY_KEY", "stake")),
    "a validator's gateway open to others": Mistake(
        "validator --home member --gateway 0 --gateway-host ::", ("DAVY_GATEWAY_KEY", "stake")
    ),
    "a gateway's busy port": Mistake("gateway --home member --port BUSY", ("BUSY", "choose another")),
    "no corpus": Mistake("validator --home member --corpus nowhere", ("no folder nowhere", "name one")),
    "an empty corpus": Mistake("validator --home member --corpus empty", ("no .txt", "with text")),
    "a corpus that is too short": Mistake(
        "validator --home member --corpus short", ("short holds 30 characters", "at least 16384", "add more")
    ),
    "a corpus that says one thing": Mistake(
        "validator --home member --corpus dull", ("made of dull", "give it longer")
    ),
    "no library": Mistake("validator --home member --library nowhere", ("no folder nowhere", "name one")),
    "a library without calibration": Mistake(
        "validator --home member --library empty", ("calibration.json", "make it")
    ),
    "an unknown source": Mistake("validator --home member --source nowhere", ("no 'nowhere'", "module:name")),
    # chains
    "a wrong spec": Mistake("up --home new --subnet text:tempo", ("'tempo' is not a setting", "name=number")),
    "a subnet without a task": Mistake("up --home new --subnet :tempo=5", ("no genesis",)),
    "an unknown hyperparameter": Mistake("up --home new --subnet text:speed=5", ("no parameter 'speed'", "names are")),
    "a hyperparameter out of range": Mistake("up --home new --subnet text:tempo=1", ("tempo must lie between 2 and",)),
    "a number without end": Mistake(f"up --home new --parameters unbonding={NINES}", ("not a setting", "name=number")),
    "an unknown mechanism": Mistake("up --home new --subnet text:mechanism=x", ("no mechanism", "choose one of")),
    "more than all shares": Mistake("up --home new --subnet a:share=600000 --subnet b:share=600000", ("sum to more",)),
    "no allocation": Mistake("up --home new --allocate me", ("not an allocation", "write cold_")),
    "an allocation of too much": Mistake("up --home new --allocate COLD=20999999", ("more than the supply",)),
    "a busy port for a chain": Mistake("up --home new --port BUSY", ("BUSY", "--port")),
    "a file where the network file's folder is needed": Mistake(
        "up --home new --port 0 --network file/n.json", ("file",)
    ),
    "other rules for a chain": Mistake("up --home chain --subnet text:tempo=5", ("already", "choose another --home")),
    "a chain made twice": Mistake("ledger init --home chain --owner COLD", ("has a chain already", "another --home")),
    "a note that is no text": Mistake("ledger init --home new --owner COLD --note \udcff", ("no UTF-8", "anew")),
    "a subnet that is no text": Mistake("up --home new --subnet \udcff", ("no UTF-8", "anew")),
    "a wrong owner": Mistake("ledger init --home new --owner HOT", ("begins with 'cold_'",)),
    "producers without a place each": Mistake(
        "ledger init-net --home net --owner COLD --at 127.0.0.1:9000", ("1 places for 4 producers", "once for each")
    ),
    "a producer at no port": Mistake(
        "ledger init-net --home net --owner COLD --producers 1 --at 127.0.0.1:x", ("not a place", "write host:port")
    ),
    "a producer for all addresses": Mistake(
        "ledger init-net --home net --owner COLD --producers 1 --at 0.0.0.0:9000", ("0.0.0.0", "every address")
    ),
    "producers in a folder that is used": Mistake(
        "ledger init-net --home chain --owner COLD", ("is not empty", "new folder")
    ),
    "producers where a socket has too long a path": Mistake(
        f"ledger init-net --home {'n' * 90} --owner COLD", ("too long for a socket", "shorter path")
    ),
    "too many producers": Mistake("ledger init-net --home net --owner COLD --producers 129", ("129", "1<=x<=128")),
    "a home that is no producer's": Mistake("ledger start --home chain", ("not a producer's home", "init-net")),
    "no chain to serve": Mistake("ledger serve", ("has no chain", "davy ledger init")),
    # words
    "an unknown command": Mistake("mine", ("No such command 'mine'", "davy --help")),
    "an unknown flag": Mistake("status --fast", ("No such option '--fast'", "davy status --help")),
    "a missing word": Mistake("transfer", ("Missing argument 'TO'",)),
}


@pytest.fixture
def words(place: Path, network: Network, say: Say) -> Callable[[str], str]:
    """Fill in what a row of the table cannot know, and make what it speaks of."""
    shown = say("key", "show", "--home", "member", "--json").json
    there = json.loads((place / "network.json").read_text())
    dead = {**there, "ledger": "http://127.0.0.1:1"}
    dead.pop("faucet")
    (place / "dead.json").write_text(json.dumps(dead))
    for name, ledger in (
        ("away", "http://nowhere.invalid:26657"),
        ("wild", f"http://{'a' * 300}"),
        ("web", there["faucet"]),
    ):
        (place / f"{name}.json").write_text(json.dumps({**there, "ledger": ledger}))
    (place / "odd.json").write_text(json.dumps({**there, "faucet": f"http://{'a' * 300}"}))
    (place / "dry.json").write_text(json.dumps({**there, "faucet": "http://127.0.0.1:1/faucet"}))
    (place / "other.json").write_text(json.dumps({**there, "chain": "0" * 64}))
    local = str(network.file.parent / "local")
    meant = {
        "LOCAL": local,
        "STRANGER": STRANGER,
        "COLD": shown["coldkey"],
        "HOT": shown["hotkey"],
        "BUSY": str(network.port),
        "WEB": there["ledger"],
    }

    def fill(typed: str) -> str:
        for name, value in meant.items():
            typed = typed.replace(name, value)
        return typed

    return fill


def check_sentence(said: Said, told: list[str]) -> None:
    """One sentence on standard error, nothing on standard output, exit code 2."""
    assert said.code == 2, said
    assert said.out == ""
    assert said.err.startswith("davy: ")
    assert said.err.count("\n") == 1, said.err
    assert len(said.err) < 500
    assert "Traceback" not in said.err
    for part in told:
        assert part in said.err
    for leak in ("Errno", "Error(", "aiohttp", "anyio", "msgspec", "Client", "codec", "base units"):
        assert leak not in said.err


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_one_sentence_and_changes_nothing(
    name: str, place: Path, words: Callable[[str], str], say: Say
) -> None:
    mistake = MISTAKES[name]
    before = contents(place)
    said = say(*shlex.split(words(mistake.typed)), **mistake.environment)
    check_sentence(said, list(map(words, mistake.told)))
    assert contents(place) == before


@pytest.fixture
def near() -> Iterator[Path]:
    """A folder whose path leaves room for the name of a socket."""
    with tempfile.TemporaryDirectory(prefix="dv-") as folder:
        yield Path(folder)


VOTED, SETTINGS = "data/priv_validator_state.json", "config/config.toml"


@pytest.mark.parametrize(
    ("command", "file", "data", "told"),
    [
        ("serve", VOTED, b"{}", ("an engine", "davy ledger start")),
        ("start", VOTED, None, (VOTED, "what this producer voted for", "restore it", "docs/engine.md")),
        ("start", VOTED, b"", (VOTED, "restore it", "docs/engine.md")),
        ("start", VOTED, b'{"height": 7, "round": 0, "step": 0}', (VOTED, "restore it")),
        ("start", SETTINGS, b"moniker = davy", (SETTINGS, "line 1", "mend it")),
        ("start", SETTINGS, b"\xff", (SETTINGS, "mend it")),
        ("start", SETTINGS, b"statesync = 1", (SETTINGS, "mend it")),
        ("start", SETTINGS, b"[statesync]\nenable = true\n", (SETTINGS, "rpc_servers", "mend it")),
        ("start", SETTINGS, b"[statesync]\nenable = true\nrpc_servers = 1\n", (SETTINGS, "mend it")),
    ],
)
def test_what_is_wrong_with_a_producer_s_home_is_told_in_one_sentence(
    command: str, file: str, data: bytes | None, told: tuple[str, ...], near: Path, say: Say
) -> None:
    assert say("ledger", "init-net", "--home", str(near / "n"), "--owner", OWNER, "--producers", "1").code == 0
    broken = near / "n/producer-1/engine" / file
    broken.unlink()
    if data is not None:
        broken.write_bytes(data)
    before = contents(near)
    check_sentence(say("ledger", command, "--home", str(near / "n/producer-1"), DAVY_ENGINE="nowhere"), list(told))
    assert contents(near) == before


def test_a_producer_s_home_lacks_an_engine_and_no_more(near: Path, say: Say) -> None:
    """What was told above is wrong there and nowhere else."""
    assert say("ledger", "init-net", "--home", str(near / "n"), "--owner", OWNER, "--producers", "1").code == 0
    voted = near / "n/producer-1/engine" / VOTED
    voted.write_bytes(b'{"height": "71", "round": 0, "step": 3, "signature": "AA==", "signbytes": "AA"}')
    started = say("ledger", "start", "--home", str(near / "n/producer-1"), DAVY_ENGINE="nowhere")
    check_sentence(started, ["install-engine"])


def test_keys_whose_words_nobody_saw_are_not_kept(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        made = subprocess.run(
            [sys.executable, "-c", "from davy.cli import main; main()", "key", "new", "--quick"],
            env={**os.environ, "DAVY_HOME": str(tmp_path / "home"), "DAVY_PASSWORD": "a"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert made.returncode == 2
    assert made.stderr.count("\n") == 1
    assert [p for p in (tmp_path / "home").rglob("*") if p.is_file()] == []
