"""The command `davy`. Subcommands are imported when they are called, so that none pays for another one's packages.

May import: every room. It is the only one that imports host: real clocks, entropy and stores are made here and handed
in.

Flows through: words typed by a person in; one sentence or a table out, or JSON with ``--json``. A mistake ends with one
sentence that says what to do and exit code 2, never with a traceback.

A subcommand stands in the module of its name (`COMMANDS`). Some are in files of their own or need more:

================  ======================================================================================
`later`           a group whose commands are imported when they are called
`options`         options that several commands share: home, password, JSON, amounts
`network`         which network a command speaks to; `genesis` makes one
`act`             one transaction: signed, submitted, acknowledged
`output`          JSON for programs, aligned words for people
`surroundings`    the three streams, and what a machine does not let us do
`loop`, `ending`  how a command runs what is asynchronous, and how it ends
`engine`, `join`  of `ledger`: several producers
`replacing`       of `key`: rotate, announce-swap, swap
`lending`         of `stake`: lend, consent, children
`clock`           of `brake`: the time that a node has kept
`probing`         of `brake`: probe
`targets`         of `halt` and `keyholder drill`: what can be halted, as it is typed
`ordering`        an order from words typed by a keyholder: signed, and released by every route
`gathering`       who is asked for an order's signature, and how; `carrying` does it by sheets
`keyholding`      of `keyholder`: its home and the parts of its process; `circles` are those it keeps
`attending`       its process that waits for the others, and the one that brings them together
`belonging`       init, circle, genesis
`holding`         serve, dkg, drill, extend; `answering` is pending, sign, refuse, carry
`holding_shares`  refresh, repair, status
`leasing`         lease, raise, lower, heartbeat
`changing`        roster
================  ======================================================================================
"""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn, TypeVar, cast

import click

import davy
from davy.cli.later import Later
from davy.cli.surroundings import leave_output, place_of, take_streams
from davy.protocol.errors import DavyError

E = TypeVar("E", bound=BaseException)

COMMANDS: Final = {
    "key": "Make, show, recover, export and replace keys.",
    "up": "Run a local network that persists: a ledger, a subnet and a faucet.",
    "ledger": "Run a ledger from a genesis.",
    "producer": "Take a seat among the producers of blocks, leave it, or see who has one.",
    "faucet": "Ask a local network's faucet for tokens.",
    "register": "Register this home's hotkey on a subnet, or see what it would cost.",
    "subnet": "Change a subnet that you own.",
    "stake": "Add, remove, move, lend or list stake; see or set a hotkey's take.",
    "transfer": "Send tokens to another coldkey.",
    "model": "Register a model, look one up, or retire one.",
    "budget": "Open, show or close a budget of tickets; convict whoever spent one twice.",
    "miner": "Serve a model, or check that it would be served well.",
    "validator": "Challenge, score, commit and reveal.",
    "gateway": "Answer users at one OpenAI-compatible URL.",
    "ask": "Ask one miner, and keep what it signs for.",
    "status": "Show a subnet's metagraph, its hyperparameters and what its owner is changing.",
    "keyholder": "Hold a share of the keys that can halt the network.",
    "halt": "Stop a model, a miner, a subnet or everything, with the other keyholders.",
    "lift": "Let what was halted run again.",
    "gossip": "Carry orders by libp2p, for the node that started it.",
    "brake": "Show what is halted and who knows it; convict whoever served after a halt.",
    "verify": "Prove what the ledger's state holds or does not hold; keep such a proof, or check one.",
    "why": "Show why a miner's standing is what it is: scores, evidence, pay.",
    "sim": "Play attacks on the incentive, and report what they earn, cost and hurt.",
    "demo": "Run a whole market, halt one of its models, and check the claims.",
}
"""Each stands in a module of its own name, as a click command of that name with the suffix `_command`."""


class _Lazy(Later):
    """Lists what there is without importing it."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, later={c: f"davy.cli.{c}:{c}_command" for c in COMMANDS})
@click.version_option(davy.__version__, prog_name="davy")
def cli() -> None:
    """Run the parts of davy, a market for machine intelligence with a brake."""


def main() -> None:
    """Run the command line: exit code 0 for done, 1 for a claim or check that failed, 2 for a mistake to be mended."""
    # A node multiplies small matrices: more threads would wait for each other. NumPy reads this when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    take_streams()
    try:
        code: object = cli.main(prog_name="davy", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
    except click.exceptions.Exit as e:
        sys.exit(e.exit_code)
    except click.BadParameter as e:
        _refuse(e.format_message())
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message(), err=True)
        sys.exit(2)
    except click.UsageError as e:
        told = e.ctx.command_path if e.ctx else "davy"
        _refuse(f"{e.format_message().rstrip('.')}; `{told} --help` lists what there is")
    except click.ClickException as e:
        _refuse(e.format_message())
    except DavyError as e:
        _refuse(str(e))
    except OSError as e:
        _refuse(place_of(e))
    except UnicodeEncodeError as e:  # Python keeps what is no UTF-8 as halves of surrogate pairs
        if not any("\udc80" <= c <= "\udcff" for c in e.object):
            raise
        _refuse("a word that was typed holds bytes that are no UTF-8; type it anew")
    except BaseExceptionGroup as group:
        if (ours := group.subgroup(DavyError)) is not None:
            _refuse(str(_first(ours)))
        if group.subgroup(BrokenPipeError) is not None:
            _leave()
        if (machine := group.subgroup(OSError)) is not None:
            _refuse(place_of(_first(machine)))
        raise
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _refuse(sentence: str) -> NoReturn:
    leave_output()
    click.echo(f"davy: {sentence}", err=True)
    sys.exit(2)


def _leave() -> NoReturn:
    """Who reads what is printed has read enough, as `head` has: that is no mistake, and click ends the same way."""
    leave_output()
    sys.exit(1)


def _first(group: BaseExceptionGroup[E]) -> E:
    inner = group.exceptions[0]
    return _first(cast("BaseExceptionGroup[E]", inner)) if isinstance(inner, BaseExceptionGroup) else inner
