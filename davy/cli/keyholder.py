"""`davy keyholder`: make and hold a share of the keys that can halt the network."""

from __future__ import annotations

from typing import Final

import click

from davy.cli.later import Later

_PLACES: Final = {
    "belonging": ("init", "circle", "genesis"),
    "holding": ("serve", "dkg", "drill", "extend"),
    "answering": ("pending", "sign", "refuse", "carry"),
    "holding_shares": ("refresh", "repair", "status"),
    "leasing": ("lease", "heartbeat"),
}
_NAMED: Final = {
    "roster": "davy.cli.changing:install_roster",
    "raise": "davy.cli.leasing:raise_class",
    "lower": "davy.cli.leasing:lower_class",
}


@click.group(
    "keyholder",
    cls=Later,
    later={c: f"davy.cli.{place}:{c}" for place, names in _PLACES.items() for c in names} | _NAMED,
)
def keyholder_command() -> None:
    """Hold a share of the keys that can halt the network.

    init, circle, serve, dkg, genesis: once. pending, sign, refuse: when another keyholder asks. refresh, repair: when
    a share was lost, or may have been copied. roster: when keyholders change. Neither torch nor a node is needed.
    """
