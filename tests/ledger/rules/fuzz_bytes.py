"""`fuzz_blocks.play`, steered by coverage: ``python -m tests.ledger.rules.fuzz_bytes FOLDER -max_total_time=600``.

Whatever reached something new stays in the folder. ``--replay FOLDER`` plays it again and prints a digest of all app
hashes, which must not depend on PYTHONHASHSEED. atheris is in requirements/fuzz.txt only; `make fuzz` installs it.
"""

from __future__ import annotations

import hashlib
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any


def main() -> int:
    if sys.argv[1] == "--replay":
        from tests.ledger.rules.fuzz_blocks import digest

        found = sorted(path for path in Path(sys.argv[2]).iterdir() if path.is_file())
        print(len(found), digest([path.read_bytes() for path in found]))
        return 0
    engine: Any = None
    try:
        import atheris  # pyright: ignore[reportMissingImports, reportMissingModuleSource]

        engine = atheris
    except ImportError:
        print("atheris is not installed: nothing is fuzzed by coverage")
    rooms = ["davy.ledger.rules", "davy.protocol", "davy.killswitch"]
    with nullcontext() if engine is None else engine.instrument_imports(include=rooms):
        from tests.ledger.rules import fuzz_blocks
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for seed in fuzz_blocks.seeds():
        (folder / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
    if engine is not None:
        engine.Setup([*sys.argv, "-max_len=4096", "-timeout=60"], lambda data: fuzz_blocks.play(data) and None)
        engine.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
