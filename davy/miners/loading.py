"""A backend by name: ``huggingface``, ``upstream``, ``module:Class``, or ``path/to/file.py:Class``.

The files named here are the operator's own code; nothing that arrives over a network ever reaches this.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, get_type_hints

import msgspec

from davy.miners.backend import Backend, Probed
from davy.models.checkpoint import EXTRAS, check_whole, manifest_of, open_checkpoint
from davy.protocol.encoding import decode, encode
from davy.protocol.errors import DavyError, Misconfigured, said_by
from davy.protocol.limits import MAX_MANIFEST_BYTES
from davy.protocol.manifest import Manifest

BUILT_IN = {
    "huggingface": "davy.miners.huggingface:HuggingFace",
    "upstream": "davy.miners.upstream:Upstream",
}


class _AsItStands(SourceFileLoader):
    """Reads a file's source each time, and leaves no bytecode beside it.

    Python takes bytecode for good if the source has its size and the second of its change: a backend that was edited
    and loaded at once would be the old one.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def load_backend(spec: str, options: Mapping[str, str]) -> Backend:
    """Import a backend's class and construct it with its options.

    Parameters
    ----------
    options
        By the names of the constructor's parameters; the texts are converted to the types annotated there.

    Raises
    ------
    Misconfigured
        No such module, file or class; the class is no backend; an unknown, missing or unreadable option; or the
        backend itself did not start.
    """
    kind = _find(spec)
    arguments = _convert(spec, kind, options)
    try:
        backend = kind(**arguments)
    except DavyError:
        raise
    except (Exception, SystemExit) as e:
        raise Misconfigured(f"the backend {spec} did not start: {said_by(e)}") from e
    return backend


def load_manifest(spec: str, options: Mapping[str, str]) -> Manifest:
    """What the model of a backend is. A Hugging Face folder is only looked at: no torch, and no model in memory.

    Raises
    ------
    Misconfigured
        See `load_backend`.
    """
    if spec != "huggingface":
        return told_manifest(spec, load_backend(spec, options))
    if "folder" not in options:
        raise Misconfigured("the backend huggingface needs the option folder: add folder=…")
    named = {key: options[key] for key in ("name", "licence") if key in options}
    checkpoint = open_checkpoint(Path(options["folder"]))
    check_whole(checkpoint)
    return manifest_of(checkpoint, **named)


async def probed_manifest(spec: str, options: Mapping[str, str]) -> Manifest:
    """What the model of a backend is, after the backend was asked once whether it has it (`Probed`).

    Raises
    ------
    Misconfigured
        See `load_backend`; or it does not answer.
    """
    if spec == "huggingface":
        return load_manifest(spec, options)
    backend = load_backend(spec, options)
    try:
        manifest = told_manifest(spec, backend)
        if isinstance(backend, Probed):
            await backend.probe()
        return manifest
    finally:
        await backend.aclose()


def told_manifest(spec: str, backend: Backend) -> Manifest:
    """Ask a backend what it is, and hold the answer against a manifest's bounds.

    Raises
    ------
    Misconfigured
    """
    try:
        manifest = backend.manifest()
        return decode(encode(manifest), Manifest, limit=MAX_MANIFEST_BYTES)
    except (Exception, SystemExit) as e:
        raise Misconfigured(f"the backend {spec} gives no manifest that can be registered: {said_by(e)}") from e


def option(text: str) -> tuple[str, str]:
    """Split ``key=value``.

    Raises
    ------
    Misconfigured
    """
    key, equals, value = text.partition("=")
    if not (equals and key.isidentifier()):
        raise Misconfigured(f"'{text}' is not an option of a backend: write key=value")
    return key, value


def _find(spec: str) -> type[Any]:
    where, colon, name = BUILT_IN.get(spec, spec).rpartition(":")
    if not (colon and where and name):
        names = " or ".join(BUILT_IN)
        raise Misconfigured(f"there is no backend '{spec}': write {names}, module:Class or path/to/file.py:Class")
    module = _from_file(Path(where)) if where.endswith(".py") else _from_name(where)
    kind = getattr(module, name, None)
    if not inspect.isclass(kind):
        raise Misconfigured(f"{where} has no class {name}; write the class of your backend after the colon")
    missing = [m for m in ("manifest", "generate", "aclose") if not callable(getattr(kind, m, None))]
    if missing:
        raise Misconfigured(
            f"{where}:{name} is not a backend: it has no {' and no '.join(missing)}; derive it from "
            "davy.miners.simple.SimpleBackend"
        )
    unwritten: frozenset[str] = getattr(kind, "__abstractmethods__", frozenset())
    if unwritten:
        raise Misconfigured(f"{where}:{name} is not finished: write its {' and '.join(sorted(unwritten))}")
    return kind


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise Misconfigured(f"there is no file {path}: name the Python file of your backend")
    name = f"davy_backend_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_AsItStands(name, str(path)))
    if spec is None or spec.loader is None:
        raise Misconfigured(f"{path} cannot be imported: is it a Python file?")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as e:
        del sys.modules[name]
        raise Misconfigured(f"{path} cannot be imported: {said_by(e)}") from e
    return module


def _from_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as e:
        missing = e.name or ""
        if not (missing and (name == missing or name.startswith(f"{missing}."))):
            raise Misconfigured(f"{name} needs the module {missing}: install {EXTRAS.get(missing, missing)}") from e
        raise Misconfigured(f"there is no module {name}: install its package, or name a file.py:Class") from e
    except (Exception, SystemExit) as e:
        raise Misconfigured(f"{name} cannot be imported: {said_by(e)}") from e


def _convert(spec: str, kind: type[Any], options: Mapping[str, str]) -> dict[str, Any]:
    parameters = {
        p.name: p
        for p in inspect.signature(kind).parameters.values()
        if p.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
    try:
        hints = get_type_hints(kind.__init__)
    except Exception as e:
        raise Misconfigured(f"the options of {spec} cannot be told from its __init__: {said_by(e)}") from e
    for name in options:
        if name not in parameters:
            known = f"its options are: {', '.join(parameters)}" if parameters else "it has none"
            raise Misconfigured(f"the backend {spec} has no option '{name}'; {known}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            raise Misconfigured(f"the backend {spec} needs the option {name}: add {name}=…")
    return {name: _value(spec, name, text, hints.get(name, str)) for name, text in options.items()}


def _value(spec: str, name: str, text: str, hint: Any) -> Any:
    if hint is Path:
        return Path(text)
    try:
        return msgspec.convert(text, hint, strict=False)
    except (msgspec.ValidationError, TypeError):
        wanted = getattr(hint, "__name__", str(hint))
        raise Misconfigured(f"the backend {spec} takes {name} as {wanted}, not '{text}'") from None
