"""A backend by name: found, built from its options, or refused in one sentence that says what to do."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from davy.miners.loading import load_backend, option
from davy.protocol.errors import Misconfigured

GOOD = """
from davy.miners.simple import SimpleBackend

class Mine(SimpleBackend):
    def __init__(self, order: int, *, rate: float = 0.5, loud: bool = False, word: str = "a", start=None):
        self.said = (order, rate, loud, word, start)
    def next_token(self, tokens):
        return {1: 0.5}

class Unfinished(SimpleBackend):
    pass

class Fails(SimpleBackend):
    def __init__(self):
        raise KeyError("corpus")
    def next_token(self, tokens):
        return {}

class Nothing:
    pass

value = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    return path


def test_from_a_file_with_options(file: Path) -> None:
    backend: Any = load_backend(f"{file}:Mine", {"order": "3", "rate": "0.25", "loud": "true", "start": "x"})
    assert backend.said == (3, 0.25, True, "a", "x")
    assert backend.manifest().name == "simple"


def test_a_file_that_was_just_edited_is_read_anew(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size and the second of its change are as before, which is all that Python's bytecode looks at."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = file.stat()
    words = {"order": "3", "rate": "0.25"}
    assert load_backend(f"{file}:Mine", words).manifest().name == "simple"
    file.write_text(GOOD.replace("value = 3", "value = 4"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    load_backend(f"{file}:Mine", words)
    assert sys.modules["davy_backend_mine"].value == 4
    assert [p.name for p in file.parent.iterdir()] == [file.name], "nothing is left beside it"


def test_from_a_module() -> None:
    assert load_backend("tests.miners.stage:Letters", {}).manifest().name == "letters"


def test_an_upstream_by_its_short_name() -> None:
    backend = load_backend("upstream", {"url": "http://127.0.0.1:1/v1", "model": "m", "timeout": "3"})
    assert backend.manifest().format == "opaque"


@pytest.mark.parametrize(
    ("spec", "options", "word"),
    [
        ("vllm", {}, "no backend 'vllm'"),
        (":Mine", {}, "no backend"),
        ("FILE:", {}, "no backend"),
        ("nowhere.py:Mine", {}, "no file nowhere.py"),
        ("no_such_module:Mine", {}, "no module no_such_module"),
        ("davy.miners.no_such:Mine", {}, "no module davy.miners.no_such"),
        ("FILE:Yours", {}, "no class Yours"),
        ("FILE:value", {}, "no class value"),
        ("FILE:Nothing", {}, "is not a backend: it has no manifest and no generate and no aclose"),
        ("FILE:Unfinished", {}, "write its next_token"),
        ("FILE:Fails", {}, "did not start: KeyError: 'corpus'"),
        ("FILE:Mine", {}, "needs the option order"),
        ("FILE:Mine", {"order": "three"}, "takes order as int, not 'three'"),
        ("FILE:Mine", {"order": "1", "orders": "1"}, "no option 'orders'; its options are: order, rate"),
        ("FILE:Fails", {"order": "1"}, "it has none"),
        ("huggingface", {"folder": "/nowhere"}, "no folder /nowhere"),
        ("huggingface", {}, "needs the option folder"),
    ],
)
def test_mistakes(file: Path, spec: str, options: dict[str, str], word: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        load_backend(spec.replace("FILE", str(file)), options)
    assert word in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "word"),
    [("def (", "SyntaxError"), ("1 / 0", "ZeroDivisionError"), ("import no_such_thing", "no_such_thing")],
)
def test_a_file_that_cannot_be_imported(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(Misconfigured, match=word):
        load_backend(f"{tmp_path / 'mine.py'}:Mine", {})


def test_options_as_typed() -> None:
    assert option("url=http://x/v1?a=b") == ("url", "http://x/v1?a=b")
    for text in ("url", "=x", "a b=c"):
        with pytest.raises(Misconfigured, match="key=value"):
            option(text)


def run(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""}
    )


def test_a_miner_without_a_model_of_its_own_imports_no_torch(file: Path, tmp_path: Path) -> None:
    code = f"""
import sys, davy.miners.running, davy.miners.checking
from davy.miners.loading import load_backend
load_backend({f"{file}:Mine"!r}, {{"order": "1"}})
load_backend("upstream", {{"url": "http://127.0.0.1:1/v1", "model": "m"}})
heavy = {{"torch", "transformers", "tokenizers", "safetensors"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_small_llama_is_loaded_without_torch(tmp_path: Path) -> None:
    from tests.miners import tiny

    folder = tiny.write(tmp_path / "m")
    code = f"""
import sys
from davy.miners.loading import load_backend
load_backend("huggingface", {{"folder": {str(folder)!r}}})
assert not {{"torch", "transformers"}} & set(sys.modules)
load_backend("huggingface", {{"folder": {str(folder)!r}, "threads": "2"}})
assert "torch" in sys.modules and "transformers" not in sys.modules
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("missing", "extra"), [("torch", "torch"), ("tokenizers", "model"), ("safetensors", "model")])
def test_without_an_extra_the_sentence_names_it(tmp_path: Path, missing: str, extra: str) -> None:
    from tests.miners import tiny

    folder = tiny.write(tmp_path / "m")
    code = f"""
import sys
sys.modules[{missing!r}] = None
from davy.miners.loading import load_backend
load_backend("huggingface", {{"folder": {str(folder)!r}, "engine": "torch"}})
"""
    done = run(code, tmp_path)
    assert f"install davy[{extra}]" in done.stderr.splitlines()[-1]
