"""Every command of davy's that a page tells a person to type exists, with its options and nothing missing.

Only whether the words are there is looked at. What commands do is tested where they are typed: tests/cli/test_pages.py,
tests/processes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest

from davy.cli import cli

BLOCK = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
ENDS = ("|", "||", "&&", ";", "&", ">", "…", "...")
"""Words that no command of davy's goes on after."""
BEFORE = ("exec", "|", "||", "&&", ";", "&", "(")
ASSIGNED = re.compile(r"[A-Z_]+=")
KEYHOLDERS = ("docs/halt.md", "docs/keyholders.md")
ABBREVIATED: tuple[tuple[str, ...], ...] = ((), ("keyholder",), ("halt",))
"""What the text of these pages leaves out before a command that it names by its last words."""


def commands(line: str) -> Iterator[list[str]]:
    """The words after each `davy` of a line that is typed, where it is a command and no argument or heading."""
    words = shlex.split(line, comments=True)
    for place, word in enumerate(words):
        begins = all(w in BEFORE or ASSIGNED.match(w) for w in words[place - 1 : place])
        after = words[place + 1 :]
        if word == "davy" and begins and after and re.match(r"[a-z-]", after[0]):
            end = next((n for n, w in enumerate(after) if w in ENDS or w.startswith(">")), len(after))
            yield [w.rstrip(";)") for w in after[:end]]


def fault(words: Sequence[str], *, whole: bool) -> str:
    """Why this cannot be typed after `davy`; empty where it can.

    Parameters
    ----------
    whole
        Nothing that is required may be missing, as in a block to be copied; text names commands without it.
    """
    command, context, rest = cli, click.Context(cli, info_name="davy"), list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        inner = command.get_command(context, rest[0])
        if inner is None:
            return f"{context.command_path} has no command '{rest[0]}'"
        command, context = inner, click.Context(inner, info_name=rest[0], parent=context)
        rest = rest[1:]
    try:
        given, over, _ = command.make_parser(context).parse_args(rest)
    except click.BadOptionUsage as e:  # an option without its value, as text may name it
        return f"{context.command_path}: {e.format_message()}" if whole else ""
    except click.UsageError as e:
        return f"{context.command_path}: {e.format_message()}"
    if over:
        return f"{context.command_path} does not take '{over[0]}'"
    if isinstance(command, click.Group) and not (rest or command.invoke_without_command):
        return f"{context.command_path} is a group of commands" if whole else ""
    told = {name for name, value in given.items() if isinstance(value, str | list | tuple)}
    missing = [p.human_readable_name for p in command.params if p.required and p.name not in told]
    return f"{context.command_path} lacks {missing[0]}" if whole and missing else ""


def option_faults(span: str) -> Iterator[str]:
    """An option that the text names alone must be one of some command of davy's."""
    name = span.split()[0].split("=")[0]
    if name.startswith("--") and name not in options():
        yield f"no command has {name}"


def options() -> set[str]:
    found = set[str]()
    waiting: list[tuple[click.Command, click.Context]] = [(cli, click.Context(cli, info_name="davy"))]
    while waiting:
        command, context = waiting.pop()
        found |= {each for p in command.get_params(context) for each in (*p.opts, *p.secondary_opts)}
        if isinstance(command, click.Group):
            inner = [command.get_command(context, name) for name in command.list_commands(context)]
            waiting += [(c, click.Context(c, parent=context)) for c in inner if c is not None]
    return found


def faults(text: str, *, of_keyholders: bool = False) -> list[str]:
    """What of a page cannot be typed."""
    found = [fault(words, whole=True) for block in BLOCK.findall(text) for words in typed_in(block)]
    for span in SPAN.findall(BLOCK.sub("", text)):
        said = " ".join(span.split())
        if said.startswith("davy "):
            found += [fault(words, whole=False) for words in commands(said)]
        elif of_keyholders:
            found += [*option_faults(said), *abbreviated(said)]
    return [each for each in found if each]


def typed_in(block: str) -> Iterator[list[str]]:
    for line in block.replace("\\\n", " ").splitlines():
        if re.search(r"\bdavy ", line):
            yield from commands(line)


def abbreviated(said: str) -> list[str]:
    """`pending --wait 30m`: words in small letters with an option, which must be right after one of `ABBREVIATED`."""
    words = said.split()
    if not re.fullmatch(r"[a-z]+", words[0]) or not any(w.startswith("--") for w in words):
        return []
    wrong = [fault([*before, *words], whole=False) for before in ABBREVIATED]
    return [] if "" in wrong else [f"nothing can be typed as `{said}`"]


def test_what_every_page_tells_to_type_can_be_typed(root: Path, kept: list[Path]) -> None:
    pages = {str(p.relative_to(root)): p.read_text(encoding="utf-8") for p in kept if p.suffix == ".md"}
    del pages["docs/log.md"]  # it tells of what once was
    assert set(KEYHOLDERS) < set(pages)
    wrong = [
        f"{name}: {each}" for name, text in pages.items() for each in faults(text, of_keyholders=name in KEYHOLDERS)
    ]
    assert wrong == []


def test_there_are_enough_of_them(root: Path) -> None:
    """The way in which pages write commands is the one that is looked for."""
    for name, least in (("README.md", 15), ("docs/halt.md", 35), ("docs/keyholders.md", 15), ("docs/mine.md", 8)):
        text = (root / name).read_text(encoding="utf-8")
        spans = [s for s in SPAN.findall(BLOCK.sub("", text)) if s.startswith("davy ")]
        assert sum(len(list(typed_in(block))) for block in BLOCK.findall(text)) + len(spans) >= least, name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("```\ndavy keyholder extends ORDER --reason x\n```", "davy keyholder has no command 'extends'"),
        ("```\ndavy keyholder extend ORDER --reason x --until 3d\n```", "No such option '--until'"),
        ("```\ndavy keyholder extend ORDER\n```", "davy keyholder extend lacks reason"),
        ("```\ndavy keyholder extend --reason x\n```", "davy keyholder extend lacks"),
        ("```\ncd there && DAVY_HOME=a davy lift\n```", "davy lift lacks"),
        ("```\ndavy keyholder heartbeat --reason\n```", "requires an argument"),
        ("```shell\ndavy keyholder\n```", "is a group of commands"),
        ("```\ndavy why 0 1\n```", "does not take '1'"),
        ("so `davy keyholder\nbeat` it", "davy keyholder has no command 'beat'"),
        ("with `davy halt model MODEL --beyond`", "No such option '--beyond'"),
        ("or `--within 3d`", "no command has --within"),
        ("`pending --weight 30m`", "nothing can be typed as"),
    ],
)
def test_what_cannot_be_typed_is_seen(text: str, why: str) -> None:
    (wrong,) = faults(text, of_keyholders=True)
    assert why in wrong


def test_what_can_be_typed_is_not_blamed() -> None:
    lines = (
        "mkdir sheets",
        "davy lift ORDER --reason 'it is mended'  # a comment",
        "echo x | davy status --json > out",
    )
    good = "\n".join(("```", *lines, "```"))
    said = "`davy keyholder`, `davy lift`, `davy halt model … --out`, `pending --wait 30m`, `--for 12h`"
    assert faults(good) == []
    assert faults(said, of_keyholders=True) == []
