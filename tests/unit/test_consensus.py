"""What reviews say together, from what a judge said of their sentences: counts and points."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from haystack import Document
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import binomtest

from qa_system.consensus.candidates import Marked, clauses_of, mentions_in, of_surest_part
from qa_system.consensus.duplicates import duplicates_of
from qa_system.consensus.intervals import wilson
from qa_system.consensus.mentions import Mention, judged_mentions
from qa_system.consensus.points import groups_of, similarity, similarity_of_words
from qa_system.consensus.summary import Consensus, Grouped, Material, consensus_of
from qa_system.consensus.verdict import verdict_of
from qa_system.consensus.weighing import Leaning
from qa_system.judging import Judgements
from qa_system.opinions import Verdict, are_opposed

QUESTION = "Does it run big?"
TRUE_TO_SIZE = "True to size?"

# -- intervals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe (1998), table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (1, 1, 0.2065, 1.0),  # by hand: 1 / (1 + z * z)
    ],
)
def test_wilsons_intervals(part: int, whole: int, low: float, high: float) -> None:
    assert wilson(part, whole) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 300), st.integers(1, 300))
def test_wilsons_intervals_are_those_of_scipy(part: int, whole: int) -> None:
    part = min(part, whole)
    expected = binomtest(part, whole).proportion_ci(method="wilson")
    assert wilson(part, whole) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("part", "whole"), [(-1, 3), (4, 3), (1, 0)])
def test_what_is_no_part_is_refused(part: int, whole: int) -> None:
    with pytest.raises(ValueError, match="no part"):
        wilson(part, whole)


# -- verdicts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stances", "verdict"),
    [
        ("yy", Verdict("yes", 2, 0)),
        ("nnn", Verdict("no", 0, 3)),
        ("yyn", Verdict("mostly_yes", 2, 1)),
        ("ynn", Verdict("mostly_no", 1, 2)),
        ("yn", Verdict("divided", 1, 1)),
        ("yyynn", Verdict("divided", 3, 2)),
        ("yyyynn", Verdict("mostly_yes", 4, 2)),
        ("yym", Verdict("mostly_yes", 2, 0)),
        ("mm", Verdict("divided", 0, 0)),
        ("yy????", Verdict("yes", 2, 0)),
        ("y", None),
        ("y??", None),
        ("??", None),
        ("", Verdict("not_said", 0, 0)),
    ],
)
def test_verdicts(stances: str, verdict: Verdict | None) -> None:
    known = {"y": "yes", "n": "no", "m": "mixed", "?": None}
    assert verdict_of([known[each] for each in stances], least=2) == verdict


def test_a_verdict_can_ask_for_more_reviews() -> None:
    assert verdict_of(["yes"] * 3, least=4) is None
    assert verdict_of(["yes"], least=1) == Verdict("yes", 1, 0)


# -- duplicates --------------------------------------------------------------------------------

LONG = "I have worn them every day for a month and the seam at the heel has come undone twice."


def test_copies_are_found_however_they_are_spelled() -> None:
    changed = LONG.replace("twice", "TWICE").replace(" and", ", and").replace("a month", "a  month")
    longer = f"{LONG} Recommended."
    other = LONG.replace("seam at the heel", "sole").replace("twice", "once").replace("day", "week")
    assert duplicates_of([LONG, other, changed, longer]) == [0, 1, 0, 0]


def test_what_two_customers_say_alike_is_no_copy() -> None:
    assert duplicates_of(["True to size.", "true to size", "", ""]) == [0, 1, 2, 3]
    assert duplicates_of(["True to size.", "true to size", "big", ""], least_words=1) == [
        0,
        0,
        2,
        3,
    ]


WORDS = st.lists(st.sampled_from(list("abcdefghijkl")), min_size=8, max_size=20)


@given(st.lists(WORDS.map(" ".join), max_size=8), st.randoms(use_true_random=False))
def test_duplicates_do_not_depend_on_the_order(texts: list[str], random) -> None:
    order = list(range(len(texts)))
    random.shuffle(order)
    found = duplicates_of(texts)
    shuffled = duplicates_of([texts[at] for at in order])
    groups = {frozenset(at for at, one in enumerate(found) if one == each) for each in found}
    same = {
        frozenset(order[at] for at, one in enumerate(shuffled) if one == each) for each in shuffled
    }
    assert groups == same
    assert all(found[each] == each <= at for at, each in enumerate(found))


@given(st.lists(WORDS, min_size=2, max_size=6))
def test_no_pair_of_originals_is_similar(texts: list[list[str]]) -> None:
    found = duplicates_of([" ".join(words) for words in texts])
    sets = [set(zip(words, words[1:], words[2:], strict=False)) for words in texts]
    originals = sorted(set(found))
    for one in originals:
        for other in originals:
            if one < other:
                assert len(sets[one] & sets[other]) < 0.8 * len(sets[one] | sets[other])


def test_many_reviews_are_compared_with_few() -> None:
    """Comparing each with each would be 12.5 million pairs, and minutes."""
    numbers = np.random.default_rng(0).integers(0, 3000, (5000, 30))
    texts = [" ".join(f"w{number}" for number in row) for row in numbers]
    assert len(set(duplicates_of(texts + texts))) == len(texts)


# -- points ------------------------------------------------------------------------------------


def mention(at: int, text: str = "", stance=None, polarity=None, confidence=0.9) -> Mention:
    return Mention(
        f"r{at:02}", at, 0, len(text), text, confidence, stance=stance, polarity=polarity
    )


@given(st.integers(2, 12), st.integers(0, 10_000), st.sampled_from([0.2, 0.4, 0.6]))
def test_without_opposites_it_is_scipys_average_linkage(
    count: int, seed: int, threshold: float
) -> None:
    alike = similarity(np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32))
    groups = groups_of([mention(at) for at in range(count)], alike, threshold)
    apart = squareform(1 - alike, checks=False)
    labels = fcluster(linkage(apart, "average"), 1 - threshold, "distance")
    expected = {frozenset(np.flatnonzero(labels == each).tolist()) for each in labels}
    assert {frozenset(each.document for each in one.mentions) for one in groups} == expected


STANCES = st.sampled_from(["yes", "no", "mixed", None])
POLARITIES = st.sampled_from(["for", "against", "neither", "mixed", None])


@given(st.lists(st.tuples(STANCES, POLARITIES), max_size=10))
def test_opposites_are_never_one_point(kinds) -> None:
    mentions = [mention(at, "same", *kind) for at, kind in enumerate(kinds)]
    groups = groups_of(mentions, np.ones((len(mentions),) * 2), -1.0)
    for group in groups:
        assert not any(
            are_opposed(one, other) for one in group.mentions for other in group.mentions
        )
        assert len({each.stance for each in group.mentions} - {None}) <= 1
        assert group.stance in {each.stance for each in group.mentions}
    assert sorted(each.document for group in groups for each in group.mentions) == list(
        range(len(mentions))
    )
    sizes = [len(group.mentions) for group in groups]
    assert all(before >= after for before, after in pairwise(sizes))


def test_two_that_answer_alike_are_one_point_sooner() -> None:
    alike = np.array([[1, 0.4, 0.4], [0.4, 1, 0.4], [0.4, 0.4, 1]])
    mentions = [mention(at, stance=stance) for at, stance in enumerate(["yes", "yes", None])]
    assert len(groups_of(mentions, alike, 0.5)) == 3
    groups = groups_of(mentions, alike, 0.5, same_stance=0.1)
    assert [len(group.mentions) for group in groups] == [2, 1]


def test_the_label_is_the_most_central_quote() -> None:
    texts = ["it runs big", "runs big", "runs very big indeed"]
    mentions = [mention(at, text) for at, text in enumerate(texts)]
    [group] = groups_of(mentions, similarity_of_words(texts), 0.2)
    assert group.central.text == "runs big"


def test_the_label_of_a_short_quote_is_its_sentence() -> None:
    sentence = "The jug is glass, HEAVY glass."
    short = replace(mention(0, "HEAVY glass"), sentence=sentence)
    documents = [Document(id="r00", content=sentence)]
    for one, label in (
        (short, sentence),
        (replace(short, text="is glass, HEAVY"), "is glass, HEAVY"),
    ):
        grouped = Grouped(Material("Heavy?", documents), groups_of([one], np.eye(1), 0.5))
        [point] = consensus_of([grouped], 2, 160).points
        assert point.label == label


def test_points_of_as_many_reviews_come_by_confidence() -> None:
    mentions = [mention(0, "red", confidence=0.6), mention(1, "blue", confidence=0.8)]
    groups = groups_of(mentions, np.eye(2), 0.5)
    assert [group.central.text for group in groups] == ["blue", "red"]


# -- from judgements to a consensus ------------------------------------------------------------

SAID = {
    "runs big": ("yes", "They run a good size too big for me and slip."),
    "my size was huge": ("yes", "In my usual size they were huge, like boats on my feet."),
    "true": ("no", "These fit true to size, just as my other pairs do."),
    "small": ("no", "If anything they come up small and I went half a size up."),
    "depends": ("mixed", "The left one was big and the right one was just right."),
    "unsure": (None, "Size is hard to say as I bought them as a present for my aunt."),
}
"""The stance that the judge sees in a review, and what it says."""


def stance_row(stance: str | None) -> list[float]:
    kinds = ["yes", "no", "mixed"]
    return [1 / 3] * 3 if stance is None else [0.9 if each == stance else 0.05 for each in kinds]


NEITHER = Judgements(
    answers=np.float32([0.9]),
    stance=np.float32([[1, 0, 0]]),
    polarity=np.float32([[0.1, 0.1, 0.7, 0.1]]),
    subjective=np.float32([0.1]),
)
"""Of a question that is neither good nor bad: the judge's own stances count."""

