"""A miner of a stranger's class, as processes of these tests run it, and what it answers to an unsigned request."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Final

BACKEND: Final = """
from davy.miners.simple import SimpleBackend


class Mine(SimpleBackend):
    name = "mine"

    def next_token(self, tokens):
        return {97: 0.5, 98: 0.25}
"""


def hasty(fresh_s: int) -> str:
    """A function that makes a node take for fresh what is so old, instead of a minute: `--brake mine:hasty`."""
    return f"""

def hasty(brake):
    import davy.killswitch.clocks as clocks

    clocks.FRESH_MS = {fresh_s} * 1000
    return brake
"""


def status_of(local: str, model: str) -> int:
    """With which status one token of a model is answered at a miner's local port."""
    body = json.dumps({"model": model, "prompt": "a", "max_tokens": 1}).encode()
    request = urllib.request.Request(f"{local}/completions", body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        return e.code
