"""A miner: an OpenAI-compatible server with a guard, an admission control and receipts around a backend.

A backend is a model in this process (the extra `model`, or `torch`, imported by the one file that needs it), an
upstream that speaks OpenAI's API, or a class of your own.

May import: tasks and everything below it; never validators, keyholders or gateway.

Flows through: a signed request in; the response and its signed receipt out. The brake's guard is asked before a
request, at its turn, before each token (`stopped`), and before a model is loaded.

======================  ==============================================================================
`backend`               the seam: a stream of tokens out of a request
`loading`               a backend by name
`simple`                a backend in one method, for a model of your own
`huggingface`           a model in this process (`davy.models`); `batching` its thread
`upstream`              a server that speaks OpenAI's API
`sampling`              from a distribution to a token that can be drawn again
`vocabulary`            tokens and text
`stop_strings`          where an answer ends
`answer`                from tokens to what OpenAI's clients read
`admission`             who is answered, and how much
`chain_view`            which anchors can be answered
`serving`               the model in service
`server`                what is done with a request
`node`                  follows the ledger and keeps its record right
`withheld`              what stands in for a model that is halted at the start
`running`               a whole miner as one process
`checking`              what a validator would see
======================  ==============================================================================
"""

if not __name__.startswith("davy."):
    raise ImportError("import davy.miners, not miners: the folder at the root is a link, for reading only")
