"""Conformance: threshold signing held against reference vectors, `python -m davy.killswitch.conformance FILE…`.

Files are told apart by what they hold (`reading`): a signature under a dealt key (`signing`), the `making` of a key or
a repair, elements and samples (`scalars`), a whole `transcript` (of `packages`, perhaps `mended`), or a list of cases
of plain `verification`. `report` prints what was compared. `postcard` is the wire format of the crate frost-ed25519.
"""
