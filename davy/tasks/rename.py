"""Consistent renaming: documentation that no public text holds, in a language a model can learn.

A challenge must not be answerable by looking its text up, yet a better model must predict it better. So clauses of
several documents are joined (`recombine`), and every identifier and some of the nouns get an invented name, the same
one wherever they occur (`rename`). What follows a second mention can then be known from the text itself alone.

    rng = numpy.random.default_rng(private_seed)
    documents = davy.models.heldout()
    chosen = [documents[i] for i in rng.integers(len(documents), size=3)]
    text = disguise(chosen, rng, characters=900)

One seed gives one text, on every platform. The shipped models were trained on texts made by these functions from other
documents (see training/), so they copy names they have never seen; a change here changes what they are asked, and
calls for training anew. Standard library and numpy only; nothing here reads a file or a clock.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# What a text shows to be a name: quoted or starred, called, dotted, assigned, or shaped like one.
_NAMED = (
    re.compile(r"(?<![A-Za-z0-9])(?P<q>['\"`*])(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P=q)(?![A-Za-z0-9])"),
    re.compile(r"\b(?P<name>[A-Za-z_][A-Za-z0-9_]*)\("),
    re.compile(r"\b(?P<name>[A-Za-z_][A-Za-z0-9_]*)\.(?=[A-Za-z_]{2})"),
    re.compile(r"(?<=[A-Za-z0-9_])\.(?P<name>[A-Za-z_][A-Za-z0-9_]+)"),
    re.compile(r"\b(?P<name>[A-Za-z_][A-Za-z0-9_]*) ?=(?!=)"),
    re.compile(r"\b(?P<name>[A-Za-z0-9]+_[A-Za-z0-9_]+)\b"),
    re.compile(r"\b(?P<name>[A-Z]?[a-z0-9]+[A-Z][A-Za-z0-9]*)\b"),
)
_SIGNATURE = re.compile(r"^(?:class )?[\w.]+\((?P<parameters>[^\n]*)\)", re.MULTILINE)

_LANGUAGE = frozenset(keyword.kwlist) | frozenset(
    "self cls args kwargs None True False int str float bytes bytearray list dict tuple set frozenset bool object type "
    "print len range repr iter next isinstance super property staticmethod classmethod complex e g i".split()
)
_GRAMMAR = frozenset(
    "a about above after again all also although always an and another any are as at away back be because been before "
    "being below between both but by called can cannot case cases change could default defaults depending described "
    "different directly do does doing done down during each either else even every example except first following for "
    "found from further given gives had has have having here how however if in instead into is it its itself just "
    "kind last least less like made make makes many may might more most must need needed needs never new no non none "
    "nor not note nothing now of off on once one only onto or other others otherwise out over own part passed per "
    "possible rather return returned returning returns same second see set should similar simply since so some such "
    "take takes than that the their them then there therefore these they this those though three through thus to "
    "together too true two under unless until up upon use used uses using usually very via was way we were what when "
    "where whether which while who whose why will with within without would yet you your false optional specified "
    "method function class module argument arguments value values object objects raise raised raises".split()
)

_ONSETS = "b d f g h k l m n p r s t v w z br dr fl gl kr pl pr sk sl st tr".split()
_VOWELS = "a e i o u ai ea oo".split()
_CODAS = [*[""] * 8, *"l m n r s t x k nd rt sk".split()]
_PARTS = (
    "add arm ash band bark base beam bell bend bird bolt bond book boot bowl brim calm camp card cart cast chain chip "
    "clay clip coal coat coil cord core corn crop cube curl dale dash dawn deck dial dish dock door drum dust edge "
    "fern find fire fish fold ford fork form frog gate gear gift glow grid grip hall hand harp hill hook horn iron "
    "join jump keel kite knot lamp leaf lens lift lime link lock loom lump mark mast melt mill mint mist moon moss "
    "move nail nest node oak pack palm park path peak pick pine pipe plan plum pole pond pool port pull push quill "
    "rack rail rain reef ring road roof root rope sail salt sand scan seal seed ship shop sift silk slot snow sort "
    "spin star stem step stir tail tank tide tile tilt toad tool trap tree trim tube turn vane vine wall ward wave "
    "weld well wick wind wing wire wolf wood wool yard yarn yoke"
).split()
_CLAUSE_END = re.compile(r"(?<=\n\n)(?=\S)|(?<=[.;:!?]\s)(?=\S)")


def identifiers(text: str) -> tuple[str, ...]:
    """Names a text treats as code at least once, by first appearance; the language's own words are left out."""
    found: set[str] = set()
    for pattern in _NAMED:
        found.update(match["name"] for match in pattern.finditer(text))
    for signature in _SIGNATURE.finditer(text):
        found.update(WORD.findall(signature["parameters"]))
    return tuple(word for word in dict.fromkeys(WORD.findall(text)) if word in found and _renamable(word))


