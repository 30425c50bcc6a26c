"""What the reviews say together, on the whole path: points, verdicts, JSON, how it is shown."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest
from haystack import Document
from haystack.core.pipeline import Pipeline
from rich.cells import cell_len

import qa_system
from indexing.job import run_job
from qa_system import Answers, QASystem, Question, pipelines
from qa_system.answering.asking import filters_of
from qa_system.cli.printing import print_answers
from qa_system.config import Settings, changed, load_settings
from qa_system.consensus.builder import ConsensusBuilder
from qa_system.consensus.intervals import wilson
from qa_system.errors import ConfigError, QuestionError
from qa_system.opinions import Decision, Point, Quote, Verdict
from qa_system.stores import open_store

ITEM = "ereader-lumen-6"
POLAR = "Is it good for reading at night?"
SCHEMA = json.loads(Path(qa_system.__file__).with_name("answers.schema.json").read_text("utf-8"))


def valid(answers: Answers) -> dict:
    """The answers as JSON, checked; no key is missing in the schema, none is too many."""
    told = json.loads(json.dumps(answers.to_dict(), default=str))
    jsonschema.Draft202012Validator(SCHEMA).validate(told)
    assert set(told) == set(SCHEMA["properties"])
    for point in told["points"]:
        assert set(point) == set(SCHEMA["$defs"]["point"]["properties"])
        for quote in point["quotes"]:
            assert set(quote) == set(SCHEMA["$defs"]["quote"]["properties"])
    for answer in told["answers"]:
        assert set(answer) == set(SCHEMA["$defs"]["answer"]["properties"])
    return told


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Settings:
    path = tmp_path_factory.mktemp("consensus") / "store"
    over = {"store.path": str(path), "indexing.sources": [str(sample)]}
    settings = load_settings(None, over, environ={})
    run_job(settings)
    return settings


@pytest.fixture(scope="module")
def system(settings: Settings) -> QASystem:
    with QASystem.open(settings) as system:
        yield system


@pytest.fixture(scope="module")
def texts(settings: Settings) -> dict[str, str]:
    with open_store(settings.store) as store:
        return {each.meta["review_id"]: each.content for each in store.filter_documents()}


def test_every_count_opens_its_quotes(
    system: QASystem, settings: Settings, texts: dict[str, str]
) -> None:
    with open_store(settings.store) as store:
        generation = store.status().generation
    asked = [
        Question(POLAR, ITEM),
        Question("How is the zipper?", "jacket-drizzlecrest-shell"),
        Question("Does it leak?", "kettle-brimwell-17"),
    ]
    found = system.ask_many(asked)
    assert any(answers.mentions for answers in found)
    for answers in found:
        valid(answers)
        assert sum(point.support for point in answers.points) == answers.mentions
        assert answers.mentions <= answers.considered <= answers.reviews
        assert answers.mentions <= answers.judged <= answers.reviews
        reviews = [quote.review_id for point in answers.points for quote in point.quotes]
        assert len(set(reviews)) == len(reviews) == answers.mentions
        for point in answers.points:
            assert point.support == len(point.quotes)
            assert point.share == point.support / answers.mentions
            assert point.interval == wilson(point.support, answers.mentions)
            for quote in point.quotes:
                assert texts[quote.review_id][quote.start : quote.end] == quote.text
                assert quote.text in quote.snippet
                assert {"stars", "date"} <= set(quote.meta)
        assert answers.abstained == (not answers.points) == (not answers.answers)
        assert answers.generation == generation


def test_a_question_of_how_has_no_verdict(system: QASystem) -> None:
    answers = system.ask("How is the zipper?", "jacket-drizzlecrest-shell")
    assert answers.verdict is None


def test_a_verdict_counts_the_stances_of_its_points(system: QASystem) -> None:
    answers = system.ask("Is it bright enough to work by?", "lamp-noctella-clamp")
    told = valid(answers)
    sums = {
        each: sum(point["stances"][each] for point in told["points"])
        for each in ("yes", "no", "mixed", "undecided")
    }
    assert sum(sums.values()) == answers.mentions
    assert (answers.verdict.yes, answers.verdict.no) == (sums["yes"], sums["no"])


def test_without_an_item_there_are_points_and_no_verdict(system: QASystem) -> None:
    answers = system.ask("Is it loud?")
    told = valid(answers)
    assert (told["item_id"], told["considered"], told["verdict"]) == (None, None, None)
    assert answers.points
    assert "considered" not in answers.spoken


def test_a_filter_for_one_item_names_it(system: QASystem) -> None:
    item = {"field": "meta.item_id", "operator": "==", "value": ITEM}
    filtered, named = system.ask(POLAR, filters=item), system.ask(POLAR, ITEM)
    assert filtered.verdict == named.verdict
    assert filtered.considered == named.considered


def test_filters_shrink_the_denominator(system: QASystem) -> None:
    good = {"field": "meta.stars", "operator": ">=", "value": 4}
    answers, whole = system.ask(POLAR, ITEM, filters=good), system.ask(POLAR, ITEM)
    assert answers.reviews < whole.reviews
    for point in answers.points:
        assert point.share == point.support / answers.mentions
        assert all(quote.meta["stars"] >= 4 for quote in point.quotes)


def test_a_filter_that_selects_nothing_says_nothing(system: QASystem) -> None:
    none = {"field": "meta.stars", "operator": ">", "value": 5}
    told = valid(system.ask(POLAR, ITEM, filters=none))
    assert (told["reviews"], told["mentions"], told["verdict"], told["abstained"]) == (
        *(0, 0),
        None,
        True,
    )


def test_a_failed_question_fits_the_schema(system: QASystem) -> None:
    [answers] = system.ask_many([Question(POLAR, "no-such-item")])
    told = valid(answers)
    assert (told["error"]["code"], told["threshold"]) == ("unknown_item", None)
    assert (told["abstained"], told["points"]) == (True, [])


def test_a_compound_question_is_answered_part_by_part(system: QASystem) -> None:
    answers = system.ask("sound and battery life?", "earbuds-pipstone-air", top_k=8)
    parts = [point.part for point in answers.points]
    assert answers.parts == ("sound?", "battery life?")
    assert parts == sorted(parts, key=answers.parts.index)
    assert parts
    for part in set(parts):
        assert sum(point.share for point in answers.points if point.part == part) == (
            pytest.approx(1)
        )
    told = valid(answers)
    assert told["part_mentions"] == [
        sum(point.support for point in answers.points if point.part == part)
        for part in answers.parts
    ]
    quotes = [(quote.review_id, quote.start) for point in answers.points for quote in point.quotes]
    assert len({*quotes}) == len(quotes)
    assert answers.score == answers.answers[0].confidence


def test_nothing_shown_is_shown_twice(system: QASystem) -> None:
    for question in (POLAR, "Is it loud?", "Is it comfortable?"):
        shown = [answer.text.casefold() for answer in system.ask(question, top_k=20).answers]
        assert len(set(shown)) == len(shown)


@pytest.mark.parametrize(
    "over",
    [
        {"reader.evidence": "reviews"},
        {"ranker.type": "reader"},
        {"retriever.mode": "bm25"},
        {"retriever.mode": "bm25", "reader.evidence": "reviews"},
        {"judge.sentences": 0},
    ],
    ids=lambda over: " ".join(map(str, over.values())),
)
def test_whatever_is_read_is_counted(settings: Settings, over: dict) -> None:
    over = {"reader.no_answer_threshold": -50.0, **over}
    with QASystem.open(changed(settings, over)) as system:
        answers = system.ask(POLAR, ITEM)
    valid(answers)
    assert answers.points
    assert sum(point.support for point in answers.points) == answers.mentions


def test_without_a_judge_nothing_is_said_of_stance_and_polarity(settings: Settings) -> None:
    over = {"judge.sentences": 0, "judge.model": "nowhere", "reader.no_answer_threshold": -50.0}
    with QASystem.open(changed(settings, over)) as system:
        answers = system.ask(POLAR, ITEM)
        compound = system.ask("sound and battery life?", "earbuds-pipstone-air")
    assert answers.verdict is None
    assert {(each.polarity, each.stance, each.subjective) for each in answers.points} == {
        (None, None, None)
    }
    assert {point.part for point in compound.points} == {None}


def test_where_words_find_reviews_no_encoder_is_loaded(settings: Settings) -> None:
    over = {"retriever.mode": "bm25", "encoder.model": "nowhere"}
    over |= {"reader.no_answer_threshold": -50.0}
    with QASystem.open(changed(settings, over)) as system:
        assert system.ask(POLAR, ITEM).points


def small(tmp_path: Path, documents: list[Document], **over) -> Settings:
    settings = load_settings(None, {"store.path": str(tmp_path / "store"), **over}, environ={})
    with open_store(settings.store, create=True) as store:
        store.write_documents(documents)
    return settings


def reviews(*texts: str) -> list[Document]:
    return [
        Document(id=f"r{at}", content=text, meta={"item_id": "lamp"})
        for at, text in enumerate(texts)
    ]


BRIGHT = "It is bright enough for reading in bed, and the switch is easy to find in the dark."
DIM = "Sadly it is far too dim to read by, even when it stands right beside the pillow."
READ = "Is it bright enough to read by?"


def test_a_store_without_sentences_is_counted_too(tmp_path: Path) -> None:
    settings = small(tmp_path, reviews(BRIGHT, DIM, "Arrived on Monday."))
    with QASystem.open(settings) as system:
        answers = system.ask(READ, "lamp")
    valid(answers)
    assert {quote.review_id for point in answers.points for quote in point.quotes} >= {"r0", "r1"}


def test_the_same_review_ten_times_counts_once(tmp_path: Path) -> None:
    with QASystem.open(small(tmp_path / "ten", reviews(*[BRIGHT] * 10, DIM))) as system:
        ten = system.ask(READ, "lamp")
    with QASystem.open(small(tmp_path / "one", reviews(BRIGHT, DIM))) as system:
        one = system.ask(READ, "lamp")
    assert (ten.reviews, ten.copies, one.copies) == (11, 9, 0)
    assert ten.spoken == one.spoken == "2 of 2 reviews speak of it."
    assert (ten.mentions, ten.verdict) == (one.mentions, one.verdict)
    assert [(each.label, each.support) for each in ten.points] == [
        (each.label, each.support) for each in one.points
    ]


def test_one_review_has_no_verdict(tmp_path: Path) -> None:
    with QASystem.open(small(tmp_path, reviews(BRIGHT))) as system:
        answers = system.ask(READ, "lamp")
    assert (answers.mentions, answers.verdict) == (1, None)
    assert answers.spoken == "1 of 1 reviews speaks of it."


def test_reviews_in_another_language_count_among_the_reviews(tmp_path: Path) -> None:
    german = "Leider kam das Paket erst nach drei Wochen an, und der Karton war offen."
    with QASystem.open(small(tmp_path, reviews(BRIGHT, DIM, german))) as system:
        answers = system.ask(READ, "lamp")
    assert answers.reviews == 3
    assert "r2" not in {quote.review_id for point in answers.points for quote in point.quotes}


# -- the component -----------------------------------------------------------------------------


def test_the_component_says_what_the_system_says(system: QASystem, settings: Settings) -> None:
    with open_store(settings.store) as store:
        dumped = pipelines.consensus(store, settings).dumps()
    pipeline: Pipeline = pipelines.load(dumped)
    question = Question(POLAR, ITEM)
    found = pipeline.run({"query": POLAR, "filters": filters_of(question)})["consensus"]
    answers = system.ask(POLAR, ITEM)
    assert found["mentions"] == answers.mentions
    assert found["verdict"] == answers.verdict
    assert sum(point.support for point in found["points"]) == answers.mentions


def test_the_component_takes_documents_from_anywhere() -> None:
    documents = reviews(BRIGHT, DIM, "Arrived on Monday.")
    builder = ConsensusBuilder.from_dict(ConsensusBuilder(min_reviews=1).to_dict())
    found = builder.run(READ, documents)
    assert found["verdict"] is not None
    assert builder.run(READ, [])["points"] == []
    apart = [*documents, Document(id="other", content=BRIGHT, meta={"item_id": "torch"})]
    assert builder.run(READ, apart)["verdict"] is None
    with pytest.raises(QuestionError):
        builder.run(" ", documents)
    with pytest.raises(ConfigError, match="judge"):
        ConsensusBuilder(judge={"modell": "x"})


# -- how it is shown ---------------------------------------------------------------------------


def point(label: str, support: int, of: int, **about) -> Point:
    quotes = tuple(
        Quote(f"r{at}", "text", label, 0, len(label), f"… {label} …", {"stars": 4, "date": "2025"})
        for at in range(support)
    )
    kinds = {"polarity": "for", "subjective": 1.0, "stance": None, **about}
    return Point(label, support, support / of, wilson(support, of), quotes=quotes, **kinds)


def answered(*points: Point, verdict: Verdict | None = None, question: str = READ) -> Answers:
    return Answers(
        question, "lamp", (), Decision(0.9, 0.5), 7, 12, 41, {"total": 0.08},
        mentions=sum(each.support for each in points), points=points, verdict=verdict,
    )  # fmt: skip


def test_a_bar_a_point_and_quotes_under_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_answers(
        answered(
            point("bright enough", 6, 9, stance="yes"),
            point("too dim", 3, 9, polarity="against", stance="no"),
            verdict=Verdict("mostly_yes", 6, 3),
        )
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == ["  Mostly yes: 6 yes, 3 no.", "  9 of 41 reviews speak of it."]
    bars = [line for line in lines if "█" in line]
    assert bars == [
        "  █████████████░░░░░░░ 67% (35% to 88%), for",
        "  ███████░░░░░░░░░░░░░ 33% (12% to 65%), against",
    ]
    assert "  6 reviews: bright enough" in lines
    assert lines.count("      “… bright enough …”") == 2
    assert "      and 4 reviews more" in lines
    assert "      review r0, 4 stars, 2025" in lines
    assert lines[-1] == "  7 of 41 reviews read in 80 ms, 12 considered (score 90%, threshold 50%)"


def test_what_was_judged_beyond_what_was_read_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    print_answers(replace(answered(point("bright enough", 9, 9)), judged=38), quotes=0)
    shown = capsys.readouterr().out
    assert shown.splitlines()[-2:] == [
        "  7 of 41 reviews read in 80 ms, 12 considered, 38 judged",
        "  (score 90%, threshold 50%)",
    ]
    assert "more" not in shown  # none was to be quoted
    assert "review r0" not in shown


def test_dissent_is_printed_however_small(capsys: pytest.CaptureFixture[str]) -> None:
    agreeing = [point(f"good {word}", 2, 9) for word in ("light", "switch", "price", "shade")]
    print_answers(answered(*agreeing, point("broke at once", 1, 9, polarity="against")), top_k=2)
    shown = capsys.readouterr().out
    assert "2 reviews: good switch" in shown
    assert "good price" not in shown
    assert "1 review: broke at once" in shown
    assert "2 more points, of 2 reviews at most" in shown


def test_of_three_mentions_there_is_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    print_answers(answered(point("bright enough", 2, 3), point("nice shade", 1, 3)))
    shown = capsys.readouterr().out
    assert "2 reviews: bright enough" in shown
    assert "█" not in shown
    assert "%)" not in shown.replace("(score 90%, threshold 50%)", "")


@pytest.mark.parametrize(
    "label",
    [
        "long " * 60,
        "x" * 300,
        "とても明るいです。" * 20,
        "bell \a and \x1b[31m red",
        "מאוד בהיר " * 30,
    ],
)
def test_it_fits_eighty_columns(label: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_answers(answered(point(label, 9, 9), verdict=Verdict("yes", 9, 0)))
    shown = capsys.readouterr().out
    assert max(map(cell_len, shown.splitlines())) <= 80
    assert not set("\a\x1b") & set(shown)


def test_parts_have_headings(capsys: pytest.CaptureFixture[str]) -> None:
    print_answers(
        replace(
            answered(
                point("loud bass", 1, 1, part="sound?"), point("a day", 1, 1, part="battery?")
            ),
            parts=("sound?", "battery?", "weight?"),
        )
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines.index("  sound?") < lines.index("  1 review: loud bass")
    assert lines[lines.index("  sound?") + 1] == "  1 of 41 reviews speaks of it."
    assert lines.index("  battery?") < lines.index("  1 review: a day")
    at = lines.index("  weight?")
    assert lines[at + 1] == "  No review speaks of it."


def test_a_part_of_few_mentions_has_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    parts = [point("loud bass", 2, 2, part="sound?"), point("a day", 4, 4, part="battery?")]
    answers = replace(answered(*parts), parts=("sound?", "battery?"))
    print_answers(answers)
    sound, battery = capsys.readouterr().out.split("  battery?\n")
    assert "█" not in sound
    assert battery.startswith("  4 of 41 reviews speak of it.\n")
    assert "█" in battery
    page = Tags(answers._repr_html_())
    assert "sound? 2 of 41 reviews speak of it." in page.text


class Tags(HTMLParser):
    """Checks that what is opened is closed, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def test_a_notebook_shows_all_of_it_and_runs_nothing() -> None:
    evil = "<script>alert('x')</script> & \"quotes\""
    answers = answered(
        point(evil, 6, 9, stance="yes"),
        point("too dim", 3, 9, polarity="against"),
        verdict=Verdict("mostly_yes", 6, 3),
        question=f"{evil}?",
    )
    page = Tags(answers._repr_html_())
    assert {"details", "summary", "meter", "blockquote", "mark"} <= set(page.seen)
    assert "script" not in page.seen
    assert page.seen.count("blockquote") == 9
    for told in (evil, "Mostly yes: 6 yes, 3 no.", "9 of 41 reviews speak of it.", "6 of 9", "4 ★"):
        assert told in page.text
    assert f"… {evil} …" in page.text


def test_a_notebook_shows_why_a_question_failed(system: QASystem) -> None:
    [failed] = system.ask_many([Question(POLAR, "no-such-item")])
    assert failed.error.public_message in Tags(failed._repr_html_()).text
    nothing = Answers(POLAR, ITEM, (), Decision(None, 0.5), 0)
    assert "No review speaks of it." in Tags(nothing._repr_html_()).text
