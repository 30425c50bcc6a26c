"""An adaptation's numbers, by hand; its recipes; and what it refuses before it trains."""

import json
from dataclasses import replace

import orjson
import pytest

from eval.adaptation.compare import adapt
from eval.adaptation.readers import (
    DOMAIN_ONLY,
    GENERAL_THEN_DOMAIN,
    WITH_REPLAY,
    Ingredients,
    source_of,
    train_once,
)
from eval.adaptation.summary import against, kept, over_folds, pooled, seen_and_unseen
from eval.runs.paired import Resampling
from eval.runs.run import Row, Run, System
from qa_system.config import Settings
from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.squad import write_squad
from qa_system.errors import ConfigError, DataError, EvaluationError, ModelError
from qa_system.records import Label
from qa_system.training.recipes import Adaptation, ReaderTraining, Source, load_training
from qa_system.training.run import made_of


def system(scores, items="aabb", seen="SSUU", first=0):
    """F1 of questions about items, some of which training asks about."""
    names = {"S": "seen", "U": "unseen"}
    return System(
        tuple(
            Row(
                f"q{first + at}",
                None,
                "?",
                item,
                "r",
                (),
                item,
                {"f1": score, "forced_has_ans_f1": None if at else score},
                slices={"item_in_training": names[known]},
            )
            for at, (score, item, known) in enumerate(zip(scores, items, seen, strict=True))
        )
    )


def run_of(**systems):
    rows = next(iter(systems.values())).rows
    empty_rows = tuple(replace(row, scores=dict.fromkeys(row.scores, 0.0)) for row in rows)
    empty = {"always_empty": System(empty_rows)}
    return Run("reader", "f1", ("f1",), systems, empty, {"seed": 13})


def test_seen_and_unseen_by_hand():
    run = run_of(general=system([0.2, 0.4, 0.0, 1.0]), adapted=system([0.6, 0.8, 0.5, 0.5]))
    parts = seen_and_unseen(run, resamples=100)
    seen, unseen = parts["seen"], parts["unseen"]
    assert (seen["questions"], seen["items"]) == (2, 1)
    assert seen["systems"]["general"]["metrics"]["f1"] == pytest.approx(0.3)
    assert seen["systems"]["adapted"]["metrics"]["f1"] == pytest.approx(0.7)
    assert unseen["systems"]["adapted"]["metrics"]["f1"] == 0.5
    assert unseen["references"]["always_empty"]["metrics"]["f1"] == 0.0
    # One item says nothing about how items differ.
    assert seen["systems"]["general"]["intervals"]["f1"] is None
    [compared] = seen["comparisons"]
    assert compared["difference"] == pytest.approx(-0.4)


def test_a_part_without_questions_is_absent():
    run = run_of(general=system([0.2, 0.4], "ab", "SS"))
    assert seen_and_unseen(run, resamples=100).keys() == {"seen"}


def test_against_a_system_and_against_a_reference():
    run = run_of(
        general=system([0.0, 0.0, 0.0, 0.0]),
        adapted=system([1.0, 1.0, 1.0, 0.0]),
        other=system([0.0, 0.0, 0.0, 0.0]),
    )
    resampling = Resampling(list("aabb"), 200)
    found = against("general", run, ("f1",), resampling)
    assert [(each["a"], each["b"], each["difference"]) for each in found] == [
        ("adapted", "general", 0.75),
        ("other", "general", 0.0),
    ]
    # Four signs of two items; two of them as far off. Twice that for two comparisons: 1 at most.
    assert (found[0]["p_permutation"], found[0]["p_holm"]) == (0.5, 1.0)
    assert len(against("always_empty", run, ("f1",), resampling)) == 3


def test_what_is_kept_is_a_share_of_the_same_draw():
    systems = {
        "general": system([0.8, 0.8, 0.4, 0.4]),
        "half": system([0.4, 0.4, 0.2, 0.2]),
        "none": system([0.0, 0.0, 0.0, 0.0]),
        "first": system([0.8, 0.8, 0.0, 0.0]),
    }
    shares = kept(systems, "general", "f1", Resampling(list("aabb"), 500))
    # Half of each item is half of every draw.
    assert shares["half"]["share"] == pytest.approx(0.5)
    assert shares["half"]["interval"] == pytest.approx([0.5, 0.5])
    assert shares["none"] == {"share": 0.0, "interval": [0.0, 0.0]}
    # 1.6 of 2.4; drawn twice, the one item gives all and the other nothing.
    assert shares["first"]["share"] == pytest.approx(2 / 3)
    assert shares["first"]["interval"] == pytest.approx([0.0, 1.0])


