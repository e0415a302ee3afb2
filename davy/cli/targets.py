"""What can be halted, as it is typed: models, a miner, a subnet, everything; the same words for a halt and a drill."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from davy.cli.options import Term
from davy.cli.ordering import Asked, order_options
from davy.protocol.errors import Misconfigured
from davy.protocol.limits import HALT_TERM_MS
from davy.protocol.order import Global, Miner, Models, Subnet
from davy.protocol.words import KeyRole, key_from_text

F = TypeVar("F", bound=Callable[..., Any])

_HEX: Final = re.compile("[0-9a-f]{64}")

Words = tuple[str, ...]
Give = Callable[..., int]
"""Called with `asked`, `target`, `term`, and what further options there are."""


def add_targets(group: click.Group, verb: str, give: Give, *further: Callable[[Any], Any]) -> None:
    """Give a group the commands model, miner, subnet and global.

    Parameters
    ----------
    verb
        Begins their help.
    further
        Options that they take besides; `give` gets them.
    """
    term = click.option(
        "--for",
        "term",
        type=Term(HALT_TERM_MS),
        default="7d",
        show_default=True,
        help="How long, such as 12h; at most 7d.",
    )

    def add(name: str, what: str, function: Callable[..., int], *words: Callable[[Any], Any]) -> None:
        for option in (order_options, *further, term, *words):
            function = option(function)
        group.command(name, help=f"{verb} {what}")(function)

    def models(asked: Asked, models: Words, files: Words, registrants: Words, **more: Any) -> int:
        return give(asked=asked, target=models_target(models, files, registrants), **more)

    def miner(asked: Asked, hotkey: str, **more: Any) -> int:
        return give(asked=asked, target=Miner(key_from_text(KeyRole.HOTKEY, hotkey)), **more)

    def subnet(asked: Asked, netuid: int, **more: Any) -> int:
        return give(asked=asked, target=Subnet(netuid), **more)

    def everything(asked: Asked, **more: Any) -> int:
        return give(asked=asked, target=Global(), **more)

    add(
        "model",
        "MODELS by their ids (64 hex digits), and what descends from them.",
        models,
        model_options,
    )
    add("miner", "the miner of HOTKEY (hot_…), whatever it serves.", miner, click.argument("hotkey"))
    add(
        "subnet",
        "all that the subnet NETUID does.",
        subnet,
        click.argument("netuid", type=click.IntRange(0, 65_535)),
    )
    add("global", "everything.", everything)


def model_options(function: F) -> F:
    """``MODELS``, ``--registrant``, ``--file``: what `models_target` reads."""
    for option in (
        click.option("--registrant", "registrants", multiple=True, metavar="COLD_…", help="All models of a coldkey."),
        click.option("--file", "files", multiple=True, metavar="HEX", help="All models with this weight file."),
        click.argument("models", nargs=-1),
    ):
        function = option(function)
    return function


def models_target(ids: Words, files: Words, registrants: Words) -> Models:
    """Read the words that name models.

    Raises
    ------
    Misconfigured, Malformed
        There are none, or one is no id, digest or coldkey.
    """
    if not (ids or files or registrants):
        raise Misconfigured("no model is named; give its id, --file or --registrant")
    return Models(
        tuple(sorted({digest_of(i, "a model id") for i in ids})),
        tuple(sorted({digest_of(f, "the digest of a file") for f in files})),
        tuple(sorted({key_from_text(KeyRole.COLDKEY, r) for r in registrants})),
    )


def digest_of(text: str, what: str) -> bytes:
    """Read 64 hex digits.

    Raises
    ------
    Misconfigured
    """
    if not _HEX.fullmatch(text.lower()):
        raise Misconfigured(f"'{text[:64]}' is not {what}: 64 hex digits; `davy status --json` shows it")
    return bytes.fromhex(text)