Said = tuple[str, str | None, str]
"""A review's id, the stance that the judge sees in it, and its text."""


def consensus(said: list[Said], question: str = QUESTION, least: int | None = 2) -> Consensus:
    """What reviews say, through all pure functions."""
    documents = [Document(id=name, content=text) for name, _, text in said]
    clauses = clauses_of(question, documents, [], 64)
    stances = [stance_row(said[each.document][1]) for each in clauses]
    judged = Judgements(
        answers=np.full(len(clauses), 0.9, np.float32),
        stance=np.array(stances, np.float32).reshape(-1, 3),
        polarity=np.tile(np.float32([0.1, 0.1, 0.7, 0.1]), (len(clauses), 1)),
        subjective=np.full(len(clauses), 0.9, np.float32),
    )
    found = judged_mentions(clauses, judged, statement=NEITHER, leaning=Leaning())
    mentions = mentions_in(found, documents, [], 0.5)
    alike = similarity_of_words([each.text for each in mentions])
    material = Material(question, documents)
    return consensus_of([Grouped(material, groups_of(mentions, alike, 0.3))], least, 160)


def distinct(keys: list[str]) -> list[Said]:
    """Reviews in words of their own: no two of them are copies."""
    return [
        (
            f"r{at:02}",
            SAID[key][0],
            f"{SAID[key][1][:-1]}, {' '.join(f'w{at}x{n}' for n in range(9))}.",
        )
        for at, key in enumerate(keys)
    ]


