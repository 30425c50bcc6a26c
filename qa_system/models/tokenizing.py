"""What users write is text to a tokenizer, and its tokens lead back to the characters."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qa_system.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

__all__ = [
    "check_tokens",
    "check_vocabulary",
    "encodable",
    "places",
    "take_literally",
    "with_sound_offsets",
]

MARKERS = "▁Ġ"
"""What SentencePiece and byte-level tokenizers write for a space, also where none was."""

ZERO_WIDTH = "\u200b\u2060\ufeff"
"""Zero-width space, word joiner and byte order mark: `str.isspace` says no, a reader sees none."""

PROBE = (
    "Crème brûlée: naïve cafe\u0301 A\u0301b 😀👍🏽\r\n\r\nThe battery  lasts   two days\t(ﬁne…)! "
    "שָׁלוֹם مَرحبًا 日本語 x\u202fy 10am, 5'9\" x2: don't, well-made #1 a.b"
)
"""Accents, emoji, CR-LF, several spaces, right-to-left scripts, combining marks, and words of
letters, digits and punctuation, which tokenizers split in different ways."""

SURROGATES = re.compile("[\ud800-\udfff]")


def encodable(text: str) -> str:
    """Replace what no tokenizer takes, halves of surrogate pairs; offsets stay as they are.

    >>> encodable("good \\ud83d")
    'good �'
    """
    return text if text.isascii() else SURROGATES.sub("\ufffd", text)


def take_literally(tokenizer: Tokenizer) -> None:
    """Make a tokenizer read `[SEP]`, `</s>` and the like in a text as the letters that they are.

    The special tokens that it puts around a text stay what they are.

    Args:
        tokenizer: it is changed; doing it twice changes nothing.

    Raises:
        ModelError: a special token is a single character, and the vocabulary has no other way to
            write it.

    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> tokenizer = Tokenizer(models.WordLevel({"[SEP]": 0, "?": 1}, unk_token="?"))
    >>> tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    >>> _ = tokenizer.add_special_tokens(["[SEP]"])
    >>> take_literally(tokenizer)
    >>> tokenizer.encode("[SEP]").ids
    [1, 1]
    """
    from tokenizers import Regex, pre_tokenizers

    around = tokenizer.encode("").ids
    tokenizer.add_special_tokens(
        [token for number in around if (token := tokenizer.id_to_token(number)) is not None]
    )
    tokenizer.encode_special_tokens = True
    if not (found := _still_special(tokenizer)):
        return
    # Its model itself has them as words: a cut after the first letter keeps it from seeing one.
    rests: dict[str, list[str]] = defaultdict(list)
    for token in found:
        rests[token[0]].append(re.escape(token[1:]))
    pattern = "|".join(
        f"(?<={re.escape(first)})(?:{'|'.join(sorted(rest, key=len, reverse=True))})"
        for first, rest in rests.items()
    )
    cut = pre_tokenizers.Split(Regex(pattern), "isolated")
    before = tokenizer.pre_tokenizer
    tokenizer.pre_tokenizer = cut if before is None else pre_tokenizers.Sequence([before, cut])
    if found := _still_special(tokenizer):
        raise ModelError(
            f"the tokenizer reads {found[0]!r} in a text as its special token",
            remedy="Use a model whose special tokens are not words of its vocabulary.",
        )


def _still_special(tokenizer: Tokenizer) -> list[str]:
    """Return the special tokens that a text can still put in."""
    special = {
        token.content: number
        for number, token in tokenizer.get_added_tokens_decoder().items()
        if token.special and token.content.strip()
    }
    texts = [f"a {token} b{token}{token}c" for token in special]
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [
        token
        for (token, number), text, encoding in zip(special.items(), texts, encodings, strict=True)
        if any(
            found == number and text[start:end].strip() == token
            for found, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
        )
    ]


def places(text: str, encoding: Encoding) -> NDArray[np.int32]:
    """Return where the tokens of a text begin and end in it.

    White space around a token is no part of it, and a token of white space alone is empty. Marks
    that the tokenizer drops (an accent written apart) belong to the letter before them.

    Args:
        text: what was encoded, without special tokens.
        encoding: of the text.

    Returns:
        The first character of each token and the one after its last, shape (tokens, 2).

    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    >>> tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_next")
    >>> places("so  light", tokenizer.encode("so  light")).tolist()
    [[0, 2], [3, 3], [4, 9]]
    """
    offsets = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
    begins, ends = offsets[:, 0], offsets[:, 1]
    shared = np.flatnonzero(begins[:-1] == begins[1:])
    if len(shared):
        tokens = encoding.tokens
        for at in shared:
            if not tokens[at].strip(MARKERS):
                ends[at] = begins[at]
    if text.isascii():
        blank = ASCII_BLANK[np.frombuffer(text.encode(), dtype=np.uint8)]
    else:
        characters = set(text)
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        blank = np.isin(codes, [ord(each) for each in characters if _is_blank(each)])
        if marks := [ord(each) for each in characters if _is_mark(each)]:
            _take_marks(begins, ends, ~np.isin(codes, marks))
    own = begins < ends
    if blank[begins[own]].any() or blank[ends[own] - 1].any():
        begins[:] = np.minimum(_nearest(~blank, forwards=True)[begins], ends)
        ends[:] = np.maximum(_nearest(~blank, forwards=False)[ends], begins)
    return offsets


def _take_marks(
    begins: NDArray[np.int32], ends: NDArray[np.int32], others: NDArray[np.bool_]
) -> None:
    """Let tokens end after the marks that follow them and are in no token."""
    own = begins < ends
    following = np.append(begins[1:], len(others))
    reach = np.minimum(_nearest(others, forwards=True)[ends], following)
    ends[own] = np.maximum(ends, reach)[own]


@cache
def _is_blank(character: str) -> bool:
    return character.isspace() or character in ZERO_WIDTH or unicodedata.category(character) == "Cc"


@cache
def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


ASCII_BLANK = np.array([_is_blank(chr(code)) for code in range(128)])


def _nearest(kept: NDArray[np.bool_], *, forwards: bool) -> NDArray[np.int64]:
    """Return for each place between characters the nearest one beside a character that is kept.

    >>> kept = np.array([False, True, False])
    >>> _nearest(kept, forwards=True).tolist(), _nearest(kept, forwards=False).tolist()
    ([1, 1, 3, 3], [0, 0, 2, 2])
    """
    count = len(kept)
    numbers = np.arange(count)
    if forwards:
        found = np.append(np.where(kept, numbers, count), count)
        return np.minimum.accumulate(found[::-1])[::-1]
    found = np.insert(np.where(kept, numbers + 1, 0), 0, 0)
    return np.maximum.accumulate(found)


def check_vocabulary(tokenizer: Tokenizer, model: Any, where: str) -> None:
    """Refuse a tokenizer that makes tokens for which a model has no embedding.

    A special token counts only if it is put around a text: in a text, it is read as letters.

    Args:
        tokenizer: the model's.
        model: one of transformers'.
        where: the model's folder, for the error.

    Raises:
        ModelError: naming both numbers; or the model has no such embeddings, as CANINE has none.
    """
    try:
        rows = model.get_input_embeddings().weight.shape[0]
    except (AttributeError, NotImplementedError) as error:
        raise ModelError(
            f"the model ({type(model).__name__}) has no table of embeddings for tokens",
            where=where,
            remedy="Name a model that reads the tokens of a tokenizer.json.",
        ) from error
    check_tokens(tokenizer, rows, where)


def check_tokens(tokenizer: Tokenizer, rows: int, where: str) -> None:
    """Refuse a tokenizer that makes tokens beyond a table of embeddings.

    Args:
        tokenizer: the model's.
        rows: of the table.
        where: the model's folder, for the error.

    Raises:
        ModelError: naming both numbers.
    """
    added = tokenizer.get_added_tokens_decoder().items()
    reached = {
        *tokenizer.get_vocab(with_added_tokens=False).values(),
        *(number for number, token in added if not token.special),
        *tokenizer.encode("", "").ids,
    }
    tokens = max(reached, default=-1) + 1
    if tokens > rows:
        raise ModelError(
            f"the tokenizer has {tokens:,} tokens, and the model embeddings of {rows:,}",
            where=where,
            remedy="Save the model again with the tokenizer that it was trained with.",
        )


def with_sound_offsets(tokenizer: Tokenizer, where: str | None = None) -> Tokenizer:
    """Return a tokenizer whose tokens, cut out of a text, give the text.

    Args:
        tokenizer: without truncation and padding.
        where: it comes from, for the error.

    Returns:
        The tokenizer itself, or a copy that leaves offsets as its model found them: a
        post-processor that trims a space before a word also trims one that was never in the text,
        and with it the word's first letter.

    Raises:
        ModelError: what the tokens say of their places is wrong in another way.
    """
    if _flaw(tokenizer) is None:
        return tokenizer
    copy = type(tokenizer).from_str(tokenizer.to_str())
    copy.post_processor = None
    take_literally(copy)
    if (flaw := _flaw(copy)) is None:
        return copy
    raise ModelError(
        f"the tokenizer ({type(tokenizer.model).__name__}) does not say where its tokens stand in "
        f"a text: {flaw}",
        where=where,
        remedy="Save the model again with a tokenizer whose offsets count the characters of the "
        "text as it is, and leave none out.",
    )


def _flaw(tokenizer: Tokenizer) -> str | None:
    """Return what is wrong with the places of a text's tokens; None: nothing."""
    reached = 0
    for start, end in places(PROBE, tokenizer.encode(PROBE, add_special_tokens=False)).tolist():
        if start == end:
            continue
        # Several tokens may be made of one character, but not of a letter that is one byte.
        if start < reached and PROBE[start:reached].isascii():
            return f"{PROBE[start:reached]!r} is in two of them"
        if not _may_be_dropped(PROBE[reached:start]):
            return f"{PROBE[reached:start].strip()!r} is in none"
        reached = max(reached, end)
    rest = PROBE[reached:]
    return None if _may_be_dropped(rest) else f"{rest.strip()!r} is in none"


def _may_be_dropped(text: str) -> bool:
    return all(
        _is_blank(each) or _is_mark(each) or unicodedata.category(each) == "Cf" for each in text
    )
