"""Events are a partition of what can follow, whatever the tokenizer."""

import msgspec
import numpy as np
import pytest

from davy.network.openai import Choice, CompletionResponse, Logprobs
from davy.protocol.errors import BadAnswer
from davy.tasks import rule
from davy.tasks.corpus import Disguised, private_rng
from davy.tasks.task import Setting, differences
from davy.tasks.text import ABSENT
from davy.tasks.text_open import EVENTS, SPACE, UNIFORM, EventReport, TextOpen, complete, event, token_bytes


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> TextOpen:
    return TextOpen(Setting(cache=tmp_path_factory.getbasetemp() / "base"))


def reply(top: dict[str, float], text: str | None = None) -> CompletionResponse:
    chosen = max(top, key=lambda t: top[t])
    text = chosen if text is None else text
    logs = Logprobs([chosen], [top[chosen]], [top], [0])
    return CompletionResponse(id="", created=0, model="", choices=[Choice(0, text, logs, "stop")])


def test_every_text_begins_with_exactly_one_event() -> None:
    assert [event(b) for b in (b"the", b" the", b" ", b"", b"\n", b"\xe2\x82")] == [116, 256 + 116, SPACE, -1, 10, 0xE2]
    assert token_bytes("bytes:\\xe2\\x82") == b"\xe2\x82"
    assert token_bytes("bytes:") == b"bytes:"


def test_a_report_is_completed_to_a_distribution(opened: TextOpen, corpus: Disguised) -> None:
    c = opened.challenge(private_rng(b"o", netuid=0, epoch=0), corpus)
    assert not opened.request(c).return_tokens_as_token_ids
    a = opened.parse(c, reply({" the": np.log(0.5), " t": np.log(0.1), " ": np.log(0.1), "s": np.log(0.05)}))
    assert a.events[256 + ord("t")] == pytest.approx(0.6)
    assert (a.events[ord("s")], a.space) == pytest.approx((0.05, 0.1))
    rng = np.random.default_rng(0)
    base = rng.dirichlet(np.ones(EVENTS))
    full = complete(a, base)
    assert full.sum() == pytest.approx(1.0)
    assert (full >= 0).all()
    assert full[ord("s")] == pytest.approx(0.05 + 0.25 * base[ord("s")])


def test_the_base_is_a_distribution_of_the_events_that_happen(opened: TextOpen, corpus: Disguised) -> None:
    """What the pinned base gives a lone space goes to what may follow one; nothing is lost, and nothing impossible."""
    c = opened.challenge(private_rng(b"o", netuid=0, epoch=0), corpus)
    base = opened._base_of(c.asked.prompt)
    assert base.sum() == pytest.approx(1.0)
    assert base.min() > 0
    assert base[SPACE] == pytest.approx(UNIFORM / EVENTS)


def test_true_probabilities_of_events_earn_most() -> None:
    rng = np.random.default_rng(3)
    base, truth = rng.dirichlet(np.ones(EVENTS)), rng.dirichlet(np.full(EVENTS, 0.1))

    def expected(q: np.ndarray) -> float:
        full = complete(EventReport(q, 0.0), base)
        return sum(float(p) * rule.score(full, y, base) for y, p in enumerate(truth) if p > 1e-6)

    honest = expected(truth)
    for power in (0.7, 0.9, 1.1, 1.5):
        assert expected(truth**power / (truth**power).sum()) < honest


def test_scores_are_above_the_base_for_the_truth_and_below_for_nothing(opened: TextOpen, corpus: Disguised) -> None:
    rng = private_rng(b"p", netuid=0, epoch=0)
    for _ in range(20):
        c = opened.challenge(rng, corpus)
        right = opened.parse(c, reply({c.follows[:2] if c.follows[0] == " " else c.follows[0]: np.log(0.9)}))
        found = differences(opened, c, [right, None])
        assert found[0] > 0
        assert found[1] == pytest.approx(-ABSENT)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply({"a": -0.1, "b": -0.1}), "sum to more than 1"),
        (reply({"a": 0.5}), "above 0"),
        (reply({"a": -0.5}, text="b"), "does not begin"),
        (reply({f"t{i}": -4.0 for i in range(22)}), "22 listed"),
    ],
)
def test_what_is_no_report_is_refused(
    opened: TextOpen, corpus: Disguised, answer: CompletionResponse, reason: str
) -> None:
    c = opened.challenge(private_rng(b"o", netuid=0, epoch=0), corpus)
    with pytest.raises(BadAnswer, match=reason):
        opened.parse(c, answer)


def test_a_chosen_token_must_be_the_most_likely(opened: TextOpen, corpus: Disguised) -> None:
    c = opened.challenge(private_rng(b"o", netuid=0, epoch=0), corpus)
    answer = reply({"a": -0.5, "b": -2.0})
    choice = answer.choices[0]
    assert choice.logprobs is not None
    log = msgspec.structs.replace(choice.logprobs, tokens=["b"])
    wrong = msgspec.structs.replace(choice, text="b", logprobs=log)
    with pytest.raises(BadAnswer, match="most likely"):
        opened.parse(c, msgspec.structs.replace(answer, choices=[wrong]))