def test_nothing_is_kept_of_nothing():
    systems = {"general": system([0.0] * 4), "adapted": system([0.5] * 4)}
    shares = kept(systems, "general", "f1", Resampling(list("aabb"), 100))
    assert shares["adapted"] == {"share": None, "interval": None}


def test_the_mean_and_spread_over_folds_by_hand():
    folds = [
        {"general": system([0.2, 0.4], "ab", "SS")},
        {"general": system([0.5, 0.7], "cd", "SS", first=2)},
        {"general": system([0.9, 0.9], "ef", "SS", first=4)},
    ]
    spread = over_folds(folds, ("f1",))["general"]["f1"]
    assert spread["values"] == pytest.approx([0.3, 0.6, 0.9])
    assert (spread["mean"], spread["sd"]) == pytest.approx((0.6, 0.3))
    assert (spread["min"], spread["max"]) == pytest.approx((0.3, 0.9))
    together = pooled(folds)["general"]
    assert [row.question_id for row in together.rows] == [f"q{n}" for n in range(6)]


@pytest.mark.parametrize(
    ("text", "path", "split"),
    [
        ("a/b.json", "a/b.json", None),
        ("a/b.json:train", "a/b.json", "train"),
        ("bundled:sample", "bundled:sample", None),
        ("bundled:sample:dev", "bundled:sample", "dev"),
        ("hub:subjqa/books", "hub:subjqa/books", None),
        ("hub:subjqa/books:train", "hub:subjqa/books", "train"),
    ],
)
def test_sources_as_they_are_written(text, path, split):
    assert source_of(text) == Source(path=path, split=split)


def test_a_file_with_a_colon_in_its_name(tmp_path):
    (tmp_path / "a:b").touch()
    assert source_of(str(tmp_path / "a:b")) == Source(path=str(tmp_path / "a:b"))


