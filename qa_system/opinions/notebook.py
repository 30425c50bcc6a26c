"""Answers as a notebook shows them: HTML without scripts, legible on white and on black."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qa_system.opinions import Point, Quote
    from qa_system.records import Answer, Answers

__all__ = ["page"]

STYLE: Final = """
.qa-answers{max-width:44em;line-height:1.5}
.qa-answers p{margin:.2em 0}
.qa-answers small{opacity:.75}
.qa-answers meter{width:100%;height:.7em}
.qa-answers details{margin:.6em 0}
.qa-answers summary{cursor:pointer}
.qa-answers blockquote{margin:.3em 0 .3em 1em;padding-left:.7em;border-left:2px solid currentcolor}
"""
"""No colours: those of text and ground are the notebook's own, dark or light."""


def page(answers: Answers) -> str:
    """Return answers as HTML.

    >>> from qa_system.records import Answers
    >>> print(page(Answers("<b>?", None, (), None, 0)).split("</style>")[1])
    <div class="qa-answers"><p><b>&lt;b&gt;?</b></p><p>No review speaks of it.</p></div>
    """
    body = "".join(_parts(answers))
    return f'<style>{STYLE}</style><div class="qa-answers">{body}</div>'


def _parts(answers: Answers) -> Iterator[str]:
    about = "" if answers.item_id is None else f" <small>{escape(answers.item_id)}</small>"
    yield f"<p><b>{escape(answers.question)}</b>{about}</p>"
    if answers.error is not None:
        yield f"<p>{escape(answers.error.public_message)}</p>"
        return
    verdict = "" if answers.verdict is None else f"<b>{escape(str(answers.verdict))}</b> "
    yield f"<p>{verdict}{escape(answers.spoken)}</p>"
    for answer in answers.answers:
        if answer.generated:
            yield from _generated(answer)
    for part in answers.parts or (None,):
        points = [point for point in answers.points if point.part == part]
        if part is not None:
            yield f"<p><b>{escape(part)}</b> {escape(answers.spoken_of(part))}</p>"
        for point in points:
            yield from _point(point)


def _generated(answer: Answer) -> Iterator[str]:
    yield f"<p>{escape(answer.text)} <small>written, support {answer.confidence:.0%}</small></p>"


def _point(point: Point) -> Iterator[str]:
    low, high = point.interval
    told = f"{point.support} of {round(point.support / point.share)}"
    yield f"<details><summary>{escape(point.label)} <small>{told}"
    yield "" if point.polarity in (None, "neither") else f", {point.polarity}"
    yield f'</small><br><meter value="{point.share:.3f}" title="{low:.0%} to {high:.0%}">'
    yield f"{point.share:.0%}</meter></summary>"
    for quote in point.quotes:
        yield from _quote(quote)
    yield "</details>"


def _quote(quote: Quote) -> Iterator[str]:
    before, marked, after = quote.snippet.partition(quote.text)
    told = [quote.review_id, *(str(quote.meta[key]) for key in ("date",) if quote.meta.get(key))]
    if quote.meta.get("stars") is not None:
        told.append(f"{quote.meta['stars']} ★")
    yield f"<blockquote>{escape(before)}<mark>{escape(marked)}</mark>{escape(after)}"
    yield f"<br><small>{escape(', '.join(told))}</small></blockquote>"
