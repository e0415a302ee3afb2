"""Groups of commands: one that lists them in whole sentences, and one that imports each when it is called.

So that none pays for the packages of another.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Final

import click

_LONGEST: Final = 1_000


class Whole(click.Group):
    """A click group whose help cuts no command's sentence short."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        told = [(name, c.get_short_help_str(_LONGEST)) for name, c in commands.items() if c and not c.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(told)


class Later(Whole):
    """A click group.

    Parameters
    ----------
    later
        Where commands stand, ``module:attribute``, by name. Others may be added as usual.
    """

    def __init__(self, *args: Any, later: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._later = later

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._later, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._later:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._later[cmd_name].partition(":")
        found: click.Command = getattr(importlib.import_module(module), attribute)
        return found
