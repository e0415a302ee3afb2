"""The engine with a clock that is wrong by $DAVY_SKEW ("1h", "-15s"): for one fault, and never installed.

``python -m tests.faults.skewed_engine`` builds it beside the other one, from the same source, with two files changed:
where CometBFT asks what time it is, and where it compares a block's time with that, for which it asks Go itself. Its
program is static, so that nothing loaded before it could tell it another time, and time namespaces of Linux leave the
clock of the day alone.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from davy.ledger.driver.cometbft.install import NAME, _downloaded, _go, check_sum, is_engine
from davy.protocol.errors import Misconfigured
from tests.ledger.driver.cometbft.engines import ROOT

_ASKED: Final = "types/time/time.go"
_NOW: Final = "return Canonical(time.Now())\n}\n"
_WRONG: Final = """return Canonical(time.Now().Add(skew))
}

var skew, _ = time.ParseDuration(os.Getenv("DAVY_SKEW"))
"""
_COMPARED: Final = "state/validation.go"
_IMPORTED: Final = '\t"github.com/cometbft/cometbft/types"\n'
CHANGES: Final = {
    _ASKED: (('"sort"', '"os"\n\t"sort"'), (_NOW, _WRONG)),
    _COMPARED: (
        (_IMPORTED, _IMPORTED + '\tcmttime "github.com/cometbft/cometbft/types/time"\n'),
        ("!block.Time.Before(time.Now()", "!block.Time.Before(cmttime.Now()"),
        ("block.Time, time.Now(), tol", "block.Time, cmttime.Now(), tol"),
    ),
}
"""By file: what stands there once, and what takes its place."""
_DIGEST: Final = hashlib.sha256(repr(CHANGES).encode()).hexdigest()[:8]
SKEWED: Final = ROOT / "build/engine" / f"{NAME}-{_DIGEST}-skewed"
"""One that was built with other changes has another name, and is not taken for this one."""


def main() -> int:
    """Build it, unless it is there; returns the exit code."""
    if is_engine(SKEWED):
        return 0
    SKEWED.parent.mkdir(parents=True, exist_ok=True)
    try:
        module = _downloaded("go")
        check_sum(module.sum)
        with tempfile.TemporaryDirectory(dir=SKEWED.parent) as folder:
            source, built = Path(folder) / "source", Path(folder) / "engine"
            shutil.copytree(module.dir, source, copy_function=shutil.copyfile)
            for place in (source, *filter(Path.is_dir, source.rglob("*"))):
                place.chmod(0o755)  # what Go keeps is read-only
            for name, changes in CHANGES.items():
                text = (source / name).read_text()
                for before, after in changes:
                    if text.count(before) != 1:
                        raise Misconfigured(f"{name} is not as 0.38.26 has it; look where the engine asks for the time")
                    text = text.replace(before, after)
                (source / name).write_text(text)
            _go("go", "build", "-o", str(built), "./cmd/cometbft", where=str(source))
            built.replace(SKEWED)
    except Misconfigured as e:
        print(e, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
