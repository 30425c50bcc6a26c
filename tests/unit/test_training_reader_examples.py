from qa_system.labels import UNLOCATED
from qa_system.records import AnswerSpan, Label
from qa_system.training.reader.examples import Example, examples_of, with_negatives
from qa_system.training.recipes import HardNegatives


def label(number, item, text, answer=None, question="How is the battery?", **meta):
    start = text.index(answer) if answer else 0
    spans = (AnswerSpan(answer, start, start + len(answer)),) if answer else ()
    return Label(f"q{number}", question, item, f"r{number}", text, spans, meta=meta)


LABELS = [
    label(1, "A", "The battery lasts two days.", "two days"),
    label(2, "A", "Battery? I never checked."),
    label(3, "A", "The battery is fine for me.", "fine"),
    label(4, "B", "The strap is cheap.", question="How is the strap?"),
]


def test_an_answer_that_nobody_can_place_teaches_nothing():
    lost = label(5, "A", "Good.", **{UNLOCATED: ["so good"]})
    assert examples_of([lost, LABELS[1]]) == (
        [Example("How is the battery?", "Battery? I never checked.", ())],
        1,
    )


def test_negatives_do_not_answer_the_question():
    examples, counts = with_negatives(LABELS, HardNegatives(same_item=1, other_item=1), seed=1)
    assert counts["examples"] == 4
    added = examples[4:]
    assert all(example.spans == () for example in added)
    # Of item A only the review that no annotator found an answer in; of others, the strap.
    assert [example.context for example in added] == ["Battery? I never checked."] * 2 + [
        "The strap is cheap."
    ] * counts["other_item"]
    assert counts["same_item"] == 2


def test_a_text_with_the_answers_words_is_no_negative():
    labels = [
        label(1, None, "It lasts two days.", "two days", question="How long does it last?"),
        label(2, None, "Mine lasts TWO DAYS, too.", question="Is it good?"),
    ]
    examples, counts = with_negatives(labels, HardNegatives(same_item=1, other_item=1), seed=1)
    assert len(examples) == 2
    assert counts["same_item"] == counts["other_item"] == 0


def test_the_seed_decides():
    some = HardNegatives(same_item=0.5, other_item=0.5)
    assert with_negatives(LABELS, some, 3) == with_negatives(LABELS, some, 3)