def nouns(text: str) -> tuple[str, ...]:
    """Lower-case words of four letters or more that occur twice or more and are not grammar, by first appearance."""
    counts = Counter(WORD.findall(text))
    return tuple(
        word
        for word, count in counts.items()
        if count > 1 and len(word) > 3 and word.isalpha() and word.islower() and _renamable(word)
    )


def invent(like: str, rng: np.random.Generator) -> str:
    """A new name in the style of `like`: snake_case, CamelCase, UPPER or a plain word; leading underscores are kept.

    A part is a pronounceable non-word three times in five, else a short English word.
    """
    bare = like.lstrip("_")
    lead = like[: len(like) - len(bare)]
    snake = "_" in bare
    camel = not snake and any(c.isupper() for c in bare[1:]) and not bare.isupper()
    count = 2 if snake or camel else 1
    parts = [_part(rng, long=count == 1) for _ in range(count)]
    if camel:
        joined = "".join(part.capitalize() for part in parts)
        return lead + (joined if bare[0].isupper() else joined[0].lower() + joined[1:])
    joined = "_".join(parts)
    if bare.isupper() and len(bare) > 1:
        return lead + joined.upper()
    return lead + (joined.capitalize() if bare[:1].isupper() else joined)


def renaming(text: str, rng: np.random.Generator, *, noun_share: float = 0.5) -> dict[str, str]:
    """Old name → new name for every identifier of `text` and a random `noun_share` of its nouns.

    One to one, and no new name is a word of the text. A plural and a capitalised form follow their singular.
    """
    chosen = list(identifiers(text))
    chosen += [noun for noun in nouns(text) if noun not in chosen and rng.random() < noun_share]
    taken = set(WORD.findall(text))
    mapping: dict[str, str] = {}
    for old in sorted(chosen, key=len):  # stable: a singular comes before its plural
        if old in mapping:
            continue
        new = invent(old, rng)
        while {new, new + "s", new.capitalize()} & taken or not _renamable(new):
            new = invent(old, rng)
        forms = {old: new}
        if old.islower() and old.isalpha():
            forms = {old: new, old + "s": new + "s", old.capitalize(): new.capitalize()}
        for form, replacement in forms.items():
            mapping.setdefault(form, replacement)
            taken.add(replacement)
    return mapping


def rename(text: str, rng: np.random.Generator, *, noun_share: float = 0.5) -> str:
    """`text` with its identifiers, and a share of its nouns, replaced consistently by invented names."""
    mapping = renaming(text, rng, noun_share=noun_share)
    return WORD.sub(lambda match: mapping.get(match[0], match[0]), text)


def clauses(text: str) -> tuple[str, ...]:
    """The text cut after sentences, semicolons, colons and blank lines; joined again it is the same text."""
    return tuple(_CLAUSE_END.split(text))


def recombine(documents: Sequence[str], rng: np.random.Generator, *, characters: int) -> str:
    """Runs of one to three clauses, taken by turns from `documents`, until about `characters` long or all are used.

    Each document keeps the order of its own clauses, so that a name is introduced before it is mentioned again.
    """
    waiting = [list(clauses(document)) for document in documents]
    text = ""
    while len(text) < characters and (left := [queue for queue in waiting if queue]):
        queue = left[int(rng.integers(len(left)))]
        run = int(rng.integers(1, 4))
        text += "".join(queue[:run]).strip() + (" " if rng.random() < 0.5 else "\n\n")
        del queue[:run]
    return text.strip()


def disguise(
    documents: Sequence[str], rng: np.random.Generator, *, characters: int = 900, noun_share: float = 0.5
) -> str:
    """Clauses of several documents, recombined and consistently renamed: the text of one private challenge."""
    return rename(recombine(documents, rng, characters=characters), rng, noun_share=noun_share)


def _renamable(word: str) -> bool:
    dunder = word.startswith("__") and word.endswith("__")
    return len(word.strip("_")) > 1 and not dunder and word not in _LANGUAGE and word.lower() not in _GRAMMAR


def _part(rng: np.random.Generator, *, long: bool) -> str:
    if rng.random() < 0.4:
        part = _pick(_PARTS, rng)
        return part + _pick(_PARTS, rng) if long else part
    syllables = 2 if long else int(rng.integers(1, 3))
    return "".join(_pick(_ONSETS, rng) + _pick(_VOWELS, rng) + _pick(_CODAS, rng) for _ in range(syllables))


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
