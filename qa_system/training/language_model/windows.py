"""Texts -> windows of tokens that know to which word each token belongs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from qa_system.errors import ModelError
from qa_system.models.tokenizing import MARKERS, encodable
from qa_system.training.language_model.masking import NO_WORD, Mask

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

__all__ = ["Vocabulary", "Window", "vocabulary_of", "windows_of", "words_of"]

LONGEST_WORD = 10
"""Tokens. A longer stretch without a space, of a script that has none or a web address, is not one
word to its readers either: each of its tokens counts as a word."""
MASK_TOKENS = ("[MASK]", "<mask>")
TEXTS_AT_ONCE = 1000


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer, and what it puts around a text.

    Args:
        tokenizer: without truncation and padding.
        mask_id: the mask token.
        ordinary: ids of the tokens that are not special.
        before: ids of the special tokens before a text.
        after: ids of those after it.
        type_ids: of the tokens before a text, of its own, and of those after it.
    """

    tokenizer: Tokenizer
    mask_id: int
    ordinary: NDArray[np.int32]
    before: tuple[int, ...]
    after: tuple[int, ...]
    type_ids: tuple[tuple[int, ...], int, tuple[int, ...]]

    def mask_of(self, share: float, *, masked: float = 1.0, random: float = 0.0) -> Mask:
        """Return what hides a share of the tokens: by default, masks alone."""
        return Mask(share, self.mask_id, self.ordinary, masked, random)

    def types(self, length: int) -> NDArray[np.int64]:
        """Return the types of a window's tokens, special ones included."""
        before, own, after = self.type_ids
        inside = length - len(before) - len(after)
        return np.array([*before, *(own,) * inside, *after], np.int64)


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens that a model reads at once.

    Args:
        ids: with the special tokens around them.
        words: the number of each token's word, `NO_WORD` where it is never hidden.
    """

    ids: NDArray[np.int32]
    words: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


def vocabulary_of(tokenizer: Tokenizer, folder: Path) -> Vocabulary:
    """Find out how a tokenizer lays out a text, and with what it hides tokens.

    Args:
        tokenizer: as `load_tokenizer` returns it.
        folder: of its files.

    Raises:
        ModelError: it has no mask token, or lays out a text in another way.
    """
    mask_id = _mask_id(tokenizer, folder)
    probe = tokenizer.encode("a")
    own = [place for place, special in enumerate(probe.special_tokens_mask) if not special]
    if not own:
        raise ModelError(
            "the tokenizer makes no token of a letter",
            where=str(folder),
            remedy="Name a model whose tokenizer reads your reviews' language.",
        )
    first, last = own[0], own[-1] + 1
    unknown = getattr(tokenizer.model, "unk_token", None)
    special = {
        *probe.ids[:first],
        *probe.ids[last:],
        *(
            number
            for number, token in tokenizer.get_added_tokens_decoder().items()
            if token.special
        ),
        mask_id,
        tokenizer.token_to_id(unknown) if unknown else None,
    }
    ordinary = sorted({*tokenizer.get_vocab().values()} - special)
    types = probe.type_ids
    return Vocabulary(
        tokenizer,
        mask_id,
        np.array(ordinary, np.int32),
        tuple(probe.ids[:first]),
        tuple(probe.ids[last:]),
        (tuple(types[:first]), types[first], tuple(types[last:])),
    )


def _mask_id(tokenizer: Tokenizer, folder: Path) -> int:
    named = []
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / name
        if path.is_file():
            token = orjson.loads(path.read_bytes()).get("mask_token")
            named.append(token.get("content") if isinstance(token, dict) else token)
    for token in (*named, *MASK_TOKENS):
        if token and (number := tokenizer.token_to_id(token)) is not None:
            return number
    raise ModelError(
        "the tokenizer has no mask token",
        where=str(folder),
        remedy="Name an encoder that was trained by hiding tokens, such as BERT, RoBERTa, MPNet or "
        "MiniLM.",
    )


def windows_of(
    texts: Sequence[str],
    vocabulary: Vocabulary,
    *,
    layout: Literal["packed", "windows"],
    length: int,
    whole_words: bool = True,
) -> list[Window]:
    """Cut texts into windows; where it can be, between words.

    Args:
        texts: of reviews.
        vocabulary: of the model.
        layout: `packed`: all texts as one, with the separator between them. `windows`: each text
            begins a window.
        length: tokens of a window, special ones included.
        whole_words: False: each token is a word.
    """
    room = length - len(vocabulary.before) - len(vocabulary.after)
    rows = _encoded(texts, vocabulary, whole_words)
    if layout == "packed":
        rows = _joined(rows, vocabulary)
    return [
        _framed(ids[cut], words[cut], vocabulary)
        for ids, words in rows
        for cut in _cuts(words, room)
    ]


Row = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Ids, and numbers of words, without special tokens around them."""


