"""Tasks are found by name; a stranger's package adds one in few lines; no torch is needed until a model runs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from davy.network.openai import Choice, CompletionRequest, CompletionResponse
from davy.protocol.errors import BadAnswer, Misconfigured
from davy.tasks.corpus import Disguised
from davy.tasks.task import Setting, differences, open_task, task_names

STRANGER = """
from typing import NamedTuple
import numpy as np
from davy.network.openai import CompletionRequest
from davy.tasks.task import ANY_MODEL, BadAnswer

class Sum(NamedTuple):
    prompt: str
    truth: int

class Sums:
    def __init__(self, setting): ...
    def challenge(self, rng, corpus):
        a, b = rng.integers(1000, size=2)
        return Sum(f"{a}+{b}=", int(a + b))
    def request(self, c):
        return CompletionRequest(model=ANY_MODEL, prompt=c.prompt, max_tokens=8, temperature=0.0)
    def parse(self, c, r):
        try:
            return int(r.choices[0].text)
        except (IndexError, ValueError):
            raise BadAnswer("not a number") from None
    def score(self, c, answers):
        return np.array([float(a == c.truth) for a in answers])
    def baseline(self, c):
        return 0.0
"""


def test_a_strangers_task_is_short_and_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus: Disguised
) -> None:
    assert len(STRANGER.strip().splitlines()) <= 25
    (tmp_path / "strange.py").write_text(STRANGER)
    info = tmp_path / "strange-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[davy.tasks]\nsums = strange:Sums\nbroken = strange:Nothing\ntext = strange:Sums\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert {"sums", "text", "text-open"} <= set(task_names())
    task = open_task("sums", Setting())
    c = task.challenge(np.random.default_rng(1), corpus)

    def reply(text: str) -> CompletionResponse:
        return CompletionResponse(id="", created=0, model="", choices=[Choice(0, text, finish_reason="stop")])

    assert isinstance(task.request(c), CompletionRequest)
    assert differences(task, c, [task.parse(c, reply(str(c.truth))), 1, None]).tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(BadAnswer):
        task.parse(c, reply("many"))
    assert type(open_task("text", Setting())).__module__ == "davy.tasks.text"
    with pytest.raises(Misconfigured, match="cannot be loaded from strange:Nothing"):
        open_task("broken", Setting())


def test_an_unknown_task_is_refused_by_naming_the_others() -> None:
    with pytest.raises(Misconfigured, match="installed tasks are: "):
        open_task("riddles", Setting())


@pytest.mark.parametrize("scores", [[float("nan")], [1.0, 2.0]])
def test_a_task_that_gives_no_finite_score_an_answer_is_named(scores: list[float]) -> None:
    class Faulty:
        def score(self, c: object, answers: object) -> list[float]:
            return scores

        def baseline(self, c: object) -> float:
            return 0.0

    with pytest.raises(Misconfigured, match="Faulty"):
        differences(Faulty(), None, [None])  # pyright: ignore[reportArgumentType]


def test_the_room_is_imported_without_torch() -> None:
    names = [p.stem for p in (Path(__file__).parents[2] / "davy" / "tasks").glob("*.py") if p.stem != "__init__"]
    assert {"text", "reexecution", "calibrate", "identity"} <= set(names)
    code = f"import sys, importlib\nfor n in {names!r}: importlib.import_module('davy.tasks.' + n)\n"
    code += "sys.exit(bool({'torch', 'transformers', 'tokenizers', 'safetensors'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
