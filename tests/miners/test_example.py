"""A stranger's miner: a package outside davy, installed by itself, at most 25 lines, that answers and can be scored."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from davy.miners.loading import load_backend
from davy.network.openai import parse_response
from tests.miners.stage import ask, start

EXAMPLE = Path(__file__).parents[2] / "examples" / "miner"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's wheel, built and unpacked where a stranger's site-packages would be."""
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(EXAMPLE), str(copy)], check=True)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=copy, check=True, capture_output=True
    )
    (wheel,) = (copy / "dist").glob("*.whl")
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(site)], check=True)
    monkeypatch.syspath_prepend(str(site))
    return site


@pytest.mark.anyio
async def test_it_answers_with_honest_probabilities(installed: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("return the value of the argument.\n" * 3)
    miner = await start(load_backend("trigram:Trigram", {"corpus": str(corpus)}))
    body = {"model": "trigram", "prompt": "return the va", "max_tokens": 20, "temperature": 0, "logprobs": 20}
    choice = parse_response((await miner.call(ask(body))).body).choices[0]
    assert choice.text == "lue of the value of "
    assert choice.logprobs is not None
    assert all(sum(map(math.exp, top.values())) < 1 for top in choice.logprobs.top_logprobs)
    body["prompt"] = "€"  # nothing of it is in the corpus
    assert (await miner.call(ask(body))).status == 200


def test_it_is_as_short_as_promised() -> None:
    (source,) = EXAMPLE.rglob("*.py")
    assert len(source.read_text().splitlines()) <= 25