KEYS = st.lists(st.sampled_from(list(SAID)), max_size=10)


def test_points_count_reviews() -> None:
    found = consensus(distinct(["true"] * 3 + ["runs big"] * 2))
    assert found.mentions == 5
    assert found.verdict == Verdict("divided", 2, 3)
    assert [(point.support, point.share, point.stance) for point in found.points] == [
        (3, 0.6, "no"),
        (2, 0.4, "yes"),
    ]
    first = found.points[0]
    assert first.interval == wilson(3, 5)
    assert (first.polarity, first.subjective) == ("neither", 1.0)
    assert {quote.review_id for quote in first.quotes} == {"r00", "r01", "r02"}
    assert all(quote.text in quote.snippet or "…" in quote.snippet for quote in first.quotes)


def test_dissent_is_kept() -> None:
    found = consensus(distinct(["true"] * 9 + ["runs big"]))
    assert [(point.support, point.stance) for point in found.points] == [(9, "no"), (1, "yes")]
    assert found.verdict == Verdict("mostly_no", 1, 9)


@given(KEYS, st.randoms(use_true_random=False))
def test_the_order_of_reviews_changes_nothing(keys: list[str], random) -> None:
    said = distinct(keys)
    shuffled = random.sample(said, len(said))
    one, other = consensus(said), consensus(shuffled)
    assert (one.mentions, one.verdict, one.points) == (other.mentions, other.verdict, other.points)
    assert [each.text for each, _ in one.shown] == [each.text for each, _ in other.shown]


