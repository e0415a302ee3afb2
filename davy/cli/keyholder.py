"""`davy keyholder`: make and hold a share of the keys that can halt the network."""

from __future__ import annotations

from typing import Final

import click

from davy.cli.later import Later

_PLACES: Final = {
    "holding": ("init", "circle", "serve", "dkg", "genesis", "drill", "lease", "extend"),
    "answering": ("pending", "sign", "refuse", "carry"),
    "holding_shares": ("refresh", "repair", "status"),
}
_CHANGES: Final = {"roster": "install_roster", "raise": "raise_class", "lower": "lower_class"}


_LATER: Final = {c: f"davy.cli.{place}:{c}" for place, names in _PLACES.items() for c in names}


@click.group("keyholder", cls=Later, later=_LATER | {c: f"davy.cli.changing:{name}" for c, name in _CHANGES.items()})
def keyholder_command() -> None:
    """Hold a share of the keys that can halt the network.

    init, circle, serve, dkg, genesis: once. pending, sign, refuse: when another keyholder asks. refresh, repair: when
    a share was lost, or may have been copied. roster: when keyholders change. Neither torch nor a node is needed.
    """
