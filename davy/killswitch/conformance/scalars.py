"""Files of single values: what is a point or a scalar and what is none, and the sums of a repair."""

from __future__ import annotations

import re
from typing import Any, cast

from davy.killswitch.conformance.reading import BadFile, from_hex, member, note_others, octets
from davy.killswitch.conformance.report import Report
from davy.killswitch.group import ZERO, add_scalars, is_point, is_scalar

_NONE = re.compile("invalid|identity|small|mixed|torsion|non_?canonical|off_curve")
"""In the name of a value that is none of its kind."""


def elements(content: Any, report: Report) -> None:
    """What is called invalid, identity or the like is no point of the prime-order group; all others are."""
    note_others(content, ["elements"], report)
    for name, text in cast("dict[str, Any]", member(content, "elements")).items():
        data, valid = from_hex(text, name), not _NONE.search(name.lower())
        report.equal(f"{name} is {'a' if valid else 'no'} point", is_point(data), valid)


def samples(content: dict[str, Any], report: Report) -> None:
    """An identifier, a proof R ‖ z, points and scalars, by their names."""
    for name, text in content.items():
        if name.startswith("identifier"):
            data = from_hex(text, name)
            report.equal(f"{name} is a scalar and not zero", is_scalar(data) and data != ZERO, True)
        elif name.startswith("proof"):
            data = from_hex(text, name)
            right = len(data) == 64 and is_point(data[:32]) and is_scalar(data[32:])
            report.equal(f"{name} is a point and a scalar", right, True)
        elif name.startswith("element"):
            report.equal(f"{name} is a point", is_point(from_hex(text, name)), True)
        elif name.startswith("scalar"):
            report.equal(f"{name} is a scalar", is_scalar(from_hex(text, name)), True)
        else:
            note_others({name: text}, [], report)


def repair(content: dict[str, Any], report: Report) -> None:
    """Each section lists summands, numbered, and their sum mod L: what a helper adds up, and what the repaired does.

    Raises
    ------
    BadFile
        A section without summands or without their sum.
    """
    for title, section in content.items():
        values = cast("dict[str, Any]", section) if isinstance(section, dict) else {}
        numbered = [name for name in values if re.fullmatch(r"[a-z_]+_\d+", name)]
        sums = [name for name in values if name.endswith("_sum")]
        if not numbered and not sums and not title.endswith("_generation"):
            note_others({title: section}, [], report)
            continue
        if not numbered or len(sums) != 1:
            raise BadFile(f"{title} is to list numbered scalars and one sum of them")
        note_others(values, (*numbered, *sums), report)
        summands = {name: octets(values, name) for name in numbered}
        total = ZERO
        for name, scalar in summands.items():
            report.equal(f"{name} is a scalar", is_scalar(scalar), True)
            total = add_scalars(total, scalar) if is_scalar(scalar) else ZERO
        report.equal(sums[0], total, octets(values, sums[0]))