@given(KEYS)
def test_equal_input_gives_equal_output(keys: list[str]) -> None:
    said = distinct(keys)
    assert consensus(said) == consensus(said)


@given(KEYS, st.integers(2, 10))
def test_the_same_review_many_times_counts_once(keys: list[str], times: int) -> None:
    said = distinct(keys)
    copies = [(f"{name}-{copy}", *rest) for name, *rest in said for copy in range(times)]
    one, many = consensus(said), consensus(copies)
    assert (one.mentions, one.verdict) == (many.mentions, many.verdict)
    assert [point.support for point in one.points] == [point.support for point in many.points]
    # Above the line and below it.
    assert len(copies) - many.copies == len(said) - one.copies


def test_equal_reviews_are_copies_from_eight_words_on() -> None:
    for text, counted in (
        ("They run too big for me, sadly.", 10),
        ("They run too big for me and slip.", 1),
    ):
        found = consensus([(f"r{at:02}", "yes", text) for at in range(10)])
        assert (found.mentions, found.copies) == (counted, 10 - counted)
        assert sum(point.support for point in found.points) == counted


def test_copies_that_two_parts_quote_are_one_review() -> None:
    text = "Loud as a jet, and the battery lasts for two days."
    documents = [Document(id=f"r{at:02}", content=text) for at in range(2)]
    parts = [
        Grouped(Material(part, documents), groups_of([mention(at, part)], np.eye(1), 0.5))
        for at, part in enumerate(["Loud?", "Battery?"])
    ]
    found = consensus_of(parts, 2, 160)
    assert (found.mentions, found.copies) == (1, 1)


@given(KEYS)
def test_the_verdict_is_the_sum_of_the_points(keys: list[str]) -> None:
    found = consensus(distinct(keys))
    sums = Counter[str]()
    for point in found.points:
        sums.update(point.stances)
        assert sum(point.stances.values()) == point.support
    assert sums.total() == found.mentions
    if found.verdict is not None:
        assert (found.verdict.yes, found.verdict.no) == (sums["yes"], sums["no"])


def test_a_point_tells_how_many_of_it_are_decided() -> None:
    mentions = [mention(at, "big", stance) for at, stance in enumerate(["yes", None, "yes"])]
    documents = [Document(id=f"r{at}", content="big") for at in range(3)]
    grouped = Grouped(Material("Big?", documents), groups_of(mentions, np.ones((3, 3)), 0.5))
    [point] = consensus_of([grouped], 2, 160).points
    assert (point.stance, point.support) == ("yes", 3)
    assert point.to_dict()["stances"] == {"yes": 2, "no": 0, "mixed": 0, "undecided": 1}


def margin(verdict: Verdict, mixed: int) -> int:
    """The fewest reviews without which the verdict is another, by trying all."""
    counts = ["yes"] * verdict.yes + ["no"] * verdict.no + ["mixed"] * mixed
    for gone in range(1, len(counts) + 1):
        for yes in range(min(gone, verdict.yes) + 1):
            for no in range(min(gone - yes, verdict.no) + 1):
                if gone - yes - no > mixed:
                    continue
                left = ["yes"] * (verdict.yes - yes) + ["no"] * (verdict.no - no)
                left += ["mixed"] * (mixed - (gone - yes - no))
                other = verdict_of(left, 2)
                if other is None or other.answer != verdict.answer:
                    return gone
    return len(counts) + 1