@pytest.fixture
def checkpoint(tmp_path):
    """What a checkpoint's folder looks like from outside."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return str(folder)


def labels(number, item="B0"):
    return [
        Label(f"{item}-{at}", "How is it?", item, f"{item}-r{at}", "Good.", ())
        for at in range(number)
    ]


def test_who_learns_what(tmp_path, checkpoint):
    write_squad(labels(10), tmp_path / "train.json")
    write_squad(labels(30, "G"), tmp_path / "general.json")
    write_squad(labels(10, "H"), tmp_path / "more.json")
    replay = tuple(Source(path=str(tmp_path / f"{name}.json")) for name in ("general", "more"))
    recipe = load_training(
        Adaptation, None, ["replay=2.0", "held_out=0.2", "epochs=3", "domain_only.epochs=9"]
    )
    made = Ingredients(checkpoint, checkpoint, replay, (Source(path="dev-too"),), recipe)
    trainings = made.trainings(tmp_path / "train.json", tmp_path / "dev.json")
    assert list(trainings) == [GENERAL_THEN_DOMAIN, WITH_REPLAY, DOMAIN_ONLY]
    adapted, replayed, scratch = trainings.values()
    assert [source.held_out for source in replayed.train] == [0.2, 0.0, 0.0]
    # 2 x 10 questions of 40: each source gives half of what it has.
    assert [source.weight for source in replayed.train] == [1.0, 0.5, 0.5]
    assert [source.path for source in replayed.dev] == [str(tmp_path / "dev.json"), "dev-too"]
    assert len(adapted.train) == len(scratch.train) == len(scratch.dev) == 1
    assert (adapted.epochs, scratch.epochs) == (3, 9)
    assert adapted.learning_rate == scratch.learning_rate


def test_only_those_that_can_be_made(tmp_path, checkpoint):
    made = Ingredients(checkpoint, None, (), (), Adaptation())
    assert list(made.trainings(tmp_path / "a", tmp_path / "b")) == [GENERAL_THEN_DOMAIN]


def test_the_recipe_file_says_the_defaults(root):
    assert load_training(Adaptation, root / "configs" / "train" / "adapt.yaml") == Adaptation()


def test_an_export_cannot_be_trained():
    with pytest.raises(ConfigError, match="'bundled:reader' is an export"):
        Ingredients("bundled:reader", None, (), (), Adaptation())


@pytest.fixture
def domain(tmp_path):
    splits = [
        replace(each, split=split) for each, split in zip(labels(2), ("train", "dev"), strict=True)
    ]
    write_squad(splits, tmp_path / "domain.json")
    return read_dataset(tmp_path / "domain.json")


def test_a_domain_needs_its_splits(tmp_path, checkpoint, domain):
    made = Ingredients(checkpoint, None, (), (), Adaptation())
    with pytest.raises(EvaluationError, match=r"no test split.*qa-eval split"):
        adapt(domain, made, tmp_path / "out")


def test_errors_are_told_before_anything_is_trained(tmp_path, checkpoint):
    sample = read_dataset("bundled:sample")
    made = Ingredients(checkpoint, None, (), (), Adaptation())
    with pytest.raises(DataError, match="cannot make 99 folds"):
        adapt(sample, made, tmp_path / "out", number_of_folds=99)
    small = replace(made, recipe=Adaptation(dev_of_fold=0.01))
    with pytest.raises(ConfigError, match=r"dev_of_fold"):
        adapt(sample, small, tmp_path / "out", number_of_folds=5)
    with pytest.raises(DataError, match="no split 'tset'"):
        adapt(sample, made, tmp_path / "out", held_out=[source_of("bundled:sample:tset")])
    replaying = replace(made, replay=(source_of("bundled:sample:train"),))
    with pytest.raises(EvaluationError, match="157 of 394 held-out questions are replayed"):
        adapt(sample, replaying, tmp_path / "out", held_out=[source_of("bundled:sample")])
    twice = [source_of("bundled:sample")] * 2
    with pytest.raises(ConfigError, match="'bundled-sample' is the name of another"):
        adapt(sample, made, tmp_path / "out", held_out=twice)
    with pytest.raises(ConfigError, match="stride"):
        replace(made, recipe=Adaptation(max_seq_length=64, stride=60))


def record_of(settings, folder):
    sources = [*settings.train, *settings.dev]
    folder.mkdir()
    tree = {
        "settings": settings.model_dump(mode="json"),
        "models": made_of(settings),
        "data": [{"sha256": read_dataset(source.path).sha256} for source in sources],
    }
    (folder / "training.json").write_bytes(orjson.dumps(tree))


def test_a_reader_that_is_there_is_taken_only_if_it_was_trained_so(tmp_path):
    path = tmp_path / "train.json"
    write_squad(labels(3), path)
    source = Source(path=str(path))
    start = tmp_path / "start"
    start.mkdir()
    (start / "config.json").write_text("{}")
    (start / "model.safetensors").write_bytes(b"weights")
    settings = ReaderTraining(model=str(start), train=(source,), dev=(source,))
    record_of(settings, tmp_path / "reader")
    assert train_once(settings, tmp_path / "reader")["settings"]["model"] == str(start)
    # Wherever the same data lies.
    moved = Source(path=str(path.rename(tmp_path / "moved.json")))
    there = settings.model_copy(update={"train": (moved,), "dev": (moved,)})
    train_once(there, tmp_path / "reader")
    with pytest.raises(ConfigError, match="trained with other settings: epochs"):
        train_once(there.model_copy(update={"epochs": 9.0}), tmp_path / "reader")
    (start / "model.safetensors").write_bytes(b"others")
    with pytest.raises(ConfigError, match=r"trained with other settings: weights\.model"):
        train_once(there, tmp_path / "reader")
    (start / "model.safetensors").write_bytes(b"weights")
    write_squad(labels(4), moved.path)
    with pytest.raises(ConfigError, match="trained with other settings: data"):
        train_once(there, tmp_path / "reader")


@pytest.mark.parametrize("text", ["", "[]", '{"settings": {}}', json.dumps({"settings": None})])
def test_a_damaged_record(tmp_path, text):
    folder = tmp_path / "reader"
    folder.mkdir()
    (folder / "training.json").write_text(text)
    source = Source(path="bundled:sample")
    settings = ReaderTraining(model="m", train=(source,), dev=(source,))
    with pytest.raises(ModelError, match=r"training\.json is damaged"):
        train_once(settings, folder)


def test_readers_are_read_with_the_recipes_windows():
    from eval.adaptation.readers import reader_settings

    settings = reader_settings("m", Adaptation(max_seq_length=256, stride=64, precision="fp32"))
    assert isinstance(settings, Settings)
    reader = settings.reader
    assert (reader.model, reader.max_seq_length, reader.stride) == ("m", 256, 64)
    assert (reader.precision, reader.no_answer_threshold) == ("fp32", None)
