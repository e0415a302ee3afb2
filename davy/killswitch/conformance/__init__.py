"""Conformance: threshold signing held against reference vectors, `python -m davy.killswitch.conformance FILE…`.

Files are told apart by what they hold: a signature under a dealt key, the making of a key, a repair, elements, samples,
a whole transcript, or a list of cases of plain verification. `postcard` is the crate frost-ed25519's form on the wire.
"""
