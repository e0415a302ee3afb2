"""What a miner sees of a challenge is drawn as users' requests are: a classifier on fields and sizes cannot tell."""

from zlib import crc32

import msgspec
import numpy as np

from davy.network.openai import CompletionRequest
from davy.tasks.corpus import Disguised, private_rng
from davy.tasks.shape import LISTED, Shapes, dress, outgoing
from davy.tasks.task import ANY_MODEL
from davy.tasks.text import Text


def organic(rng: np.random.Generator) -> CompletionRequest:
    """Traffic of two made-up kinds of users, at temperature 0."""
    short = rng.random() < 0.6
    size = int(np.clip(rng.lognormal(5.2 if short else 6.2, 0.3), 100, 900))
    return outgoing(
        CompletionRequest(
            model="any",
            prompt="x" * size,
            max_tokens=4 if short else 16,
            temperature=0.0,
            stream=bool(rng.random() < (0.8 if short else 0.1)),
            stop="\n\n" if short else None,
            user="somebody",
        )
    )


def features(r: CompletionRequest) -> tuple[float, ...]:
    """Everything but the words of the prompt: its size, and each other field as a number."""
    rest = (crc32(repr(getattr(r, f)).encode()) % 9973 for f in r.__struct_fields__ if f != "prompt")
    return (float(len(r.prompt.encode())), *map(float, rest))


def auc(a: np.ndarray, b: np.ndarray) -> float:
    """Chance that a random one of `b` scores above a random one of `a`, ties half."""
    return float(((b[:, None] > a).mean() + (b[:, None] >= a).mean()) / 2)


def test_no_classifier_on_fields_and_sizes_tells_challenges_from_use(task: Text, corpus: Disguised) -> None:
    rng = np.random.default_rng(5)
    shapes = Shapes()
    seen = [organic(rng) for _ in range(1200)]
    assert all(shapes.observe(r) for r in seen)
    lent, task.shapes = task.shapes, shapes
    try:
        private = private_rng(b"shape", netuid=0, epoch=0)
        asked = [task.request(task.challenge(private, corpus)) for _ in range(600)]
    finally:
        task.shapes = lent
    use, ours = [features(r) for r in seen[:600]], [features(r) for r in asked]
    assert {len(f) for f in use} == {len(f) for f in ours}
    for column in range(len(use[0])):
        a, b = (np.array([f[column] for f in rows]) for rows in (use, ours))
        assert 0.45 <= auc(a, b) <= 0.55, column
    assert neighbours_auc(np.array(use), np.array(ours), rng) <= 0.55


def neighbours_auc(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> float:
    """Nearest neighbours on half of the rows, judged on the other half."""
    x, y = np.vstack([a, b]), np.repeat([0.0, 1.0], [len(a), len(b)])
    x = (x - x.mean(0)) / (x.std(0) + 1e-9)
    order = rng.permutation(len(x))
    train, test = order[: len(x) // 2], order[len(x) // 2 :]
    apart = np.abs(x[test][:, None] - x[train][None]).sum(-1)
    near = y[train][np.argsort(apart, axis=1)[:, :41]].mean(1)
    return auc(near[y[test] == 0], near[y[test] == 1])


def test_only_what_can_be_checked_lends_its_shape() -> None:
    shapes = Shapes()
    asked = CompletionRequest(model="m", prompt="secret words", temperature=0.0, user="me")
    assert shapes.observe(outgoing(asked))
    assert not shapes.observe(asked)
    assert not shapes.observe(outgoing(msgspec.structs.replace(asked, temperature=0.7)))
    assert len(shapes) == 1
    lent = shapes.draw(np.random.default_rng(0))
    assert lent.prompt_bytes == 12
    assert b"secret" not in msgspec.json.encode(lent.worn)
    worn = dress(lent, model=ANY_MODEL, prompt="p")
    assert (worn.logprobs, worn.user, worn.max_tokens) == (LISTED, None, 16)