@given(KEYS, st.integers(0, 9))
def test_leaving_one_review_out_changes_no_verdict_unless_its_margin_is_one(
    keys: list[str], left_out: int
) -> None:
    said = distinct(keys)
    found = consensus(said).verdict
    without = consensus(said[:left_out] + said[left_out + 1 :]).verdict
    if found is None or found.answer == "not_said":
        return
    mixed = sum(stance == "mixed" for _, stance, _ in said)
    changed = without is None or without.answer != found.answer
    assert not changed or margin(found, mixed) == 1


def test_leading_questions_are_not_both_confirmed() -> None:
    """A judge's stance is on the question as it is asked; so the verdicts are opposite."""
    opposite = {"yes": "no", "no": "yes", "mixed": "mixed", None: None}
    said = distinct(["true"] * 4)
    big = consensus(said)
    true = consensus([(name, opposite[stance], text) for name, stance, text in said], TRUE_TO_SIZE)
    assert (big.verdict.answer, true.verdict.answer) == ("no", "yes")
    assert [point.stance for point in big.points] == ["no"]
    assert [point.stance for point in true.points] == ["yes"]


# -- few reviews, other languages, no item -----------------------------------------------------


def test_one_review_has_a_point_and_no_verdict() -> None:
    found = consensus(distinct(["true"]))
    assert (found.mentions, found.verdict) == (1, None)
    [point] = found.points
    assert (point.support, point.share) == (1, 1.0)
    assert point.interval == pytest.approx((0.2065, 1.0), abs=1e-4)


def test_no_review_speaks_of_it() -> None:
    documents = [Document(id="r", content="Arrived on Monday.")]
    found = consensus_of([Grouped(Material(QUESTION, documents), [])], 2, 160)
    assert (found.mentions, found.points, found.shown) == (0, (), ())
    assert found.verdict == Verdict("not_said", 0, 0)
    assert found.confidence is None


def test_nothing_is_said_of_what_was_not_found() -> None:
    assert consensus_of([Grouped(Material(QUESTION, []), [])], 2, 160).verdict is None


def test_a_question_in_another_language_has_points_and_no_verdict() -> None:
    found = consensus(distinct(["true"] * 3), "Fallen sie groß aus?")
    assert found.verdict is None
    assert found.points[0].support == 3


def test_without_one_item_there_is_no_verdict() -> None:
    found = consensus(distinct(["true"] * 3), least=None)
    assert (found.mentions, found.verdict) == (3, None)


def test_a_compound_question_is_answered_part_by_part() -> None:
    texts = ["loud.", "long."]
    documents = [Document(id=f"r{at:02}", content=text) for at, text in enumerate(texts)]
    parts = [
        Grouped(Material("Sound?", documents), groups_of([mention(0, "loud.")], np.eye(1), 0.5)),
        Grouped(Material("Battery?", documents), groups_of([mention(1, "long.")], np.eye(1), 0.5)),
    ]
    found = consensus_of(parts, 2, 160)
    assert (found.mentions, found.verdict) == (2, None)
    assert [(point.part, point.share) for point in found.points] == [
        ("Sound?", 1.0),
        ("Battery?", 1.0),
    ]


def test_a_sentence_counts_for_the_part_that_it_answers_more_surely() -> None:
    weight, both = mention(0, "9.4 kg", confidence=0.8), mention(1, "big", confidence=0.7)
    surer = replace(weight, confidence=0.9)
    other = mention(2, "small", confidence=0.1)
    found = of_surest_part([[weight, both], [surer, both, other], [weight]], [2, 1])
    assert found == [[both], [surer, other], [weight]]  # the last is a question of its own


def test_the_surest_mention_of_all_parts_comes_first() -> None:
    said = [("Sound?", "loud", 0.7), ("Battery?", "long", 0.9)]
    documents = [Document(id=f"r{at:02}", content=text) for at, (_, text, _) in enumerate(said)]
    parts = [
        Grouped(
            Material(part, documents),
            groups_of([mention(at, text, confidence=confidence)], np.eye(1), 0.5),
            confidence,
        )
        for at, (part, text, confidence) in enumerate(said)
    ]
    found = consensus_of([*parts, Grouped(Material("Weight?", documents), [])], 2, 160)
    assert [each.text for each, _ in found.shown] == ["long", "loud"]
    assert found.shown[0][0].confidence == found.surest


