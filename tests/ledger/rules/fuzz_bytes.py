"""The histories of test_fuzz, steered by coverage: ``python -m tests.ledger.rules.fuzz_bytes -max_total_time=600``.

It takes atheris, which no requirement file names: it has wheels for few versions of Python. `make fuzz` runs it where
it is installed, and says so where it is not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def main() -> int:
    try:
        import atheris  # pyright: ignore[reportMissingImports]
    except ImportError:
        print("atheris is not installed: nothing was fuzzed by coverage (pip install atheris)")
        return 0
    engine: Any = atheris
    with engine.instrument_imports(include=["davy.ledger.rules", "davy.protocol"]):
        from tests.ledger.rules import test_fuzz
    one: Callable[[bytes], object] = test_fuzz.play.hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    engine.Setup(sys.argv, one)
    engine.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
