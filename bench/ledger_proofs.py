"""How long a proof is, and how long a client needs to verify it: of one entry of a full subnet, and of a header.

    python -m bench.ledger_proofs

The state is that of `bench.ledger_rules`: 4,096 UIDs, 64 of them with a row of weights on all the others. Times are of
the processor: one thread, whatever else runs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

from bench.ledger_rules import crowded
from davy.ledger.headers import open_header
from davy.ledger.rules.records import NEURONS, neuron_key
from davy.protocol.encoding import encode
from davy.protocol.proof import check_proof
from tests.ledger.driver.cometbft.test_commits import authority, made

TIMES = 200


def microseconds(work: Callable[[], object]) -> float:
    """The median of what one call takes."""
    taken: list[float] = []
    for _ in range(TIMES):
        began = time.process_time_ns()
        work()
        taken.append((time.process_time_ns() - began) / 1e3)
    return statistics.median(taken)


def entries() -> list[str]:
    """Presence of a neuron, and absence of one that nobody has."""
    m = crowded(4_096, 64)
    root = m.apply_block(m.height + 1, m.height, []).app_hash
    found: list[str] = []
    for what, key in (("presence", neuron_key(0, 2_000)), ("absence", neuron_key(7, 9))):
        value, proof = m.prove(NEURONS.tag + key)
        took = microseconds(partial(check_proof, root, NEURONS.tag + key, value, proof))
        among = len(m.state.records)
        found.append(
            f"Proof of {what} among {among:,} entries: {len(proof.steps)} steps, {len(encode(proof)):,} bytes, "
            f"{took:.0f} µs."
        )
    return found


def headers() -> list[str]:
    """The header that names the state, with its commit."""
    found: list[str] = []
    for count in (4, 16, 100):
        raw = encode(made(count, of=count))
        took = microseconds(partial(open_header, raw, authority(count)))
        found.append(f"Header that {count} producers signed: {len(raw):,} bytes, {took / 1e3:.2f} ms.")
    return found


def measure() -> list[str]:
    return [*entries(), *headers()]


def main() -> None:
    print("\n".join(measure()))


if __name__ == "__main__":
    main()
