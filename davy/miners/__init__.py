"""A miner: an OpenAI-compatible server with a guard, an admission control and receipts around a backend.

A backend is a model in this process (torch, transformers: the extra `torch`, imported by the one file that needs it),
an upstream that speaks OpenAI's API, or a class of your own.

May import: tasks and everything below it; never validators, keyholders or gateway.

Flows through: a signed request in; the response and its signed receipt out. The guard is asked before a request and
during a stream.
"""

if not __name__.startswith("davy."):
    raise ImportError("import davy.miners, not miners: the folder at the root is a link, for reading only")
