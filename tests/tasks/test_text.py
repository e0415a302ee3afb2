"""The task as a whole: what is asked, what is scored, and who earns."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench.adversaries import Search, answers, constant, int8, mixed, model
from bench.tasks import measure
from davy.network.openai import CompletionRequest
from davy.tasks.base import read_public_text
from davy.tasks.corpus import Disguised, private_rng
from davy.tasks.shape import LONGEST_PROMPT, Shapes, outgoing
from davy.tasks.skill import EMPTY, observe, weight
from davy.tasks.task import differences
from davy.tasks.text import ABSENT, CONTEXT, PUBLIC_MATCH, SPREAD, UNSURE, Text


def test_a_challenge_asks_what_its_prompt_promises(task: Text, corpus: Disguised) -> None:
    rng = private_rng(b"c", netuid=0, epoch=0)
    for _ in range(60):
        c = task.challenge(rng, corpus)
        ids = task.vocabulary.encode(c.asked.prompt)
        whole = task.vocabulary.encode(c.asked.prompt + c.follows)
        assert (whole[: len(ids)] == ids).all()
        assert c.truth == whole[len(ids)]
        assert c.follows.startswith(task.vocabulary.token_bytes[c.truth].decode())
        assert task.base.longest_match(ids) <= PUBLIC_MATCH
        assert task.base.distribution(ids).max() <= UNSURE
        assert 80 * (1 - SPREAD) <= len(c.asked.prompt) <= 700 * (1 + SPREAD)
        assert (c.asked.temperature, c.asked.logprobs, c.asked.echo) == (0.0, 20, False)
        assert c.asked.return_tokens_as_token_ids


def test_a_prompt_has_about_the_size_it_imitates(task: Text, corpus: Disguised) -> None:
    lent, task.shapes = task.shapes, Shapes()
    try:
        task.shapes.observe(outgoing(CompletionRequest(model="m", prompt="x" * 200, temperature=0.0)))
        rng = private_rng(b"size", netuid=0, epoch=0)
        sizes = [len(task.challenge(rng, corpus).asked.prompt.encode()) for _ in range(200)]
    finally:
        task.shapes = lent
    assert 170 <= min(sizes) < 175
    assert 225 < max(sizes) <= 230


@pytest.mark.parametrize(
    ("size", "most", "lent"),
    [(LONGEST_PROMPT + 1, 2, 0), (LONGEST_PROMPT, 2, 1), (200, 1_024, 1), (200, 300, 1)],
)
def test_what_users_ask_keeps_no_validator_from_asking_what_miners_can_answer(
    task: Text, corpus: Disguised, size: int, most: int, lent: int
) -> None:
    before, task.shapes = task.shapes, Shapes()
    asked = CompletionRequest(model="m", prompt="x" * size, max_tokens=most, temperature=0.0)
    try:
        task.shapes.observe(outgoing(asked))
        assert len(task.shapes) == lent
        c = task.challenge(private_rng(b"long", netuid=0, epoch=0), corpus)
    finally:
        task.shapes = before
    assert len(task.vocabulary.encode(c.asked.prompt)) + c.asked.max_tokens <= CONTEXT


def test_the_same_secret_draws_the_same_challenges(task: Text, corpus: Disguised) -> None:
    draws = [[task.challenge(private_rng(s, netuid=0, epoch=0), corpus)] for s in (b"a", b"a", b"b")]
    assert draws[0] == draws[1] != draws[2]


def test_the_request_does_not_hold_the_truth(task: Text, corpus: Disguised) -> None:
    """Two challenges that differ in nothing but what follows are the same bytes to a miner."""
    c = task.challenge(private_rng(b"c", netuid=0, epoch=0), corpus)
    other = c._replace(truth=(c.truth + 1) % task.vocabulary.size, follows="")
    assert msgspec.json.encode(task.request(c)) == msgspec.json.encode(task.request(other))


def test_no_answer_is_below_every_answer_anybody_can_give(task: Text, corpus: Disguised, models: Path) -> None:
    rng = private_rng(b"absent", netuid=0, epoch=0)
    challenges = [task.challenge(rng, corpus) for _ in range(40)]
    base = answers(
        lambda cs: [task.base.distribution(task.vocabulary.encode(c.asked.prompt)) for c in cs], task, challenges
    )
    for c, a in zip(challenges, base, strict=True):
        found = differences(task, c, [None, a])
        assert found[0] == pytest.approx(-ABSENT)
        assert found[1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_searching_and_repeating_earn_nothing(task: Text, models: Path, seed: int) -> None:
    text = read_public_text(models)
    search = Search.published(task, text)
    cheats = {"constant": constant(task, text), "lookup": search, "lookup + base": mixed(search, task, 0.2)}
    for name, d in measure(task, models, cheats, seed, 256).items():
        assert weight(observe(EMPTY, d)) == 0.0, name


def test_better_models_earn_more_and_an_int8_copy_as_much(task: Text, models: Path) -> None:
    """Skill alone does not find the copy; identity must (test_identity)."""
    miners = {"good": model(models / "stdlib-a"), "weak": model(models / "stdlib-weak")}
    miners["copy"] = int8(models / "stdlib-a")
    d = measure(task, models, miners, 0, 128)
    good, weak = (observe(EMPTY, d[name]) for name in ("good", "weak"))
    assert good.skill > 2 * good.error
    assert weight(weak) < 0.5 * weight(good)
    assert good.skill > weak.skill + 2 * np.hypot(good.error, weak.error)
    assert abs(np.mean(d["good"] - d["copy"])) < 0.1
