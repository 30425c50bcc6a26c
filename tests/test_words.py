"""One word for one thing: code and documents use the words of docs/glossary.md.

The last column of its tables lists words that are not used, separated by commas. A word counts
in names (`on_fault`, `OnFault`), comments and strings of Python files, and anywhere in documents
and configuration files. A string that is a key of a dictionary or of JSON does not count: keys
stay as they are, because other programs read them.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GLOSSARY = "docs/glossary.md"

PLACES = (
    "*.md",
    "*.py",
    "benchmarks/**/*.md",
    "benchmarks/**/*.py",
    "configs/**/*.md",
    "configs/**/*.yaml",
    "docs/**/*.md",
    "docs/**/*.py",
    "eval/**/*.html",
    "eval/**/*.py",
    "examples/**/*.ipynb",
    "examples/**/*.md",
    "examples/**/*.py",
    "indexing/**/*.py",
    "qa_system/**/*.py",
    "tests/**/*.py",
)

EXCEPT = {
    "README.md": ("an old door", "into the door"),
    "configs/attributes/": ("quieter, silent",),
    "docs/consensus.md": ("an old door", "into the door"),
    "docs/decisions/0006": ("`double.price`",),
    "tests/unit/test_beams.py": (".double()",),
    "tests/unit/test_training_generator_loss.py": (".double()",),
}
"""Parts of lines that keep a word, by the beginning of the path: quotations, keys, data types."""

STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def banned() -> dict[str, str]:
    """The words that are not used, each with the one to use."""
    words = {}
    for line in (ROOT / GLOSSARY).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and cells[2] not in ("not", "---"):
            words |= {word.strip("`"): cells[0] for word in cells[2].split(", ") if word}
    return words


def pattern_of(word: str) -> str:
    """Match a word or phrase, its plural too, over the end of a line; no part of another word."""
    start = r"(?<![a-z])" if word[0].isalpha() else ""
    return start + r"\s+".join(map(re.escape, word.split())) + r"s?(?![a-z])"


BANNED = banned()
PATTERN = re.compile("|".join(f"({pattern_of(word)})" for word in BANNED), re.IGNORECASE)


def texts_of(source: str) -> Iterator[tuple[int, str]]:
    """Names, comments and strings of Python source, with the lines on which they begin."""
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in (tokenize.NL, tokenize.NEWLINE)
    ]
    for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        if token.type == tokenize.NAME:
            yield token.start[0], re.sub(r"(?<=[a-z])(?=[A-Z])", "_", token.string)
        elif token.type == tokenize.COMMENT or (
            token.type in STRINGS and not is_key(before, token, after)
        ):
            yield token.start[0], token.string


def is_key(before, token, after) -> bool:
    """Whether a string is written as a key: `{"key": ...}` or `tree["key"]`."""
    in_brackets = before is not None and before.string == "[" and after.string == "]"
    is_word = token.string.strip("\"'").isidentifier()
    return is_word and (in_brackets or (after is not None and after.string == ":"))


def words_in(name: str, source: str) -> Iterator[str]:
    """Report each banned word of a file, with its line and the word to use."""
    if not PATTERN.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", source)):
        return
    lines = source.splitlines()
    kept = [part for start in EXCEPT if name.startswith(start) for part in EXCEPT[start]]
    for first, text in texts_of(source) if name.endswith(".py") else [(1, source)]:
        for match in PATTERN.finditer(text):
            line = first + text.count("\n", 0, match.start())
            if not any(part in lines[line - 1] for part in kept):
                use = BANNED[list(BANNED)[match.lastindex - 1]]
                yield f"{name}:{line}: {' '.join(match[0].split())!r}: use {use!r}"


@cache
def sources() -> dict[str, str]:
    """The texts of all files, by path."""
    paths = {path for place in PLACES for path in ROOT.glob(place)}
    paths -= {Path(__file__), ROOT / GLOSSARY}
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(paths)
    }


@cache
def found() -> dict[str, list[str]]:
    """The banned words of every file that has some."""
    reports = {name: list(words_in(name, source)) for name, source in sources().items()}
    return {name: report for name, report in reports.items() if report}


def test_the_words_are_those_of_the_glossary():
    reports = [line for report in found().values() for line in report]
    assert not reports, "\n".join(["see docs/glossary.md", *reports])


@pytest.mark.parametrize(("start", "part"), [(s, part) for s in EXCEPT for part in EXCEPT[s]])
def test_exceptions_are_needed(start: str, part: str):
    lines = (
        line
        for name, source in sources().items()
        if name.startswith(start)
        for line in source.splitlines()
    )
    assert any(part in line and PATTERN.search(line) for line in lines)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def on_fault(): ...", ["fault"]),
        ("OnFault = 1", ["Fault"]),
        ("default = faultless = 1", []),
        ("x = 1  # two faults", ["faults"]),
        ('x = {"faults": tree["faults"]}', []),
        ('x = f"a fault: {faults}"', ["fault", "faults"]),
        ('"""It was held\nagainst it."""', ["held against"]),
        ('"""Give it."""', ['"""Give']),
        ('"""It gives, given "Give"."""', []),
    ],
)
def test_what_is_found(source, words):
    reports = list(words_in("a.py", source))
    assert [report.split("'")[1] for report in reports] == words
