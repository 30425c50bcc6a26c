"""Generated answers from store to user: what is given, what is withheld, and where it is from."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from haystack import Document
from haystack.dataclasses import ChatMessage
from typer.testing import CliRunner, Result

from qa_system import QASystem, pipelines
from qa_system.cli import app
from qa_system.cli.printing import print_answers
from qa_system.config import EncoderSettings, Settings, load_settings
from qa_system.config.choices import AnswerMode
from qa_system.errors import ConfigError, ModelError
from qa_system.generators.chat import ReviewChat
from qa_system.generators.rag import Generated
from qa_system.records import Answer, Answers, Decision, Question
from qa_system.retrievers.encoders import load_encoder
from qa_system.stores.faiss import FAISSDocumentStore
from tiny_models import save_seq2seq

REVIEWS = {
    "r1": ("lamp", "The light is warm and bright enough for reading in bed."),
    "r2": ("lamp", "Stopped working after a week. Returned it."),
    "r3": ("lamp", "The battery lasts ten hours, and the light is bright."),
    "r4": ("tent", "Bright orange; you will be seen. The zipper is solid."),
}
LAMP = {"field": "meta.item_id", "operator": "==", "value": "lamp"}
BATTERY = "How long does the battery last?"
BY_RETRIEVER = {"generator__prior": "retriever"}


class Scripted:
    """In the generator's place: gives the texts that it was told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.texts: tuple[str, ...] = ()
        self.best = "r3"
        self.calls: list[tuple[list[str], list[list[Document]], int | None]] = []
        self.priors: list[Sequence[Sequence[float]] | None] = []

    def warm_up(self) -> None:
        """There is nothing to load."""

    def generate(
        self,
        questions: Sequence[str],
        documents: Sequence[Sequence[Document]],
        top_k: int | None = None,
        *,
        prior: Sequence[Sequence[float]] | None = None,
    ) -> list[list[Generated]]:
        self.priors.append(prior)
        self.calls.append((list(questions), [list(each) for each in documents], top_k))
        return [[self._answer(text, each) for text in self.texts if each] for each in documents]

    def _answer(self, text: str, documents: Sequence[Document]) -> Generated:
        rest = 0.04 / max(len(documents) - 1, 1)
        shares = tuple(0.96 if document.id == self.best else rest for document in documents)
        return Generated(text, -1.0, -1.0, shares)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generating") / "store"
    encoder = load_encoder(EncoderSettings())
    with FAISSDocumentStore(folder) as store:
        store.bind_encoder(encoder.identity)
        vectors = encoder.encode_passages([text for _, text in REVIEWS.values()])
        store.write_documents(
            [
                Document(
                    id=name,
                    content=text,
                    meta={"item_id": item, "review_id": name, "passage_start": 0, "stars": 4},
                    embedding=vector.tolist(),
                )
                for (name, (item, text)), vector in zip(REVIEWS.items(), vectors, strict=True)
            ]
        )
    return folder


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    scripted = Scripted()
    monkeypatch.setattr(pipelines, "build_generator", lambda _: scripted)
    return scripted


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of random weights: what it says is nonsense, the way that it takes is not."""
    return save_seq2seq(tmp_path_factory.mktemp("tiny"))


def settings_of(folder: Path, **overrides: Any) -> Settings:
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_settings(
        None, {"store.path": str(folder), "reader.no_answer_threshold": -50.0} | given, environ={}
    )


def test_a_supported_answer_is_given_with_its_review(folder: Path, scripted: Scripted) -> None:
    scripted.texts = ("the BATTERY  lasts ten hours", "The battery lasts ten hours.", "ten hours")
    with QASystem.open(settings_of(folder), mode="generate") as system:
        answers = system.ask(BATTERY, "lamp", mode="generate")
    first, second = answers.answers  # the second text is the first, but for case and full stop
    assert first.text == "The battery lasts ten hours"
    assert REVIEWS["r3"][1][first.start : first.end] == first.text
    assert second.text == "ten hours"
    assert first.text in first.snippet
    assert (first.review_id, first.item_id, first.sources) == ("r3", "lamp", ("r3",))
    assert first.generated
    assert first.support == first.confidence
    assert first.meta == {"stars": 4}
    supports = [answer.support for answer in answers.answers]
    assert answers.decision == Decision(max(supports), 0.5)
    assert not answers.decision.abstains
    assert answers.reviews_read == 3
    assert {"read", "sentences", "total"} <= set(answers.timings)
    assert answers.to_dict()["answers"][0]["sources"] == ["r3"]


def test_only_the_items_best_reviews_are_read_with_the_dense_scores(
    folder: Path, scripted: Scripted
) -> None:
    dense = settings_of(folder, retriever__mode="dense")
    with FAISSDocumentStore(folder) as store:
        found = pipelines.retrieve(store, dense).run({"query": BATTERY, "filters": LAMP})
    expected = {document.id: document.score for document in found["retriever"]["documents"]}
    scripted.texts = ("ten hours",)
    for mode, scores in (("hybrid", expected), ("dense", expected), ("bm25", {})):
        settings = settings_of(folder, retriever__mode=mode, generator__documents=2, **BY_RETRIEVER)
        with QASystem(settings) as system:
            system.ask(BATTERY, "lamp", mode="generate", top_k=9)
        [questions], [documents], top_k = scripted.calls[-1]
        assert questions == BATTERY
        assert top_k == settings.generator.num_beams
        assert len(documents) == 2
        assert documents[0].id == "r3"
        assert {document.meta["item_id"] for document in documents} == {"lamp"}
        assert [document.score for document in documents] == [
            pytest.approx(scores[document.id]) if scores else None for document in documents
        ]


def test_an_unsupported_answer_is_withheld_and_kept_for_who_wants_to_know(
    folder: Path, scripted: Scripted
) -> None:
    scripted.texts = ("It is waterproof and weighs two kilos",)
    with QASystem(settings_of(folder)) as system:
        answers = system.ask(BATTERY, "lamp", mode="generate")
        assert answers.answers == ()
        assert answers.decision == Decision(0.0, 0.5)
        assert answers.decision.abstains
        [examined] = system.examine([Question(BATTERY, "lamp")], mode="generate")
        extracted = system.ask(BATTERY, "lamp")
        fallen_back = system.ask(BATTERY, "lamp", mode="auto")
    [draft] = examined.drafts
    assert draft.withheld
    assert draft.support.score == 0.0
    assert examined.reading.candidates
    assert fallen_back.answers == extracted.answers
    assert fallen_back.decision == extracted.decision
    assert not any(answer.generated for answer in fallen_back.answers)
    scripted.texts = ("The battery lasts ten hours.",)
    with QASystem(settings_of(folder)) as system:
        assert all(answer.generated for answer in system.ask(BATTERY, "lamp", mode="auto").answers)


class Chat:
    """A chat model that replies what it was told to."""

    reply = ""

    def run(self, messages: list[ChatMessage]) -> dict[str, list[ChatMessage]]:
        assert messages
        return {"replies": [ChatMessage.from_assistant(self.reply)]}


@pytest.mark.parametrize("min_support", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("mode", ["generate", "auto"])
@pytest.mark.parametrize(
    ("written", "replied"),
    [
        ("The battery lasts ten hours", "The battery lasts ten hours [1]."),
        ("It lasts ten hours and is waterproof", "It lasts ten hours and is waterproof [1]."),
        ("zzz", "zzz [1]"),
        ("", "NO_ANSWER"),
    ],
)
def test_the_decision_is_the_support_compared_with_the_threshold(
    folder: Path,
    scripted: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    written: str,
    replied: str,
    mode: AnswerMode,
    min_support: float,
) -> None:
    scripted.texts = (written,)
    chat = Chat()
    chat.reply = replied
    as_chat = {"generator__type": "chat", "generator__model": "any"}
    for generator, further in ((scripted, {}), (ReviewChat(chat), as_chat)):
        settings = settings_of(folder, generator__min_support=min_support, **further)
        monkeypatch.setattr(pipelines, "build_generator", lambda _, own=generator: own)
        with QASystem(settings) as system:
            [examined] = system.examine([Question(BATTERY, "lamp")], mode=mode)
        answers, decision = examined.answers, examined.answers.decision
        assert decision is not None
        assert decision.abstains == (not answers.answers)
        assert decision.abstains == (decision.score is None or decision.score < decision.threshold)
        if mode == "auto" and all(draft.withheld for draft in examined.drafts):
            assert decision == examined.reading.decision
        else:
            supports = [draft.support.score for draft in examined.drafts]
            assert decision == Decision(max(supports, default=None), min_support)


def test_an_empty_retrieval_gives_no_answer(folder: Path, scripted: Scripted) -> None:
    scripted.texts = ("The battery lasts ten hours.",)
    none = {"field": "meta.stars", "operator": ">", "value": 5}
    with QASystem(settings_of(folder)) as system:
        for mode in ("generate", "auto"):
            answers = system.ask(BATTERY, "lamp", filters=none, mode=mode)
            assert (answers.answers, answers.decision.abstains) == ((), True)
            assert answers.decision.score is None
        assert scripted.calls == []
        asked = [Question(BATTERY, "lamp", none), Question(BATTERY, "lamp")]
        nothing, something = system.ask_many(asked, mode="generate")
    assert nothing.answers == ()
    assert something.answers


def test_the_reader_is_asked_only_where_it_counts(
    folder: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.texts = ("a battery for ten hours", "nonsense")
    settings = settings_of(folder, generator__check_with_reader=False, **BY_RETRIEVER)
    with QASystem(settings) as system:
        assert system.ask(BATTERY, "lamp", mode="auto").answers[0].support == 1.0
        monkeypatch.setattr(system.reader, "read", None)
        [answer] = system.ask(BATTERY, "lamp", mode="generate").answers
    assert answer.support == 1.0
    assert (answer.review_id, answer.start, answer.end) == ("r3", 4, 4)  # at "battery"
    assert answer.text == "a battery for ten hours"


def test_where_the_reader_ranks_the_best_read_are_handed_over(
    folder: Path, scripted: Scripted
) -> None:
    settings = settings_of(
        folder,
        ranker__type="reader",
        generator__documents=1,
        generator__check_with_reader=False,
        **BY_RETRIEVER,
    )
    with QASystem(settings) as system:
        [examined] = system.examine([Question(BATTERY, "lamp")], mode="generate")
    assert examined.documents[0].id == "r3"
    assert [[document.id for document in each] for each in scripted.calls[0][1]] == [["r3"]]


def test_the_reader_says_which_reviews_to_believe(folder: Path, scripted: Scripted) -> None:
    settings = settings_of(folder, generator__documents=2, generator__check_with_reader=False)
    with QASystem(settings) as system:
        [examined] = system.examine([Question(BATTERY, "lamp")], mode="generate")
    odds = dict(
        zip(
            (document.id for document in examined.documents),
            examined.reading.calibrated,
            strict=True,
        )
    )
    best = sorted(odds, key=lambda name: -odds[name])[:2]
    assert best[0] == "r3"
    assert [[document.id for document in own] for own in scripted.calls[0][1]] == [best]
    assert scripted.priors == [[[odds[name] for name in best]]]


def test_sources_are_the_fewest_that_carried_it(folder: Path, scripted: Scripted) -> None:
    scripted.texts, scripted.best = ("the light is bright",), "nobody"
    with QASystem(settings_of(folder, generator__min_support=0)) as system:
        [answer] = system.ask("Is it bright?", "lamp", mode="generate").answers
        assert set(answer.sources) == {"r1", "r2", "r3"}
        assert answer.review_id == "r3"  # the words stand there
        scripted.texts = ("zzz",)
        scripted.best = "r1"
        [nonsense] = system.ask("Is it bright?", "lamp", mode="generate").answers
    assert (nonsense.support, nonsense.review_id, nonsense.start) == (0.0, "r1", 0)


def test_who_extracts_builds_no_generator(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Settings) -> None:
        raise AssertionError

    monkeypatch.setattr(pipelines, "build_generator", refuse)
    with QASystem.open(settings_of(folder)) as system:
        assert system.ask(BATTERY, "lamp").answers
        with pytest.raises(ConfigError, match="extract, generate, auto"):
            system.ask(BATTERY, "lamp", mode="invent")  # type: ignore[arg-type]


async def test_asking_asynchronously(folder: Path, scripted: Scripted) -> None:
    scripted.texts = ("The battery lasts ten hours.",)
    with QASystem(settings_of(folder)) as system:
        both = await asyncio.gather(
            system.ask_async(BATTERY, "lamp", mode="generate"), system.ask_async(BATTERY, "lamp")
        )
    assert [answers.answers[0].generated for answers in both] == [True, False]


def test_a_generator_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ModelError, match="bundled:nothing"):
        QASystem.open(settings_of(folder, generator__model="bundled:nothing"), mode="auto")


def test_a_chat_needs_its_models_name_and_leads_to_a_server() -> None:
    with pytest.raises(ConfigError, match="type chat needs a model"):
        load_settings(None, {"generator.type": "chat"}, environ={})
    settings = load_settings(
        None,
        {"generator.type": "chat", "generator.model": "m", "generator.url": "http://x:1/v1"},
        environ={},
    )
    chat = pipelines.build_generator(settings)
    assert type(chat).__name__ == "ReviewChat"
    assert chat.chat_generator.api_base_url == "http://x:1/v1"


@pytest.mark.parametrize("name", ["long-form", "yes-no"])
def test_the_examples_of_generation_load(root: Path, name: str) -> None:
    settings = load_settings(root / "configs" / "generate" / f"{name}.yaml", environ={})
    generator = pipelines.build_generator(settings)
    assert generator.template == settings.generator.template
    assert generator.mode == settings.generator.mode


@pytest.mark.parametrize("ranker", ["none", "reader"])
def test_the_generate_pipeline_answers_and_round_trips(
    folder: Path, tiny: Path, ranker: str
) -> None:
    settings = settings_of(
        folder, generator__model=str(tiny), generator__documents=2, generator__max_length=6,
        generator__max_source_length=96, ranker__type=ranker,
    )  # fmt: skip
    inputs = {"query": BATTERY, "filters": LAMP}
    with FAISSDocumentStore(folder) as store:
        pipeline = pipelines.generate(store, settings)
        found = pipeline.run(inputs)["generator"]["answers"]
        text = pipeline.dumps()
    reloaded = pipelines.load(text)
    assert reloaded.to_dict()["components"] == pipeline.to_dict()["components"]
    again = reloaded.run(inputs)["generator"]["answers"]
    assert [answer.data for answer in again] == [answer.data for answer in found]
    assert found
    for answer in found:
        assert {document.meta["item_id"] for document in answer.documents} == {"lamp"}
        assert len(answer.documents) == 2
        assert sum(answer.meta["posterior"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("mode", "scorer"), [("bm25", None), ("dense", "retriever"), ("hybrid", "dense")]
)
def test_the_generator_gets_the_dense_retrievers_scores(
    folder: Path, mode: str, scorer: str | None
) -> None:
    with FAISSDocumentStore(folder) as store:
        pipeline = pipelines.generate(store, settings_of(folder, retriever__mode=mode))
    into = [(edge["sender"], edge["receiver"]) for edge in pipeline.to_dict()["connections"]]
    assert {sender for sender, receiver in into if receiver == "evidence.scored"} == (
        {f"{scorer}.documents"} if scorer else set()
    )


def test_the_command_line_generates(folder: Path, tiny: Path) -> None:
    def ask(*arguments: str) -> Result:
        given = ["ask", BATTERY, "--item", "lamp", "--store", str(folder)]
        given += ["--set", f"generator.model={tiny}", "--set", "generator.max_source_length=96"]
        return CliRunner().invoke(app, [*given, *arguments])

    done = ask("--generate", "--json", "--set", "generator.min_support=0")
    assert done.exit_code == 0, done.output
    answers = json.loads(done.stdout)["answers"]
    assert answers
    for answer in answers:
        assert answer["generated"]
        assert set(answer["sources"]) <= {"r1", "r2", "r3"}
    done = ask("--mode", "auto", "--set", "reader.no_answer_threshold=-50")
    assert done.exit_code == 0, done.output
    assert "review r" in done.stdout
    done = ask("--mode", "auto", "--generate")
    assert done.exit_code == 2
    assert "contradicts" in done.output


def test_the_command_line_shows_sources(capsys: pytest.CaptureFixture[str]) -> None:
    written = Answer(
        "ten hours", 0.8, "r3", "lamp", 0, 9, "ten hours", {}, 0.8, ("r3", "r1"), generated=True
    )
    print_answers(Answers(BATTERY, "lamp", (written,), Decision(0.8, 0.5), 3))
    shown = capsys.readouterr().out
    assert "ten hours  (generated, support 80%)" in shown
    assert "written from r3, r1" in shown
