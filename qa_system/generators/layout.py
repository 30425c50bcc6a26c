"""How a question and a document become one source: the token ids that the encoder reads."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qa_system.console.wording import counted
from qa_system.errors import ConfigError, QuestionTooLongError
from qa_system.readers.windows import MINIMUM_CONTEXT

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["SourceLayout"]


class SourceLayout:
    """Lay out a question and a document as the token ids that the encoder reads.

    Every run of white space becomes one space. Special tokens in the template are special tokens;
    in a question or a review the same letters are plain text. The tokens that the tokenizer puts
    around a single text are put around the whole.

    Args:
        tokenizer: without truncation and padding.
        template: with `{question}`, `{text}` and optionally `{title}`; `{{` and `}}` are braces.
        max_length: tokens of a source at most. Only the text is cut to fit, at its end.

    Raises:
        ConfigError: the template is malformed.
    """

    def __init__(self, tokenizer: Tokenizer, template: str, max_length: int) -> None:
        self.template = template
        self.max_length = max_length
        # A copy: on the model's own tokenizer the switch would split the template's special tokens.
        self._plain = type(tokenizer).from_str(tokenizer.to_str())
        self._plain.encode_special_tokens = True
        around = tokenizer.encode("a")
        inner = [at for at, special in enumerate(around.special_tokens_mask) if not special]
        first, last = (inner[0], inner[-1] + 1) if inner else (0, 0)
        self._begin, self._end = around.ids[:first], around.ids[last:]
        self._parts = _parts(template, tokenizer)

    def source_ids(
        self, question: str, texts: Sequence[str], titles: Sequence[str] | None = None
    ) -> list[list[int]]:
        """Lay out a question with each of several texts.

        Args:
            question: what is asked.
            texts: the documents' texts.
            titles: the documents' titles; None: they have none.

        Raises:
            QuestionTooLongError: the question leaves too little room for the text.
        """
        asked = " ".join(question.split())
        titles = titles or [""] * len(texts)
        if "{title}" in self.template:
            # A review's content begins with its title, which is read in its own place.
            pairs = zip(texts, titles, strict=True)
            texts = [text.removeprefix(f"{title}\n") for text, title in pairs]
        values = [
            {"question": asked, "text": " ".join(text.split()), "title": " ".join(title.split())}
            for text, title in zip(texts, titles, strict=True)
        ]
        filled = [part.fill(each) for each in values for part in self._parts]
        encodings = iter(
            self._plain.encode_batch([text for text, _ in filled], add_special_tokens=False)
        )
        places = iter(filled)
        return [
            self._source(
                question,
                [(part.token_id, next(encodings), next(places)[1]) for part in self._parts],
            )
            for _ in values
        ]

    def _source(
        self, question: str, parts: Sequence[tuple[int | None, Any, tuple[int, int]]]
    ) -> list[int]:
        before: list[int] = list(self._begin)
        inside: list[int] = []
        after: list[int] = []
        reading = before
        for token_id, encoding, (start, stop) in parts:
            if token_id is not None:
                reading.append(token_id)
                continue
            if stop < 0:
                reading += encoding.ids
                continue
            for token, (first, last) in zip(encoding.ids, encoding.offsets, strict=True):
                if first >= stop:
                    after.append(token)
                elif last > start:
                    inside.append(token)
                else:
                    before.append(token)
            reading = after
        after += self._end
        room = self.max_length - len(before) - len(after)
        if room < min(MINIMUM_CONTEXT, self.max_length // 2):
            raise QuestionTooLongError(
                f"the question and the template have "
                f"{counted(len(before) + len(after), 'token')}, which "
                f"leaves room for {max(room, 0)} of the review in a source of {self.max_length}",
                where=f"{question[:60]}..." if len(question) > 60 else question,
                remedy="Ask a shorter question, or set a larger generator.max_source_length "
                "if the model has the positions.",
            )
        return before + inside[:room] + after


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of the template: a special token, or the words and fields between two of them."""

    token_id: int | None
    pieces: tuple[tuple[str, str | None], ...]

    def fill(self, values: dict[str, str]) -> tuple[str, tuple[int, int]]:
        """Return the filled text, and the document's start and end in it; -1: it is not there."""
        text, place = "", (-1, -1)
        for literal, field in self.pieces:
            text += literal
            if field is not None:
                if field == "text":
                    place = (len(text), len(text) + len(values[field]))
                text += values[field]
        return text, place


def _parts(template: str, tokenizer: Tokenizer) -> list[_Part]:
    remedy = 'Write it as "question: {question} context: {text}"; {title} may be in it too.'
    try:
        pieces = [(literal, field) for literal, field, *_ in string.Formatter().parse(template)]
    except ValueError as error:
        raise ConfigError(f"template {template!r}: {error}", remedy=remedy) from error
    named = [field for _, field in pieces if field is not None]
    if sorted(named) not in (["question", "text"], ["question", "text", "title"]):
        raise ConfigError(
            f"template {template!r} has the fields {', '.join(named) or 'none'}", remedy=remedy
        )
    specials = {
        token.content: number
        for number, token in tokenizer.get_added_tokens_decoder().items()
        if token.special
    }
    parts: list[_Part] = []
    open_pieces: list[tuple[str, str | None]] = []
    for literal, field in pieces:
        rest = literal
        while found := _first_special(rest, specials):
            open_pieces.append((rest[: rest.index(found)], None))
            parts.append(_Part(None, tuple(open_pieces)))
            parts.append(_Part(specials[found], ()))
            open_pieces, rest = [], rest[rest.index(found) + len(found) :]
        open_pieces.append((rest, field))
    parts.append(_Part(None, tuple(open_pieces)))
    return parts


def _first_special(text: str, specials: dict[str, int]) -> str | None:
    found = [token for token in specials if token in text]
    # Of two at the same place take the longer one, as tokenizers does.
    return min(found, key=lambda token: (text.index(token), -len(token)), default=None)
