"""An answer is read, or refused with its reason; nothing in between."""

from collections.abc import Callable
from math import log
from typing import Any

import msgspec
import pytest

from davy.network.openai import CompletionRequest, CompletionResponse, parse_response
from davy.protocol.errors import BadAnswer
from davy.tasks.answer import read_tokens
from davy.tasks.text import Text

ASKED = CompletionRequest(
    model="any", prompt="Return the", max_tokens=2, temperature=0.0, logprobs=20, return_tokens_as_token_ids=True
)


def raw(task: Text) -> dict[str, Any]:
    """A correct answer of two tokens, as JSON."""
    a, b = (int(i) for i in task.vocabulary.encode(" the")[:1].tolist() * 2)
    other = (a + 1) % task.vocabulary.size
    top = {f"token_id:{a}": log(0.6), f"token_id:{other}": log(0.3)}
    return {
        "id": "x",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "text": task.vocabulary.bytes_of([a, b]).decode(),
                "finish_reason": "length",
                "logprobs": {
                    "tokens": [f"token_id:{a}", f"token_id:{b}"],
                    "token_logprobs": [log(0.6)] * 2,
                    "top_logprobs": [dict(top), dict(top)],
                    "text_offset": [0, 4],
                },
            }
        ],
    }


def response(value: dict[str, Any]) -> CompletionResponse:
    return parse_response(msgspec.json.encode(value))


def test_a_correct_answer_is_read(task: Text) -> None:
    answer = read_tokens(response(raw(task)), ASKED, task.vocabulary)
    assert len(answer.positions) == 2
    first = answer.positions[0]
    assert first.chosen == task.vocabulary.encode(" the")[0]
    assert sorted(first.logprobs) == pytest.approx([log(0.3), log(0.6)])


def test_the_chosen_token_may_stand_beside_as_many_as_were_asked_for(task: Text) -> None:
    value = raw(task)
    value["choices"][0]["logprobs"]["top_logprobs"][0] |= {f"token_id:{i}": -30.0 for i in range(500, 519)}
    assert len(read_tokens(response(value), ASKED, task.vocabulary).positions[0].listed) == 21


def test_a_tie_may_be_broken_either_way(task: Text) -> None:
    value = raw(task)
    log_of = value["choices"][0]["logprobs"]
    other = next(t for t in log_of["top_logprobs"][0] if t != log_of["tokens"][0])
    log_of["top_logprobs"][0] = {log_of["tokens"][0]: -1.0004, other: -1.0}
    log_of["token_logprobs"][0] = -1.0004
    assert read_tokens(response(value), ASKED, task.vocabulary).positions[0].logprobs.max() == -1.0


def _choice(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda v: change(v["choices"][0])


def _log(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda v: change(v["choices"][0]["logprobs"])


def _first(log_of: dict[str, Any]) -> str:
    return log_of["tokens"][0]


WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no choice": (lambda v: v["choices"].clear(), "0 choices"),
    "two choices": (lambda v: v["choices"].append(v["choices"][0]), "2 choices"),
    "halted": (_choice(lambda c: c.update(finish_reason="halted")), "did not come to its end"),
    "unfinished": (_choice(lambda c: c.update(finish_reason=None)), "did not come to its end"),
    "no logprobs": (_choice(lambda c: c.update(logprobs=None)), "no logprobs"),
    "another text": (_choice(lambda c: c.update(text=" the best")), "not that of the reported tokens"),
    "no text": (_choice(lambda c: c.update(text="")), "not that of the reported tokens"),
    "too long": (_log(lambda x: [x[k].append(x[k][0]) for k in x]), "3 tokens"),
    "cut short": (_log(lambda x: [x[k].pop() for k in x]), "'length' after 1 of 2"),
    "no tokens": (_log(lambda x: [x[k].clear() for k in x]), "0 tokens"),
    "unequal lists": (_log(lambda x: x["top_logprobs"].pop()), "differ in length"),
    "token as text": (_log(lambda x: x["tokens"].__setitem__(0, " the")), "not a token of the pinned vocabulary"),
    "unknown token": (_log(lambda x: x["tokens"].__setitem__(0, "token_id:99999")), "not a token of the pinned"),
    "second writing": (
        _log(lambda x: x["top_logprobs"][0].update({"token_id:007": -9.0})),
        "not a token of the pinned",
    ),
    "negative token": (_log(lambda x: x["top_logprobs"][0].update({"token_id:-1": -9.0})), "not a token of the pinned"),
    "above one": (_log(lambda x: x["top_logprobs"][0].update({_first(x): 0.4})), "above 0"),
    "sum above one": (_log(lambda x: x["top_logprobs"][0].update({"token_id:3": -1.0})), "sum to more than 1"),
    "not listed": (_log(lambda x: x["top_logprobs"][0].pop(_first(x))), "not listed"),
    "two stories": (_log(lambda x: x["token_logprobs"].__setitem__(0, -0.4)), "not listed with its own"),
    "not the argmax": (
        _log(lambda x: (x["top_logprobs"][0].update({_first(x): -3.0}), x["token_logprobs"].__setitem__(0, -3.0))),
        "not the reported most likely",
    ),
    "too many listed": (
        _log(lambda x: x["top_logprobs"][0].update({f"token_id:{i}": -30.0 for i in range(500, 520)})),
        "22 listed tokens",
    ),
    "none listed": (_log(lambda x: x["top_logprobs"][1].clear()), "0 listed tokens"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_with_its_reason(task: Text, name: str) -> None:
    change, reason = WRONG[name]
    value = raw(task)
    change(value)
    with pytest.raises(BadAnswer, match=reason):
        read_tokens(response(value), ASKED, task.vocabulary)


def test_a_stop_string_may_cut_the_text(task: Text) -> None:
    value = raw(task)
    value["choices"][0] |= {"text": " t", "finish_reason": "stop"}
    asked = msgspec.structs.replace(ASKED, stop="h")
    assert len(read_tokens(response(value), asked, task.vocabulary).positions) == 2
    with pytest.raises(BadAnswer, match="text"):
        read_tokens(response(value), ASKED, task.vocabulary)
