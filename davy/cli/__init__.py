"""The command `davy`. Subcommands are imported when they are called, so that none pays for another one's packages.

May import: every room. It is the only one that imports host: real clocks, entropy and stores are made here and handed
in.
"""

import click

import davy


@click.group()
@click.version_option(davy.__version__, prog_name="davy")
def main() -> None:
    """Run the parts of a market for machine intelligence with a brake."""
