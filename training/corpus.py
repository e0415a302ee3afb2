"""The text our models learn from: the documentation inside the running interpreter's standard library.

    python -m training.corpus --out davy/models

Docstrings of the library's Python sources (read with `ast`, nothing of them is run), docstrings of what is written in C
(by inspection), and the language reference behind `help()`. A document is one signature with its docstring, or a
stretch of a reference topic. Near-duplicates go first; only then a seeded hash picks the held-out part, and only among
documents that share next to nothing with any other. Writes `training.txt.xz` and `heldout.txt`.

Another version of Python holds other text: the two files are kept, and training reads them, never the library.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import inspect
import lzma
import sys
import sysconfig
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from davy.models import SEPARATOR

SHINGLE = 32
DUPLICATE = 0.3  # a document is dropped if this share of its shingles stands in an earlier one
SHARED_LIMIT = 0.05  # the most a held-out document may share with all the others
HELD_OUT = 0.1  # of the documents that may be held out
SHORTEST, LONGEST = 60, 2400  # characters of a document

_LEFT_OUT = set("test tests idle_test lib2to3 idlelib site-packages _bundled turtledemo __pycache__".split())
_NOT_IMPORTED = set("antigravity this idlelib lib2to3 turtle turtledemo tkinter __main__ test".split())


def shingles(text: str) -> set[str]:
    """All stretches of 32 characters, runs of white space counted as one space."""
    plain = " ".join(text.split())
    return {plain[i : i + SHINGLE] for i in range(max(1, len(plain) - SHINGLE + 1))}


def clean(text: str) -> str:
    """Docstring without its indentation, tabs, trailing blanks, doctest rulers and characters outside ASCII."""
    text = unicodedata.normalize("NFKD", inspect.cleandoc(text)).encode("ascii", "ignore").decode()
    lines = [line.rstrip() for line in text.splitlines()]
    lines = [line for line in lines if not line or set(line.strip()) - set("-=*~#^_+ ")]
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append("".join(c for c in line if c.isprintable()))
    return "\n".join(kept).strip()


def from_sources(library: Path) -> Iterator[tuple[str, str]]:
    """(name, document) of every docstring in the Python sources under `library`."""
    for path in sorted(library.rglob("*.py")):
        inner = path.relative_to(library)
        if _LEFT_OUT & set(inner.parts) or inner.parts[0].startswith("config-"):
            continue
        parts = inner.with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):  # a template, or a source of another version
            continue
        yield from _docstrings(tree, module, f"module {module}")


def _docstrings(node: ast.AST, name: str, heading: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node, clean=False)
        if text:
            yield name, f"{heading}\n\n{clean(text)}"
        for child in node.body:
            if isinstance(child, ast.ClassDef):
                yield from _docstrings(child, f"{name}.{child.name}", f"class {name}.{child.name}")
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                bare = _without_annotations(child.args)
                yield from _docstrings(child, f"{name}.{child.name}", f"{name}.{child.name}({ast.unparse(bare)})")


def _without_annotations(arguments: ast.arguments) -> ast.arguments:
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return arguments


def from_extensions(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(name, document) of what the named modules define in C: their functions, classes and methods."""
    for name in sorted(names):
        if name in _NOT_IMPORTED:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = importlib.import_module(name)
        except ImportError:  # not built on this platform
            continue
        if not getattr(module, "__file__", "").endswith(".py") and module.__doc__:
            yield name, f"module {name}\n\n{clean(module.__doc__)}"
        yield from _members(module)


def _members(module: ModuleType) -> Iterator[tuple[str, str]]:
    for attribute, value in sorted(vars(module).items()):
        name = f"{module.__name__}.{attribute}"
        if inspect.isbuiltin(value):
            yield name, _described(name, value)
        elif inspect.isclass(value) and value.__module__ in {module.__name__, "builtins"} and not _in_python(value):
            yield name, _described(f"class {name}", value)
            for inner, member in sorted(vars(value).items()):
                if isinstance(getattr(member, "__doc__", None), str) and not isinstance(member, str):
                    yield f"{name}.{inner}", _described(f"{name}.{inner}", member)


def _in_python(kind: type) -> bool:
    try:
        inspect.getsourcefile(kind)
    except TypeError:
        return False
    return "__dict__" in vars(kind) or hasattr(kind, "__firstlineno__")


def _described(heading: str, value: object) -> str:
    signature = getattr(value, "__text_signature__", None)
    return f"{heading}{signature if isinstance(signature, str) else ''}\n\n{clean(inspect.getdoc(value) or '')}"


def from_topics() -> Iterator[tuple[str, str]]:
    """(name, document) of the reference behind `help()`, cut at blank lines."""
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    for name, text in sorted(topics.items()):
        for number, piece in enumerate(_cut(clean(text))):
            yield f"topic.{name}.{number}", piece


def _cut(text: str) -> Iterator[str]:
    piece = ""
    for paragraph in text.split("\n\n"):
        if piece and len(piece) + len(paragraph) > LONGEST:
            yield piece
            piece = ""
        piece = f"{piece}\n\n{paragraph}" if piece else paragraph
    if piece:
        yield piece


def without_duplicates(documents: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Documents cut to `LONGEST`, less those too short or mostly seen before."""
    seen: set[str] = set()
    kept: list[tuple[str, str]] = []
    for name, text in documents:
        for number, piece in enumerate(_cut(text)):
            own = shingles(piece)
            if len(piece) >= SHORTEST and len(own & seen) < DUPLICATE * len(own):
                kept.append((f"{name}.{number}", piece))
                seen |= own
    return kept


def split(documents: Iterable[tuple[str, str]], seed: int) -> tuple[list[str], list[str]]:
    """(training, held out); a held-out document shares at most `SHARED_LIMIT` of its shingles with all the others."""
    documents = list(documents)
    sets = [shingles(text) for _, text in documents]
    frequency = Counter(shingle for own in sets for shingle in own)
    training: list[str] = []
    held_out: list[str] = []
    for (name, text), own in zip(documents, sets, strict=True):
        shared = sum(frequency[shingle] > 1 for shingle in own) / len(own)
        draw = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big") / 2**64
        (held_out if shared <= SHARED_LIMIT and draw < HELD_OUT else training).append(text)
    return training, held_out


def main() -> None:
    """Write the two parts of the corpus and say how large they are."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=20261123)
    options = parser.parse_args()
    library = Path(sysconfig.get_paths()["stdlib"])
    found = [*from_sources(library), *from_extensions(sys.stdlib_module_names), *from_topics()]
    kept = without_duplicates(found)
    training, held_out = split(kept, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "heldout.txt").write_text(SEPARATOR.join(held_out), "ascii")
    packed = lzma.compress(SEPARATOR.join(training).encode("ascii"), preset=9 | lzma.PRESET_EXTREME)
    (options.out / "training.txt.xz").write_bytes(packed)
    print(f"{len(found)} documents found, {len(kept)} kept")
    print(f"training: {len(training)} documents, {sum(map(len, training))} characters, {len(packed)} bytes packed")
    print(f"held out: {len(held_out)} documents, {sum(map(len, held_out))} characters")


if __name__ == "__main__":
    main()
