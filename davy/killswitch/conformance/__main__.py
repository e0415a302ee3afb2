"""python -m davy.killswitch.conformance FILE…: signatures, the making of keys, repairs, transcripts, single values.

Prints one line for each thing that was compared. Exit status: 0 all hold, 1 some fail, 2 a file cannot be used.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from davy.killswitch.conformance import making, scalars, signing, transcript, verification
from davy.killswitch.conformance.reading import BadFile
from davy.killswitch.conformance.report import Report
from davy.protocol.errors import Refused

MAX_BYTES = 64 << 20


def read(path: str) -> Any:
    """A JSON object or list of a file of at most 64 MiB.

    Raises
    ------
    BadFile
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise BadFile(f"{path} is larger than {MAX_BYTES} bytes")
        content: object = json.loads(raw, object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise BadFile(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict | list) or not content:
        raise BadFile(f"{path} holds no JSON object or list")
    return cast("Any", content)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a member twice")
    return found


def check(path: str) -> Report:
    """Compare what a file holds.

    Raises
    ------
    BadFile
        It cannot be read, holds none of the formats, or does not follow its own.
    """
    content, report = read(path), Report(Path(path).name)
    try:
        _compare(content, report)
    except BadFile as error:
        raise BadFile(f"{path} cannot be used: {error}") from error
    except Refused as error:
        # a value that davy refuses, so that nothing after it can be computed
        report.checks.append((f"all that follows ({error})", False))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadFile(f"{path} does not follow its format (tests/vectors/frost/README.md): {error!r}") from error
    if not report.checks:
        raise BadFile(f"{path} holds nothing to compare")
    return report


def _compare(content: Any, report: Report) -> None:
    """Tell the formats apart by their members."""
    if isinstance(content, list):
        verification.check(cast("list[Any]", content), report)
        return
    match cast("dict[str, Any]", content):
        case {"round_one_outputs": _}:
            signing.check(content, report)
        case {"dkg": _} | {"key_packages": _}:
            transcript.check(content, report)
        case {"inputs": _, "config": _}:
            making.check(content, report)
        case {"elements": _}:
            scalars.elements(content, report)
        case {"sigma_generation": _} | {"scalar_generation": _}:
            scalars.repair(content, report)
        case {"proof_of_knowledge": _} | {"element1": _} | {"scalar1": _}:
            scalars.samples(content, report)
        case _:
            raise BadFile("it is not a signature, making of a key, repair, transcript, or list of values or cases")


def main(paths: list[str]) -> int:
    """The command; see the head of this file."""
    if not paths:
        sys.stderr.write("usage: python -m davy.killswitch.conformance FILE.json, or any vector files\n")
        return 2
    compared = failures = unusable = 0
    for path in paths:
        try:
            report = check(path)
        except BadFile as error:
            sys.stderr.write(" ".join(str(error).split()) + "\n")
            unusable += 1
        else:
            sys.stdout.writelines(f"{line}\n" for line in report.lines())
            compared, failures = compared + len(report.checks), failures + len(report.failures())
    if compared:
        sys.stdout.write(f"{compared - failures} of {compared} checks hold\n")
    return 2 if unusable else min(failures, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
