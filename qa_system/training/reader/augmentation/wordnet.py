"""Synonyms of WordNet, from its database files (`apt-get install wordnet-base`).

The format is that of https://wordnet.princeton.edu/documentation/wndb5wn: an index of words, each
with the places of its meanings in a data file, whose lines list the words of a meaning.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from qa_system.errors import DataError

__all__ = ["wordnet_synonyms"]

PARTS: Final = ("noun", "verb", "adj", "adv")


def wordnet_synonyms(folder: Path, words: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the synonyms of words that have one meaning only, or of their first part of speech's.

    A word's most frequent meaning alone counts, and of its other words those that have no space.

    Args:
        folder: holds `index.noun`, `data.noun` and so on.
        words: in lower case, as they stand in a dictionary.

    Raises:
        DataError: the folder lacks a file, or one is damaged.
    """
    wanted = set(words)
    found: dict[str, tuple[str, ...]] = {}
    for part in PARTS:
        places = _first_meanings(_opened(folder, f"index.{part}"), wanted - found.keys())
        data = _opened(folder, f"data.{part}")
        for word, place in places.items():
            others = [each for each in _words_at(data, place) if each != word and each.isalpha()]
            if others:
                found[word] = tuple(others)
    return found


def _opened(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise DataError(
            f"WordNet's {name} cannot be read: {error.strerror}",
            where=str(folder),
            remedy="Name the folder of its database, for example /usr/share/wordnet.",
        ) from error


def _first_meanings(index: bytes, words: set[str]) -> dict[str, int]:
    """Return the place of each word's most frequent meaning."""
    found = {}
    for line in index.decode("latin-1").splitlines():
        # Lines of the licence begin with spaces.
        word = line.partition(" ")[0]
        if word in words:
            # lemma pos synset_cnt p_cnt [ptr_symbol...] sense_cnt tagsense_cnt synset_offset...
            fields = line.split()
            found[word] = int(fields[6 + int(fields[3])])
    return found


def _words_at(data: bytes, place: int) -> list[str]:
    # synset_offset lex_filenum ss_type w_cnt word lex_id [word lex_id...]
    line = data[place : data.index(b"\n", place)].decode("latin-1").split()
    if line[0] != f"{place:08d}":
        raise DataError(
            f"WordNet has another meaning at {place} than its index says",
            remedy="Install WordNet's database again.",
        )
    count = int(line[3], 16)
    return [line[4 + 2 * at].partition("(")[0].lower() for at in range(count)]
