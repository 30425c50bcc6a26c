"""`qa-eval adapt`, end to end: random readers, a part of the sample, a real browser."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from eval.adaptation.readers import open_reader
from eval.runs.storage import load_run
from eval.splitting import undivided
from eval.tasks.reader import evaluate_reader
from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.jsonl import write_labels_jsonl
from qa_system.datasets.splitting import split_labels
from qa_system.datasets.squad import write_squad
from qa_system.training.recipes import Adaptation, load_training

pytestmark = pytest.mark.slow

TRAINED = ("general-then-domain", "general-then-domain-with-replay", "domain-only")
SHORT = [
    "epochs=1",
    "evaluations=1",
    "batch_size=8",
    "max_seq_length=128",
    "stride=32",
    "dev_of_fold=0.3",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory, save_checkpoint):
    """Two models with random weights, and short reviews of the sample as domain and general."""
    import torch
    from transformers import BertConfig, BertForQuestionAnswering, BertModel

    folder = tmp_path_factory.mktemp("adapt")
    torch.manual_seed(13)
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.6,
    )
    save_checkpoint(BertForQuestionAnswering(config), folder / "general")
    save_checkpoint(BertModel(config), folder / "start")
    data = read_dataset("bundled:sample")
    items = list(dict.fromkeys(label.item_id for label in data.labels))
    short = [label for label in data.labels if len(label.context) < 300]
    domain, general = (
        [label for label in short if label.item_id in part] for part in (items[:9], items[9:])
    )
    # The last item is met for the first time in the test split.
    domain = [
        label for label in domain if label.split == "test" or label.item_id != domain[-1].item_id
    ]
    write_squad(domain, folder / "domain.json")
    write_squad(split_labels(undivided(general), "item", test=2), folder / "general.json")
    return folder


def adapt(place, *args, code=0):
    command = [
        *(
            sys.executable,
            "-c",
            "from eval.cli import main; main()",
            "adapt",
            place / "domain.json",
        ),
        *("--general", place / "general", "--start", place / "start"),
        *("--replay", f"{place / 'general.json'}:train"),
        *("--held-out", f"{place / 'general.json'}:test"),
        *("--out", place / "out", "--resamples", 200),
        *(word for pair in SHORT for word in ("--set", pair)),
        *args,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def adapted(place):
    return json.loads(adapt(place, "--folds", 2, "--json").stdout)


def test_it_compares_four_readers(place, adapted):
    assert list(adapted["readers"]) == ["general-only", *TRAINED]
    assert {"always_empty", "human"} <= adapted["references"].keys()
    asked = adapted["domain"]["splits"]["test"]["questions"]
    for reader in adapted["readers"].values():
        assert set(adapted["headline"]) <= reader["metrics"].keys()
        assert reader["questions"]["f1"] == asked
        # The general one carries no calibration: its threshold is fitted on dev, too.
        assert reader["calibration"]["fitted_on"].startswith("dev")
    compared = {each["a"] for each in adapted["against_general"] if each["metric"] == "f1"}
    assert compared == set(TRAINED)
    assert all(0 < each["p_holm"] <= 1 for each in adapted["against_general"])


def test_it_says_which_items_were_seen(place, adapted):
    domain = read_dataset(place / "domain.json")
    learnt = {label.item_id for label in domain.labels_of("train")}
    tested = domain.labels_of("test")
    seen = sum(label.item_id in learnt for label in tested)
    parts = adapted["items"]
    assert 0 < parts["unseen"]["questions"] == len(tested) - seen
    assert parts["seen"]["questions"] == seen
    whole = adapted["readers"]["general-only"]["metrics"]["forced_has_ans_f1"]
    of_parts = [
        (
            part["systems"]["general-only"]["metrics"]["forced_has_ans_f1"] or 0,
            part["systems"]["general-only"]["questions"]["forced_has_ans_f1"],
        )
        for part in parts.values()
    ]
    count = sum(questions for _, questions in of_parts)
    assert sum(mean * questions for mean, questions in of_parts) / count == pytest.approx(whole)


def test_it_says_what_that_cost(place, adapted):
    cost = adapted["held_out"]["general-test"]
    assert cost["readers"].keys() == adapted["readers"].keys()
    forced = cost["kept"]["forced_has_ans_f1"]
    means = {name: each["metrics"]["forced_has_ans_f1"] for name, each in cost["readers"].items()}
    for name in TRAINED:
        assert forced[name]["share"] == pytest.approx(means[name] / means["general-only"])
    # The general reader as it was: without the threshold that was fitted to the domain for it.
    recipe = load_training(Adaptation, None, SHORT)
    reader, calibration = open_reader(str(place / "general"), recipe)
    assert (calibration["fitted_on"], calibration["threshold"]) == (None, 0)
    labels = read_dataset(place / "general.json").labels_of("test")
    as_it_was = evaluate_reader(labels, reader).metrics
    assert cost["readers"]["general-only"]["metrics"]["f1"] == pytest.approx(as_it_was["f1"])
    fitted = adapted["readers"]["general-only"]["calibration"]["threshold"]
    assert fitted != calibration["threshold"]


def test_folds_are_divided_by_item_and_test_every_question_once(place, adapted):
    folds = adapted["folds"]
    assert (folds["number"], folds["by"]) == (2, "item")
    tested = []
    for fold in (place / "out" / "folds" / "1-of-2", place / "out" / "folds" / "2-of-2"):
        parts = {
            split: read_dataset(fold / "data" / f"{split}.json").labels
            for split in ("train", "dev", "test")
        }
        items = [{label.item_id for label in part} for part in parts.values()]
        assert all(items)
        assert len(set.union(*items)) == sum(map(len, items))
        tested += [label.question_id for label in parts["test"]]
        assert all((fold / name / "training.json").is_file() for name in TRAINED)
    assert sorted(tested) == sorted({label.question_id for label in domain_labels(place)})
    assert folds["questions"] == len(tested)
    for spread in folds["readers"].values():
        first, second = spread["f1"]["values"]
        assert spread["f1"]["mean"] == pytest.approx((first + second) / 2)


def domain_labels(place):
    return read_dataset(place / "domain.json").labels


def test_everything_is_written(place, adapted):
    out = place / "out"
    assert json.loads((out / "summary.json").read_text()) == adapted
    assert (out / "scores.png").read_bytes().startswith(b"\x89PNG")
    for split in ("train", "dev", "test"):
        told = read_dataset(out / "data" / f"{split}.json").labels
        assert len(told) == adapted["domain"]["splits"][split]["questions"]
    for folder in (out, out / "held-out" / "general-test"):
        run, _ = load_run(folder)
        assert list(run.systems) == list(adapted["readers"])


def test_a_second_call_trains_nothing(place, adapted):
    before = {path: path.stat().st_mtime_ns for path in (place / "out").rglob("*.safetensors")}
    assert len(before) == 9
    done = adapt(place, "--folds", 2)
    after = {path: path.stat().st_mtime_ns for path in (place / "out").rglob("*.safetensors")}
    assert before == after
    assert done.stderr.count("trained already") == 9
    for words in (
        "general-only",
        "Unseen items",
        "Cost on general questions: general-test",
        "2 folds by item",
    ):
        assert words in done.stdout
    again = json.loads((place / "out" / "summary.json").read_text())
    assert again["readers"] == adapted["readers"]


def test_another_recipe_is_refused(place, adapted):
    done = adapt(place, "--set", "epochs=2", code=2)
    assert "trained with other settings: epochs" in done.stderr


def test_a_reader_is_trained_on_generated_questions_and_no_label_of_the_domain(place):
    domain = read_dataset(place / "domain.json")
    tested = {label.context for label in domain.labels_of("test")}
    leaking = domain.labels_of("test")[0]
    made = [
        replace(label, split=None, question_id=f"made-{at}")
        for at, label in enumerate(read_dataset(place / "general.json").labels_of("train"))
    ]
    write_labels_jsonl([*made, replace(leaking, split=None)], place / "made.jsonl")
    out = place / "without-labels"
    command = [sys.executable, "-c", "from eval.cli import main; main()", "adapt"]
    command += [place / "domain.json", "--general", place / "general", "--out", out, "--json"]
    command += ["--labels", "generated", "--generated", place / "made.jsonl", "--resamples", 200]
    command += [word for pair in SHORT for word in ("--set", pair)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 of" in done.stderr
    found = json.loads(done.stdout)
    assert list(found["readers"]) == [
        "general-only",
        "general-then-domain",
        "general-then-generated",
    ]
    train, dev = (read_dataset(out / "generated" / f"{name}.json") for name in ("train", "dev"))
    assert found["generated"]["train"]["labels"] == len(train.labels) > 0
    assert len(train.labels) + len(dev.labels) == len(made)
    assert not {each.item_id for each in train.labels} & {each.item_id for each in dev.labels}
    assert tested.isdisjoint(label.context for label in (*train.labels, *dev.labels))
    record = json.loads((out / "general-then-generated" / "training.json").read_text())
    assert {each["sha256"] for each in record["data"]} == {train.sha256, dev.sha256}
    assert "no label of the domain" in (out / "adaptation.html").read_text()


FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]


def test_the_page_opens_in_a_browser(place, adapted):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no Chromium: apt-get install chromium, or set CHROMIUM")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page()
        requests, complaints = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((place / "out" / "adaptation.html").as_uri())
        assert page.title() == "Adapting to domain.json"
        assert page.locator("nav a").all_inner_texts() == [
            "Scores",
            "Seen and unseen items",
            "Cost on general questions",
            "Cross-validation",
            "Readers",
            "Made with",
        ]
        assert page.locator(".plot svg").count() == 1
        assert page.locator(".plot svg").bounding_box()["width"] > 200
        scores = page.locator("#scores table.scores tbody tr")
        assert scores.count() == len(adapted["readers"]) + len(adapted["references"])
        links = page.locator("main a, .lead a").evaluate_all("links => links.map((a) => a.href)")
        assert len(links) == 5
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        for link in links:
            page.goto(link)
            assert page.locator("body").inner_text()
        browser.close()
    assert [url for url in requests if not url.startswith(("file://", "data:"))] == []
    assert complaints == []
