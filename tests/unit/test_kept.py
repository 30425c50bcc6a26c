"""What a service keeps of answers and questions: how long, for whom, and how it is erased."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_system.config import AskedSettings, AuditSettings
from qa_system.errors import StoreUnavailableError
from qa_system.serving.kept import file
from qa_system.serving.kept.asked import LONGEST, AskedFile
from qa_system.serving.kept.audit import AuditFile
from qa_system.serving.kept.records import changes, record_of, reviews_in
from qa_system.serving.kept.traces import QUOTED, Traces
from qa_system.serving.product_page.feedback import FeedbackFile
from qa_system.serving.schema import ANSWERS, RECORD

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = date(2026, 5, 1)


def sound(_record: object) -> bool:
    return True


def named(review: str, **fields: Any) -> dict[str, Any]:
    return {"evidence": [{"review_id": review, "score": 0.5}], **fields}


def bytes_of(path: Path) -> bytes:
    """All that the disk has of a file."""
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[AuditFile]:
    with closing(AuditFile(tmp_path / "audit", AuditSettings(days=30, rows=3))) as opened:
        yield opened


def found_at(audit: AuditFile, now: datetime, *request_ids: str) -> list[int]:
    return [len(audit.find(each, 9, now)[0]) for each in request_ids]


def test_answers_are_kept_for_so_long_and_so_many(audit: AuditFile, tmp_path: Path) -> None:
    names = [f"r{at}" for at in range(5)]
    for at, name in enumerate(names):
        audit.append(name, [named("a")], sound, NOON + timedelta(days=at))
    assert found_at(audit, NOON, *names) == [0, 0, 1, 1, 1]
    assert audit.find("r4", 9, NOON) == (
        [{"request_id": "r4", "at": "2026-05-05T12:00:00.000+00:00", **named("a")}],
        False,
    )
    # What is too old is not returned, and dropped when something is kept, or from time to time.
    later = NOON + timedelta(days=33)
    assert found_at(audit, later, *names) == [0, 0, 0, 1, 1]
    assert b"r2" in bytes_of(tmp_path / "audit")
    # The service was stopped for long: a day later the clock is believed.
    audit.prune(later - timedelta(days=1))
    audit.prune(later)
    with closing(sqlite3.connect(tmp_path / "audit")) as connection:
        assert connection.execute("SELECT count(*) FROM answers").fetchone() == (2,)
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("UPDATE answers SET record = '{}'")
    modes = {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
    assert modes == {0o600}


def test_of_requests_that_are_named_alike_the_newest_are_found(audit: AuditFile) -> None:
    for at in range(3):
        audit.append("r", [named(f"a{at}")], sound, NOON)
    found, has_older = audit.find("r", 2, NOON)
    assert ([each["evidence"][0]["review_id"] for each in found], has_older) == (["a1", "a2"], True)
    assert audit.find("r", 3, NOON)[1] is False


def test_a_clock_that_leaps_erases_nothing_and_keeps_nothing_for_ever(tmp_path: Path) -> None:
    ahead, behind = NOON + timedelta(days=400), NOON - timedelta(days=20_000)
    hour, day = timedelta(hours=1), timedelta(days=1)
    with (
        closing(AuditFile(tmp_path / "audit", AuditSettings(days=30, rows=None))) as audit,
        closing(AskedFile(tmp_path / "asked", AskedSettings(days=30, askings=1))) as asked,
    ):

        def keep(name: str, now: datetime) -> None:
            audit.append(name, [named("a")], sound, now)
            asked.count("lamp", f"Is it {name}?", "ann", now.date())

        keep("before", NOON)
        for number, wrong in enumerate((ahead, ahead + 11 * hour, behind)):
            keep(f"wrong{number}", wrong)
            audit.prune(wrong)
            asked.prune(wrong.date())
        keep("after", NOON + hour)
        names = ("before", "wrong0", "wrong1", "wrong2", "after")
        assert found_at(audit, NOON, *names) == [1, 1, 1, 0, 1]
        assert asked.most("lamp", NOON.date()) == ["Is it after?", "Is it before?"]
        # Those of a time to come are as old as the next that was believed.
        assert audit.find("wrong1", 9, NOON)[0][0]["at"] == "2026-05-01T13:00:00.000+00:00"
        for number in range(1, 32):
            audit.prune(NOON + number * day)
        assert found_at(audit, NOON, *names) == [0] * 5
        # A leap that lasts is none: the service was stopped.
        keep("last", NOON + 31 * day)
        audit.prune(ahead)
        audit.prune(ahead + 23 * hour)
        assert found_at(audit, NOON, "last") == [1]
        audit.prune(ahead + day)
        assert found_at(audit, NOON, "last") == [0]


def test_a_file_of_somebody_else_is_left_as_it_is(tmp_path: Path) -> None:
    def tables(connection: sqlite3.Connection) -> list[Any]:
        return connection.execute("SELECT sql FROM sqlite_schema").fetchall()

    makers: dict[str, Callable[[Path], object]] = {
        "feedback": FeedbackFile,
        "audit.file": lambda path: AuditFile(path, AuditSettings()),
        "asked.file": lambda path: AskedFile(path, AskedSettings()),
    }
    for name, make in makers.items():
        make(tmp_path / f"{name}.own")
    for name, make in makers.items():
        own, other = tmp_path / f"{name}.own", tmp_path / f"{name}.other"
        make(own)
        with closing(sqlite3.connect(other)) as connection:
            connection.execute("CREATE TABLE answers (number INTEGER PRIMARY KEY)")
            connection.commit()
        before = other.read_bytes()
        strangers = [other, *(tmp_path / f"{each}.own" for each in makers if each != name)]
        for path in strangers:
            with pytest.raises(StoreUnavailableError, match="another program") as error:
                make(path)
            assert error.value.remedy == f"Set serving.{name} to a file of its own."
        assert other.read_bytes() == before
        # One of an earlier version has no number.
        with closing(sqlite3.connect(own)) as connection:
            expected = tables(connection)
            connection.execute("PRAGMA application_id = 0")
        make(own)
        with closing(sqlite3.connect(own)) as connection:
            assert tables(connection) == expected
            assert connection.execute("PRAGMA application_id").fetchone()[0] > 0


def test_each_error_of_a_file_has_a_remedy_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "LONGEST_WAIT", 0.01)
    path = tmp_path / "audit"
    with (
        closing(AuditFile(path, AuditSettings())) as audit,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match=r"locked.*Another process holds it"):
            audit.append("r", [named("a")], sound, NOON)
        other.execute("COMMIT")
        other.execute("DROP TABLE answers")
        with pytest.raises(StoreUnavailableError, match=r"no such table.*Another program"):
            audit.append("r", [named("a")], sound, NOON)
    with pytest.raises(StoreUnavailableError, match=r"directory.*to a file that can be written"):
        AuditFile(tmp_path, AuditSettings())


def test_an_answer_is_judged_while_nobody_else_writes(audit: AuditFile, tmp_path: Path) -> None:
    """So what a review that is erased meanwhile has answered is kept before, or not at all."""
    locked = []

    def judge(record: Any) -> bool:
        with closing(sqlite3.connect(tmp_path / "audit", timeout=0)) as other:
            with pytest.raises(sqlite3.OperationalError) as error:
                other.execute("BEGIN IMMEDIATE")
            locked.append(str(error.value))
        return bool(record["good"])

    audit.append("r", [named("a", good=True), named("b", good=False)], judge, NOON)
    assert locked == ["database is locked"] * 2
    assert [each["evidence"][0]["review_id"] for each in audit.find("r", 9, NOON)[0]] == ["a"]

    def fail(_record: object) -> bool:
        raise StoreUnavailableError("away")

    with pytest.raises(StoreUnavailableError):
        audit.append("s", [named("a")], fail, NOON)
    audit.append("t", [named("a")], sound, NOON)  # the failed one has ended
    assert found_at(audit, NOON, "s", "t") == [0, 1]


DAYS = timedelta(days=3)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("append", "forget", "prune")),
        st.integers(0, 9),
        st.integers(1, 9_000),
        st.integers(0, 24),
    ),
    max_size=40,
)


@settings(max_examples=30)
@given(STEPS)
def test_no_byte_stays_of_what_was_forgotten_or_dropped(
    steps: list[tuple[str, int, int, int]],
) -> None:
    with TemporaryDirectory() as folder:
        path, now = Path(folder) / "audit", NOON
        live: dict[str, tuple[int, datetime]] = {}
        ever: set[str] = set()
        with closing(AuditFile(path, AuditSettings(days=DAYS.days, rows=None))) as audit:
            for at, (step, number, length, hours) in enumerate(steps):
                now += timedelta(hours=0 if step == "forget" else hours)
                if step == "append":
                    text = f"text{at:03}of{number}"
                    filled = f"{text} " * (length // len(text) + 1)
                    audit.append(f"q{at}", [named(f"r{number}", question=filled)], sound, now)
                    live[text] = (number, now)
                    ever.add(text)
                elif step == "forget":
                    audit.forget(Traces([f"r{number}"]))
                    live = {key: each for key, each in live.items() if each[0] != number}
                    continue
                else:
                    audit.prune(now)
                live = {key: each for key, each in live.items() if now - each[1] <= DAYS}
            audit.forget(Traces(["r-nobody"]))
            held = bytes_of(path)
        assert {text for text in ever if text.encode() in held} == set(live)


TEXT = "I am the quidnunc of Elm Street 5. The lamp is bright enough to read by."


def test_a_review_is_known_by_its_id_and_by_forty_characters() -> None:
    traces = Traces(["r1"], [TEXT, "Too dim."])
    assert traces.are_in({"filters": {"field": "meta.review_id", "operator": "==", "value": "r1"}})
    among = {"field": "id", "operator": "in", "value": ["r0", "r1"]}
    assert traces.are_in([{"filters": {"operator": "AND", "conditions": [among]}}])
    assert traces.are_in({"question": f"Is “{TEXT[5 : 5 + QUOTED]}” true?"})
    assert traces.are_in({"reason": "  Too\ndim. "})
    for other in (
        {"item_id": "r1", "question": "r1", "value": "r1"},
        {"filters": {"field": "meta.stars", "operator": "==", "value": "r1"}},
        {"question": f"Is “{TEXT[5 : 4 + QUOTED]}” true?"},
        {"reason": "Too dim. Really?"},
        {"evidence": [{"review_id": "r10", "score": None}]},
    ):
        assert not traces.are_in(other)


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[AskedFile]:
    chosen = AskedSettings(days=30, askings=3, shown=2)
    with closing(AskedFile(tmp_path / "asked", chosen)) as opened:
        yield opened


def test_a_question_is_shown_when_several_have_asked_it(asked: AskedFile) -> None:
    for client in ("ann", "bob", "bob", "bob"):
        asked.count("lamp", "Is it bright?", client, DAY)
    assert asked.most("lamp", DAY) == []
    asked.count("lamp", "Is it bright?", "cat", DAY)
    asked.count("mug", "Is it bright?", "cat", DAY)
    assert asked.most("lamp", DAY) == ["Is it bright?"]
    assert asked.most("mug", DAY) == []
    # A client of another day counts again; the most asked come first, and so many of them.
    for day in range(4):
        asked.count("lamp", "Does it hum?", "ann", DAY - timedelta(days=day))
        asked.count("lamp", "Is it heavy?", str(day), DAY)
        asked.count("lamp", "x" * (LONGEST + 1), str(day), DAY)
    assert asked.most("lamp", DAY) == ["Does it hum?", "Is it heavy?"]
    assert asked.most("lamp", DAY + timedelta(days=29)) == ["Is it heavy?", "Is it bright?"]
    assert asked.most("lamp", DAY + timedelta(days=31)) == []


def test_what_is_kept_of_questions_names_nobody(asked: AskedFile, tmp_path: Path) -> None:
    asked.count("lamp", "Is it bright?", "203.0.113.77", DAY)
    held = bytes_of(tmp_path / "asked")
    assert b"Is it bright?" in held
    assert b"203.0" not in held
    with closing(sqlite3.connect(tmp_path / "asked")) as connection:
        [(client,)] = connection.execute("SELECT client FROM askings").fetchall()
        assert 0 <= client < 2**16
    asked.count("lamp", f"Is it true? {TEXT}", "a", DAY)
    assert asked.forget(Traces(["r1"], [TEXT])) == 1
    held = bytes_of(tmp_path / "asked")
    assert (b"quidnunc" in held, b"Is it bright?" in held) == (False, True)


def test_an_answer_that_is_given_again_is_compared() -> None:
    versions = {name: RECORD[name] for name in ("models", "settings", "qa_system")}
    question = {name: RECORD[name] for name in ("question", "item_id", "filters", "top_k", "mode")}

    def again(evidence: list[dict[str, Any]] = RECORD["evidence"], **fields: Any) -> Any:
        return record_of({**ANSWERS, **fields}, evidence, question, versions)

    assert changes(RECORD, again()) == {"same": True, "differs": [], "changed": []}
    near = again(score=ANSWERS["score"] + 1e-4, generation=3)
    assert changes(RECORD, near) == {"same": True, "differs": [], "changed": ["generation"]}
    far = again(score=ANSWERS["score"] + 1e-2)
    assert changes(RECORD, far) == {"same": False, "differs": ["score"], "changed": []}
    none = again([], answers=[], abstained=True, score=None)
    assert changes(RECORD, none) == {
        "same": False,
        "differs": ["answers", "abstained", "words", "score"],
        "changed": ["evidence"],
    }
    [answer] = ANSWERS["answers"]
    other = again(answers=[{**answer, "text": "other words"}])
    assert changes(RECORD, other)["differs"] == ["words"]
    assert changes(RECORD, {**again(), "models": {"bundled:reader": "00"}})["changed"] == ["models"]


def test_a_record_names_reviews_and_has_none_of_their_words() -> None:
    [answer] = ANSWERS["answers"]
    quote = {**answer, "review_id": "q1", "field": "text"}
    point = {"label": answer["text"], "support": 1, "polarity": None, "stance": None}
    generated = {**answer, "review_id": None, "generated": True, "sources": ["s1", "s2"]}
    values = {**ANSWERS, "answers": [answer, generated], "points": [{**point, "quotes": [quote]}]}
    record = record_of(values, [{"review_id": "e1", "score": None}], {"question": "Zip?"}, {})
    assert reviews_in(record) == {"e1", "5d0e", "q1", "s1", "s2"}
    for review in reviews_in(record):
        assert Traces([review]).are_in(record)
    assert not any(word in str(record) for word in ("catches", "flap", "ZIP"))
