"""Questions as they come in: checked at the entrance, and each with an error of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from qa_system.arguments import check_filters, check_question, check_text
from qa_system.config.choices import AnswerMode
from qa_system.errors import InvalidArgumentError, QASystemError, QuestionError
from qa_system.records import Answers, Question
from qa_system.stores.filters import InvalidFilterError, of_item, parse_filters

__all__ = [
    "Steps",
    "failed",
    "filters_of",
    "questions_of",
    "refuse_unaskable",
    "refuse_unknown_mode",
]

OF_ONE_QUESTION = (InvalidArgumentError, InvalidFilterError, QuestionError)
"""Errors that concern one question of several; any other concerns all of them."""

Result = TypeVar("Result")


def refuse_unknown_mode(mode: str) -> None:
    """Refuse what is no mode of answering.

    Raises:
        InvalidArgumentError: naming the modes.
    """
    if mode not in get_args(AnswerMode):
        raise InvalidArgumentError(
            f"mode is {mode!r}", remedy=f"Use one of {', '.join(get_args(AnswerMode))}."
        )


def questions_of(given: Iterable[Question]) -> list[Question]:
    """Return the questions as a list.

    Raises:
        InvalidArgumentError: something else than questions was passed.
    """
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise InvalidArgumentError(
            f"the questions are a {type(given).__name__}", remedy="Pass a list of Question."
        )
    asked = list(given)
    for at, each in enumerate(asked):
        if not isinstance(each, Question):
            raise InvalidArgumentError(
                f"questions[{at}] is a {type(each).__name__}", remedy="Pass a list of Question."
            )
    return asked


def refuse_unaskable(question: Question) -> None:
    """Refuse a question that no store and no reader could be asked.

    Raises:
        InvalidArgumentError: its text or its item is no text, or text that UTF-8 cannot hold.
        EmptyQuestionError: it has no words.
        InvalidFilterError: its filters are malformed or too large.
    """
    check_question(question.text)
    if question.item_id is not None:
        check_text("item_id", question.item_id)
    if question.filters is not None:
        check_filters("filters", question.filters)
        parse_filters(question.filters)


def filters_of(question: Question) -> dict[str, Any] | None:
    """Return the filter that selects the reviews asked about; None: all of them.

    >>> filters_of(Question("Loud?", "lamp", {}))
    {'field': 'meta.item_id', 'operator': '==', 'value': 'lamp'}
    """
    if question.item_id is not None:
        return of_item(question.item_id, question.filters)
    return dict(question.filters) if question.filters else None


def failed(question: Question, error: QASystemError, timings: Mapping[str, float]) -> Answers:
    """Return the result of a question that could not be answered.

    It can be written as JSON, even if the question is no text or text that UTF-8 cannot hold.

    >>> failed(Question("b\\udce9ttery?"), QuestionError("no"), {}).question
    'b?ttery?'
    """
    item = None if question.item_id is None else _printable(question.item_id)
    return Answers(_printable(question.text), item, (), None, 0, timings=timings, error=error)


def _printable(value: object) -> str:
    return value.encode(errors="replace").decode() if isinstance(value, str) else repr(value)


class Steps:
    """The steps of answering several questions; one that fails takes no part in the next step.

    `errors` has those that failed, by their place among the questions.
    """

    def __init__(self) -> None:
        self.errors: dict[int, QASystemError] = {}

    def each(self, places: Iterable[int], step: Callable[[int], Result]) -> dict[int, Result]:
        """Do a step for each question by itself, and return the results by place."""
        done: dict[int, Result] = {}
        for at in places:
            try:
                done[at] = step(at)
            except OF_ONE_QUESTION as error:
                self.errors[at] = error
        return done

    def together(
        self, places: Sequence[int], step: Callable[[Sequence[int]], Sequence[Result]]
    ) -> dict[int, Result]:
        """Do a step for all questions at once, and return the results by place.

        If one of them fails, the step is done again for each half, so that n questions of which
        one fails take about log2(n) more calls.

        >>> steps = Steps()
        >>> def halve(part: Sequence[int]) -> list[int]:
        ...     if any(at % 2 for at in part):
        ...         raise QuestionError("odd")
        ...     return [at // 2 for at in part]
        >>> steps.together([0, 2, 3, 4], halve), list(steps.errors)
        ({0: 0, 2: 1, 4: 2}, [3])
        """
        try:
            return dict(zip(places, step(places), strict=True)) if places else {}
        except OF_ONE_QUESTION as error:
            if len(places) == 1:
                self.errors[places[0]] = error
                return {}
        half = len(places) // 2
        return self.together(places[:half], step) | self.together(places[half:], step)
