"""What a ranker learns from and is measured on, worked by hand."""

from collections import Counter

from qa_system.records import AnswerSpan, Label, Review
from qa_system.training.ranker.examples import Example, dev_examples, train_examples
from qa_system.training.recipes import RankerNegatives

TEXTS = {
    "wide": ("lamp", "The strap is wide."),
    "narrow": ("lamp", "A narrow strap, I think."),
    "off_topic": ("lamp", "Nothing about a strap to tell."),
    "quote": ("lamp", "They say the strap is wide, or so."),
    "far": ("lamp", "It arrived on Monday."),
    "chair": ("chair", "A chair without arms."),
    "same": ("bag", "Strap of cloth."),
}


def label(name: str, question: str = "How is the strap?", answer: str | None = None) -> Label:
    item_id, text = TEXTS[name]
    spans = ()
    if answer is not None:
        start = text.index(answer)
        spans = (AnswerSpan(answer, start, start + len(answer)),)
    return Label(f"{name} {question}", question, item_id, name, text, spans, split="train")


LABELS = [
    label("wide", answer="strap is wide"),
    label("narrow", answer="narrow strap"),
    label("off_topic"),
    label("quote", question="Who says so?"),
    label("far", question="When did it come?", answer="on Monday"),
    label("chair", question="Has it arms?"),
    label("same", answer="cloth"),
]
REVIEWS = [Review(name, item_id, text) for name, (item_id, text) in TEXTS.items()]


def examples_of(**negatives: int) -> tuple[dict[tuple[str, int], Example], Counter[str]]:
    examples, counts = train_examples(LABELS, RankerNegatives(**negatives), seed=13)
    return {(each.question, sum(each.relevant)): each for each in examples}, counts


def texts(*names: str) -> set[str]:
    return {TEXTS[name][1] for name in names}


def test_no_text_that_may_answer_is_a_negative() -> None:
    examples, counts = examples_of(same_item=9, other_item=9)
    strap = examples["How is the strap?", 2]
    assert set(strap.texts[:2]) == texts("wide", "narrow")
    assert strap.relevant == (True, True) + (False,) * (len(strap.texts) - 2)
    # Of its own item: what was judged first. "quote" has an answer word for word, and the bag's
    # review answers the same question.
    assert strap.texts[2] == TEXTS["off_topic"][1]
    assert set(strap.texts[2:]) == texts("off_topic", "far", "chair")
    assert counts["questions"] == 3
    assert counts["relevant"] == 4
    assert counts["judged"] == 1


def test_as_many_as_asked() -> None:
    examples, counts = examples_of(same_item=1, other_item=0)
    strap = examples["How is the strap?", 2]
    assert set(strap.texts[2:]) == texts("off_topic")
    assert len(examples["When did it come?", 1].texts) == 2
    # The bag has one review, and nothing else was asked for.
    assert ("How is the strap?", 1) not in examples
    assert counts["no_negative"] == 1
    assert "other_item" not in +counts


def test_the_draw_is_the_seeds() -> None:
    assert examples_of(other_item=2) == examples_of(other_item=2)


def test_dev_examples_are_the_items_reviews_as_bm25_finds_them() -> None:
    examples = dev_examples(LABELS, REVIEWS, candidates=30)
    strap, monday, bag = examples
    assert set(strap.texts) == texts("wide", "narrow", "off_topic", "quote", "far")
    assert {
        text for text, right in zip(strap.texts, strap.relevant, strict=True) if right
    } == texts("wide", "narrow")
    assert monday.question == "When did it come?"
    assert (bag.texts, bag.relevant) == ((TEXTS["same"][1],), (True,))
    [first, *_] = dev_examples(LABELS, REVIEWS, candidates=2)
    assert len(first.texts) == 2
    assert first.texts == strap.texts[:2]