# -- what is shown -----------------------------------------------------------------------------


def test_the_best_quote_of_each_point_comes_first_and_none_twice() -> None:
    texts = ["Very loud.", "very loud", "Very LOUD!", "so quiet", "the loudest"]
    documents = [Document(id=f"r{at:02}", content=text) for at, text in enumerate(texts)]
    confidences = [0.7, 0.8, 0.9, 0.6, 0.5]
    mentions = [mention(at, text, confidence=confidences[at]) for at, text in enumerate(texts)]
    alike = np.eye(5)
    alike[:3, :3] = 1
    grouped = Grouped(Material("Loud?", documents), groups_of(mentions, alike, 0.5))
    found = consensus_of([grouped], None, 160)
    assert [each.text for each, _ in found.shown] == ["Very LOUD!", "so quiet", "the loudest"]
    assert [point.support for point in found.points] == [3, 1, 1]


def test_what_the_reader_marks_is_the_quote() -> None:
    content = "Too dim\nI read in bed. It is not bright enough for that at all."
    documents = [Document(id="r", content=content, meta={"title": "Too dim", "stars": 2})]
    start = content.index("bright")
    marked = [Marked(0, start, start + 13, 0.6, answers=True), Marked(0, 0, 7, 0.1, answers=False)]
    clauses = clauses_of("Is it bright?", documents, marked, 64)
    assert clauses[0].text == "It is not bright enough for that at all."
    [found] = mentions_in(clauses, documents, marked, 0.5)
    assert found.text == "It is not bright enough for that at all"
    assert (found.confidence, found.exact.text) == (0.6, "bright enough")
    assert not mentions_in(clauses, documents, [], 0.5)


def test_a_mention_in_the_title_says_so() -> None:
    content = "Too dim\nI read in bed."
    documents = [Document(id="r", content=content, meta={"title": "Too dim", "item_id": "lamp"})]
    mentions = [
        Mention("r", 0, 0, 7, "Too dim", 0.9),
        Mention("r", 0, 8, 22, "I read in bed.", 0.8),
    ]
    [point] = consensus_of(
        [Grouped(Material("Dim?", documents), groups_of(mentions[:1], np.eye(1), 0.5))], 2, 160
    ).points
    [quote] = point.quotes
    assert (quote.field, quote.start, quote.end, quote.meta) == (
        "title",
        0,
        7,
        {"title": "Too dim"},
    )


# -- what is judged ----------------------------------------------------------------------------


def test_a_long_review_leaves_room_for_others() -> None:
    long = " ".join(f"The sound is loud in room number {n + 20}." for n in range(12))
    documents = [Document(id="long", content=long), Document(id="short", content="It is loud.")]
    found = clauses_of("Is the sound loud?", documents, [], 12)
    assert [each.review_id for each in found].count("long") == 8
    assert "short" in {each.review_id for each in found}


def test_sentences_that_were_retrieved_are_judged_in_their_order() -> None:
    content = "Red. It is loud. Blue."
    listed = [[5, 16, 0.9, 0, 22], [17, 22, 0.2, 5, 22]]
    documents = [Document(id="r", content=content, meta={"sentences": listed})]
    assert [each.text for each in clauses_of("Loud?", documents, [], 64)] == [
        "It is loud.",
        "Blue.",
    ]
    assert [each.text for each in clauses_of("Loud?", documents, [], 1)] == ["It is loud."]
    assert clauses_of("Loud?", documents, [], 0) == []


def test_where_the_reader_sees_an_answer_is_judged_too() -> None:
    content = "Red. It is loud. Blue."
    documents = [Document(id="r", content=content, meta={"sentences": [[0, 4, 0.9, 0, 16]]})]
    marked = [Marked(0, 11, 15, 0.8, answers=True), Marked(0, 17, 21, 0.1, answers=False)]
    found = clauses_of("Loud?", documents, marked, 64)
    assert [each.text for each in found] == ["Red.", "It is loud."]
