"""``python -m davy`` is `davy`: for whoever starts it by an interpreter, as a node starts its gossip process."""

from davy.cli import main

main()
