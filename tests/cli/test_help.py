"""Every command explains itself, and none of them needs torch to do it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from davy.cli import COMMANDS, cli
from tests.cli.conftest import Say

HEAVY = ("torch", "transformers", "tokenizers", "safetensors", "libp2p")


def commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it, groups included."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, (*words, name))


ALL = dict(commands(cli))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_command_explains_itself(words: tuple[str, ...], say: Say) -> None:
    said = say(*words, "--help")
    assert said.code == 0
    assert said.err == ""
    assert said.out.startswith(f"Usage: davy {' '.join(words)}".rstrip())
    summary = said.out.split("\n\n")[1].strip()
    assert summary.endswith("."), summary


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_option_says_what_it_is_for(words: tuple[str, ...]) -> None:
    for option in (p for p in ALL[words].params if isinstance(p, click.Option) and not p.hidden):
        assert option.help, (words, option.opts)
        if isinstance(option.default, tuple) and option.default:
            assert option.show_default, (words, option.opts)


def test_every_command_that_answers_takes_json() -> None:
    answering = [words for words, c in ALL.items() if not isinstance(c, click.Group) or c.invoke_without_command]
    assert len(answering) > 15
    answering.remove(("gossip",))  # it speaks with a node, in bytes
    for words in answering:
        assert any("--json" in p.opts for p in ALL[words].params), words


def test_the_list_of_commands_is_complete() -> None:
    assert {words[0] for words in ALL if words} == set(COMMANDS)


def test_help_loads_neither_torch_nor_what_another_command_needs() -> None:
    """In a process of its own: what `davy --help` and each command's help have imported."""
    program = """
import json, sys
from davy.cli import main
seen = {}
for words in json.loads(sys.argv[1]):
    sys.argv = ["davy", *words, "--help"]
    try:
        main()
    except SystemExit as e:
        assert e.code == 0, words
    seen[" ".join(words)] = sorted({m.partition(".")[0] for m in sys.modules})
print("\\n" + json.dumps(seen))
"""
    words = sorted((list(w) for w in ALL), key=len)
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(words)], capture_output=True, text=True, check=True, timeout=300
    )
    seen: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    assert len(seen) == len(ALL)
    for command, modules in seen.items():
        assert not set(HEAVY) & set(modules), command
    assert not {"numpy", "aiohttp", "anyio", "nacl"} & set(seen[""])
