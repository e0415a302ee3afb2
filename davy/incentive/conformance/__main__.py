"""python -m davy.incentive.conformance FILE…: inputs of cases and their expected outputs, scenarios, traces, functions.

Prints the largest absolute error of each field of each case. Exit status: 0 all within tolerance, 1 some exceed it,
2 a file cannot be used.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from davy.incentive.conformance import cases, functions, scenarios, traces
from davy.incentive.conformance.report import Report
from davy.incentive.door import BadInput

MAX_BYTES = 256 << 20


def read(path: str) -> dict[str, Any]:
    """A JSON object of a file of at most 256 MiB."""
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise BadInput(f"{path} is larger than {MAX_BYTES} bytes")
        content: object = json.loads(Path(path).read_bytes())
    except (OSError, RecursionError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict) or not content:
        raise BadInput(f"{path} holds no JSON object")
    return cast("dict[str, Any]", content)


def kind(path: str, content: dict[str, Any]) -> str:
    """What a vector file holds, by its members."""
    if "scenarios" in content:
        return "scenarios"
    if "cases" in content and "params" in content:
        return "expected"
    if functions.FUNCTIONS.keys() & content.keys():
        return "functions"
    named = {name: value for name, value in content.items() if name != "params"}
    records = [cast("dict[str, Any]", value) for value in named.values() if isinstance(value, dict)]
    if records and all("trace" in record for record in records):
        return "traces"
    if records and all("weights" in record and "stakes" in record for record in records):
        return "cases"
    raise BadInput(f"{path} holds none of: cases, expected outputs, scenarios, traces, functions")


def _compared(path: str, holds: str, content: dict[str, Any], inputs: dict[str, Any] | None) -> Report:
    """One file's report; inputs of cases are compared with nothing, and theirs is empty."""
    if holds == "expected":
        if inputs is None:
            raise BadInput(f"{path} holds expected outputs: give the file with the cases' inputs too")
        report = Report(path, cases.TOLERANCE)
        cases.check(inputs, content, report)
        return report
    checks = {"scenarios": scenarios, "traces": traces, "functions": functions}
    if holds not in checks:
        return Report(path, cases.TOLERANCE)
    report = Report(path, checks[holds].TOLERANCE)
    checks[holds].check(content, report)
    return report


def check(paths: list[str]) -> list[Report]:
    """A report of each file that holds something to compare with.

    Raises
    ------
    BadInput
        A file cannot be used, or holds nothing to compare; cases come without their expected outputs, or these without
        them. The message names the file.
    """
    files = {path: read(path) for path in paths}
    kinds = {path: kind(path, content) for path, content in files.items()}
    given = [path for path in files if kinds[path] == "cases"]
    if len(given) > 1:
        raise BadInput(f"{' and '.join(given)} each hold inputs of cases: give one such file")
    if given and "expected" not in kinds.values():
        raise BadInput(
            f"{given[0]} holds inputs of cases: give a file with their expected outputs too, or leave it out"
        )
    inputs = files[given[0]] if given else None
    reports: list[Report] = []
    for path, content in files.items():
        try:
            reports.append(_compared(path, kinds[path], content, inputs))
        except BadInput as error:
            raise BadInput(str(error) if path in str(error) else f"{path}: {error}") from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise BadInput(f"{path} does not follow its format (tests/vectors/yuma/README.md): {error!r}") from error
    if empty := [report.path for report in reports if not report.errors and kinds[report.path] != "cases"]:
        raise BadInput(f"{empty[0]} holds nothing to compare")
    return [report for report in reports if report.errors]


def main(paths: list[str]) -> int:
    """The command; see the head of this file."""
    if not paths:
        sys.stderr.write("usage: python -m davy.incentive.conformance CASES.json EXPECTED.json, or any vector files\n")
        return 2
    try:
        reports = check(paths)
    except BadInput as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for report in reports:
        sys.stdout.write(f"{report.path}\n")
        sys.stdout.writelines(f"{line}\n" for line in report.lines())
    failures = sum(len(report.failures()) for report in reports)
    compared = sum(len(report.errors) for report in reports)
    sys.stdout.write(f"{compared - failures} of {compared} fields within tolerance\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
