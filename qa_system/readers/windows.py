"""Question + review -> overlapping windows of tokens that a reader can take in.

A window is laid out as the tokenizer's own post-processor lays out a pair, for example
`[CLS] question [SEP] part of the review [SEP]`. The first token is the null token: its logits
say how sure the model is that this window holds no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qa_system.console.wording import counted
from qa_system.errors import ModelError, QuestionTooLongError
from qa_system.models.inference import IntArray
from qa_system.models.tokenizing import encodable, places, take_literally, with_sound_offsets

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["MINIMUM_CONTEXT", "Room", "Window", "WindowCutter"]

MINIMUM_CONTEXT = 32
"""Tokens of the review that a window must have room for; half of a window shorter than 64."""


@dataclass(frozen=True, slots=True)
class Window:
    """One input of the reader.

    Args:
        input_ids: token ids, shape (length,).
        type_ids: 0 or 1 for the segment that a token belongs to, shape (length,).
        context_start: the position of the review's first token in the window.
        offsets: for each of the review's tokens in the window, its first character in the
            review and the one after its last, shape (tokens, 2); no white space is at either end,
            and a token of white space alone is empty.
    """

    input_ids: IntArray
    type_ids: IntArray
    context_start: int
    offsets: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.input_ids)

    def moved(self, characters: int) -> Window:
        """Return the same window of a text that stands so many characters into its review."""
        return replace(self, offsets=self.offsets + np.int32(characters)) if characters else self


@dataclass(frozen=True, slots=True)
class Room:
    """What the windows of a question have room for.

    Args:
        overhead: tokens of the question and special tokens, which each window repeats.
        context: tokens of a text that a window holds at most.
        step: tokens of a text from the beginning of a window to that of the next.
    """

    overhead: int
    context: int
    step: int

    def cost(self, tokens: int) -> int:
        """Return the tokens of all windows of a text.

        >>> room = Room(overhead=10, context=100, step=80)
        >>> room.cost(0), room.cost(100), room.cost(101)
        (0, 110, 141)
        """
        if tokens == 0:
            return 0
        further = max(0, -(-(tokens - self.context) // self.step))
        return tokens + self.overhead + further * (self.overhead + self.context - self.step)


@dataclass(frozen=True, slots=True)
class _Text:
    ids: IntArray
    offsets: NDArray[np.int32]


class WindowCutter:
    """Cut reviews into windows.

    Each distinct text is tokenised once for a call, and windows are slices of its tokens. Special
    tokens in a question or a review are the letters that they are written with.

    Args:
        tokenizer: without truncation and padding of its own.
        max_seq_length: tokens of a window at most.
        stride: tokens of the review that two neighbouring windows share. If the question leaves
            so little room that they would share more than half of it, they share half.
        where: the tokenizer comes from, for errors.

    Raises:
        ModelError: the tokenizer does not begin a pair with a special token, or does not say
            where its tokens stand in a text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_seq_length: int = 384,
        stride: int = 128,
        *,
        where: str | None = None,
    ) -> None:
        self.max_seq_length = max_seq_length
        self.stride = stride
        take_literally(tokenizer)
        self._tokenizer = with_sound_offsets(tokenizer, where)
        pair = tokenizer.encode("a", "a")
        ids = np.array(pair.ids, dtype=np.int64)
        types = np.array(pair.type_ids, dtype=np.int64)
        sequences = pair.sequence_ids
        question = [at for at, sequence in enumerate(sequences) if sequence == 0]
        context = [at for at, sequence in enumerate(sequences) if sequence == 1]
        if not question or not context or question[0] == 0 or context[0] < question[0]:
            raise ModelError(
                "the tokenizer does not lay out a pair as special token, question, review, "
                "so there is no token that could stand for 'no answer'",
                where=where,
                remedy="Use a reader of the BERT or RoBERTa family.",
            )
        before = slice(0, question[0])
        between = slice(question[-1] + 1, context[0])
        after = slice(context[-1] + 1, len(ids))
        self._special_ids = [ids[part] for part in (before, between, after)]
        self._special_types = [types[part] for part in (before, between, after)]
        self._question_type = int(types[question[0]])
        self._context_type = int(types[context[0]])
        self._specials = sum(len(part) for part in self._special_ids)

    def room(self, question_tokens: int) -> int:
        """Return the tokens of a review that a window holds beside a question."""
        return self.max_seq_length - self._specials - question_tokens

    @property
    def least_room(self) -> int:
        """A question that leaves less is refused."""
        return min(MINIMUM_CONTEXT, self.max_seq_length // 2 - self._specials)

    def room_beside(self, question: str) -> Room:
        """Return what the windows of a question have room for.

        Raises:
            QuestionTooLongError: that is too little.
        """
        return self._room_beside(question, len(self._encode([question])[question].ids))

    def token_ends(self, text: str) -> list[int]:
        """Return the character after the last of each token of a text."""
        ends: list[int] = self._encode([text])[text].offsets[:, 1].tolist()
        return ends

    def fits(self, questions: Sequence[str]) -> list[bool]:
        """Tell which questions leave enough room for a review; `cut` refuses the others."""
        encoded = self._encode(questions)
        return [self.room(len(encoded[each].ids)) >= self.least_room for each in questions]

    def cut(
        self, questions: Sequence[str], documents: Sequence[Sequence[str | None]]
    ) -> list[list[list[Window]]]:
        """Cut the documents of several questions.

        Args:
            questions: what is asked.
            documents: the texts to read for each question; None or an empty text has no window.

        Returns:
            For each question, for each of its documents, the windows in reading order.

        Raises:
            QuestionTooLongError: a question leaves too little room for the review.
        """
        encoded = self._encode([*questions, *(text for texts in documents for text in texts)])
        return [
            [self._windows(question, encoded[question], encoded.get(text)) for text in texts]
            for question, texts in zip(questions, documents, strict=True)
        ]

    def _encode(self, texts: Iterable[str | None]) -> dict[str | None, _Text]:
        distinct = list(dict.fromkeys(text for text in texts if text is not None))
        taken = [encodable(text) for text in distinct]
        encodings = self._tokenizer.encode_batch(taken, add_special_tokens=False)
        return {
            text: _Text(np.array(encoding.ids, dtype=np.int64), places(own, encoding))
            for text, own, encoding in zip(distinct, taken, encodings, strict=True)
        }

    def _room_beside(self, question: str, tokens: int) -> Room:
        room = self.room(tokens)
        if room < self.least_room:
            raise QuestionTooLongError(
                f"the question has {counted(tokens, 'token')}, which leaves room "
                f"for {max(room, 0)} "
                f"of the review in a window of {self.max_seq_length}",
                where=f"{question[:60]}..." if len(question) > 60 else question,
                remedy="Ask a shorter question, or set a larger reader.max_seq_length "
                "if the model has the positions.",
            )
        return Room(self._specials + tokens, room, room - min(self.stride, room // 2))

    def _windows(self, question: str, asked: _Text, read: _Text | None) -> list[Window]:
        room = self._room_beside(question, len(asked.ids))
        if read is None or len(read.ids) == 0:
            return []
        before, between, after = self._special_ids
        head = np.concatenate((before, asked.ids, between))
        types_before, types_between, types_after = self._special_types
        head_types = np.concatenate(
            (types_before, np.full(len(asked.ids), self._question_type), types_between)
        )
        windows = []
        for start in range(0, len(read.ids), room.step):
            stop = min(start + room.context, len(read.ids))
            context_types = np.full(stop - start, self._context_type)
            windows.append(
                Window(
                    input_ids=np.concatenate((head, read.ids[start:stop], after)),
                    type_ids=np.concatenate((head_types, context_types, types_after)),
                    context_start=len(head),
                    offsets=read.offsets[start:stop],
                )
            )
            if stop == len(read.ids):
                break
        return windows
