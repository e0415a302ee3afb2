"""Mutants of a file: one small change each, found on the syntax tree and written into the text, which stays as it is.

Left alone is what no test of a rule can see: docstrings, annotations (but for the bounds in `Meta(…)`), the wording of
messages, and arguments that guard a programmer or set a speed (`NEUTRAL`).
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
}  # fmt: skip
OPPOSITES = {
    "min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum",
    "argmin": "argmax", "argmax": "argmin",
}  # fmt: skip
NEUTRAL = {"frozen", "slots", "strict", "maxsize"}
NEGATED_OTHERWISE = (ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Is, ast.IsNot)


class Mutant(NamedTuple):
    """A file with one change: `written` in place of its bytes from `begin` to `end`."""

    path: str
    """From the root of the repository."""
    where: str
    """The class and function around the change."""
    line: int
    source: str
    begin: int
    end: int
    written: str

    @property
    def text(self) -> str:
        raw = self.source.encode()
        return (raw[: self.begin] + self.written.encode() + raw[self.end :]).decode()

    @property
    def change(self) -> tuple[str, str]:
        """The line (of several, the first) as it was and as it is."""
        raw = self.source.encode()
        start, stop = raw.rfind(b"\n", 0, self.begin) + 1, raw.find(b"\n", self.end)
        after = raw[start : self.begin] + self.written.encode() + raw[self.end : stop]
        return raw[start:stop].decode().split("\n")[0].strip(), after.decode().strip()

    @property
    def key(self) -> str:
        """What names the change, whatever moves around it; it goes when the line or its function does."""
        return "\n".join((self.path, self.where, *self.change))

    @property
    def diff(self) -> str:
        lines = difflib.unified_diff(self.source.splitlines(), self.text.splitlines(), n=0, lineterm="")
        return "\n".join(list(lines)[3:])


def mutants(path: str, source: str) -> list[Mutant]:
    """Every mutant of a file, in the order of its text; changes that look the same stand there once."""
    lines = source.encode().splitlines(keepends=True)
    starts = [0, *accumulate(map(len, lines))]
    found: dict[str, Mutant] = {}
    for where, old, new in _changes(ast.parse(source), ()):
        written = ast.unparse(new)
        if isinstance(new, ast.expr) and not isinstance(new, ast.Constant | ast.Name | ast.Attribute | ast.Call):
            written = f"({written})"  # so that it stays one operand
        assert old.end_lineno is not None
        assert old.end_col_offset is not None
        begin, end = starts[old.lineno - 1] + old.col_offset, starts[old.end_lineno - 1] + old.end_col_offset
        m = Mutant(path, ".".join(where), old.lineno, source, begin, end, written)
        found.setdefault(m.key, m)
    return sorted(found.values(), key=lambda m: m.begin)


def inside_functions(source: str) -> set[int]:
    """Lines that run when a function is called, and not when its file is loaded."""
    functions = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return {line for f in functions for line in range(f.body[0].lineno, (f.end_lineno or 0) + 1)}


Change = tuple[ast.expr | ast.stmt, ast.expr | ast.stmt]


def _changes(node: ast.AST, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], *Change]]:
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.keyword) and node.arg in NEUTRAL):
        return
    if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
        return
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        where = (*where, node.name)
    for old, new in (*_conditions(node), *_expression(node), *_statement(node)):
        yield where, old, new
    for field, value in ast.iter_fields(node):
        children = [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, ast.AST)]
        if field in ("annotation", "returns"):
            children = [c for v in children for c in ast.walk(v) if isinstance(c, ast.Call)]
        for child in children:
            yield from _changes(child, where)


def _conditions(node: ast.AST) -> Iterator[Change]:
    """Each condition negated, unless changing its one operator does that."""
    tests = [node.test] if isinstance(node, ast.If | ast.While | ast.IfExp) else []
    tests += node.ifs if isinstance(node, ast.comprehension) else []
    for test in tests:
        one = isinstance(test, ast.Compare) and isinstance(test.ops[0], NEGATED_OTHERWISE) and len(test.ops) == 1
        if not one and not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)):
            yield test, ast.UnaryOp(ast.Not(), test)


def _expression(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(left, ops, comparators):
            for i, op in enumerate(ops):
                yield node, ast.Compare(left, [*ops[:i], COMPARISONS[type(op)](), *ops[i + 1 :]], comparators)
        case ast.BinOp(left, op, right):
            if not (isinstance(op, ast.Mod) and isinstance(left, ast.Constant) and isinstance(left.value, str | bytes)):
                yield node, ast.BinOp(left, ARITHMETIC[type(op)](), right)
        case ast.BoolOp(op, values):
            yield node, ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.USub() | ast.Invert(), operand):
            yield node, operand
        case ast.Constant(bool(value)):
            yield node, ast.Constant(not value)
        case ast.Constant(int(value)):
            yield from ((node, ast.Constant(value + step)) for step in (1, -1))
        case ast.Constant(float(value)):
            yield from ((node, ast.Constant(value * factor if value else factor)) for factor in (2.0, 0.5))
        case ast.Call(ast.Name(name), args, keywords) if name in OPPOSITES:
            yield node, ast.Call(ast.Name(OPPOSITES[name]), args, keywords)
        case ast.Call(ast.Attribute(value, name), args, keywords) if name in OPPOSITES:
            yield node, ast.Call(ast.Attribute(value, OPPOSITES[name]), args, keywords)
        case _:
            pass


def _statement(node: ast.AST) -> Iterator[Change]:
    """A result withheld, a step left out, a sum turned round."""
    match node:
        case ast.Return(ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield node, ast.Return(ast.Constant(None))
        case ast.AugAssign(target, op, value):
            yield node, ast.AugAssign(target, ARITHMETIC[type(op)](), value)
            yield node, ast.Pass()
        case ast.Assign([ast.Attribute() | ast.Subscript()]) | ast.Raise() | ast.Continue() | ast.Break():
            yield node, ast.Pass()
        case ast.Expr(ast.Call() | ast.Await()):
            yield node, ast.Pass()
        case _:
            pass