def _encoded(texts: Sequence[str], vocabulary: Vocabulary, whole_words: bool) -> Iterator[Row]:
    ordinary = np.zeros(int(vocabulary.ordinary[-1]) + 1, np.bool_)
    ordinary[vocabulary.ordinary] = True
    for first in range(0, len(texts), TEXTS_AT_ONCE):
        some = [encodable(text) for text in texts[first : first + TEXTS_AT_ONCE]]
        encodings = vocabulary.tokenizer.encode_batch(some, add_special_tokens=False)
        for text, encoding in zip(some, encodings, strict=True):
            if encoding.ids:
                yield (
                    np.array(encoding.ids, np.int32),
                    words_of(text, encoding, ordinary, whole_words=whole_words),
                )


def words_of(
    text: str, encoding: Encoding, ordinary: NDArray[np.bool_], *, whole_words: bool = True
) -> NDArray[np.int32]:
    """Number the words that a text's tokens belong to.

    A word is what the tokenizer says is one; where it does not divide a text into words, as some
    of SentencePiece, what stands between its marks for spaces.

    Args:
        text: what was encoded.
        encoding: of it, without special tokens.
        ordinary: by id, whether a token is not special; a word with another one is none.
        whole_words: False: each token is a word.

    Returns:
        A number for each token, `NO_WORD` for those that are never hidden.

    >>> from tokenizers import Tokenizer, models, pre_tokenizers
    >>> tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "so": 1, "light": 2, "##er": 3}))
    >>> tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    >>> text, ordinary = "so lighter !", np.array([False, True, True, True])
    >>> words_of(text, tokenizer.encode(text), ordinary).tolist()
    [0, 1, 1, -1]
    """
    ids = np.array(encoding.ids, np.int32)
    begins = np.ones(len(ids), np.bool_)
    if whole_words:
        said = np.array([NO_WORD if word is None else word for word in encoding.word_ids])
        begins[1:] = np.diff(said) != 0
        begins |= [token.startswith((*MARKERS,)) for token in encoding.tokens]
        words = np.cumsum(begins) - 1
        begins |= np.bincount(words)[words] > LONGEST_WORD
    words = np.cumsum(begins) - 1
    is_seen = np.array([bool(text[start:end].strip()) for start, end in encoding.offsets])
    known = (ids < len(ordinary)) & ordinary[np.minimum(ids, len(ordinary) - 1)]
    seen = np.bincount(words, weights=is_seen) > 0
    whole = np.bincount(words, weights=~known) == 0
    return np.where((seen & whole)[words], words, NO_WORD).astype(np.int32)


def _joined(rows: Iterator[Row], vocabulary: Vocabulary) -> Iterator[Row]:
    """Put texts one after the other, with the token that ends a text between them."""
    separator = np.array((vocabulary.after or vocabulary.before)[:1], np.int32)
    between = np.full(len(separator), NO_WORD, np.int32)
    ids: list[NDArray[np.int32]] = []
    words: list[NDArray[np.int32]] = []
    first = 0
    for own_ids, own_words in rows:
        if ids:
            ids.append(separator)
            words.append(between)
        ids.append(own_ids)
        words.append(np.where(own_words == NO_WORD, NO_WORD, own_words + first).astype(np.int32))
        first += len(own_words)
    if ids:
        yield np.concatenate(ids), np.concatenate(words)


def _cuts(words: NDArray[np.int32], room: int) -> Iterator[slice]:
    """Divide tokens into stretches of at most `room`, between words where that can be."""
    start, end = 0, len(words)
    while start < end:
        stop = min(start + room, end)
        if stop < end:
            shorter = stop
            while (
                shorter > start
                and words[shorter] != NO_WORD
                and words[shorter] == words[shorter - 1]
            ):
                shorter -= 1
            stop = shorter if shorter > start else stop
        yield slice(start, stop)
        start = stop


def _framed(ids: NDArray[np.int32], words: NDArray[np.int32], vocabulary: Vocabulary) -> Window:
    before, after = vocabulary.before, vocabulary.after
    around = np.full(len(before) + len(words) + len(after), NO_WORD, np.int32)
    around[len(before) : len(before) + len(words)] = words
    return Window(np.array([*before, *ids, *after], np.int32), around)
