"""What README.md and docs/ tell a reader to type is typed here, on a few questions of the sample.

The blocks of a document run from top to bottom in one folder, which has the files that they name
(`reviews/*.jsonl.gz`, `questions.jsonl`, ...). A block that cannot run here says why in an HTML
comment on the line before it: `<!-- not run: minutes of training -->`.
"""

import csv
import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from documents import Block, blocks
from qa_system import load_settings
from shell import BASH, PYTHON, run

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
BLOCKS = {name: list(blocks(ROOT / name, name)) for name in DOCUMENTS}

RUN = {"bash": BASH, "python": PYTHON}
ALSO_COMMANDS = ("console", "py", "pycon", "sh", "shell", "zsh")
PROGRAMS = ("docker", "make", "pip", "python", "qa", "qa-eval", "qa-index")

ITEMS = {
    "jacket-drizzlecrest-shell": "jacket-drizzlecrest-shell",
    "lamp-noctella-clamp": "lamp-noctella-clamp",
    "backpack-tarnhill-28": "B0074BW614",
    "ereader-lumen-6": "ITEM",
}
"""Items of the sample, by the names that the documents give them."""

QUESTIONS = 2
"""Of each item, in each split of data/sample."""


def to_run(document: str) -> list[Block]:
    return [block for block in BLOCKS[document] if block.language in RUN and block.reason is None]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_is_run_or_shown_or_says_why_not(document: str) -> None:
    for block in BLOCKS[document]:
        first = block.code.split(maxsplit=1)[0]
        commands = block.language in ALSO_COMMANDS or (not block.language and first in PROGRAMS)
        assert not commands, f"{block}: label it bash or python, so that it is run"
        needs_mark = block.language in (*RUN, "yaml")
        assert block.reason is None or needs_mark, f"{block} is not run anyway"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_settings_that_are_shown_exist(document: str, tmp_path: Path) -> None:
    for block in BLOCKS[document]:
        if block.language == "yaml" and block.reason is None:
            file = tmp_path / "settings.yaml"
            file.write_text(block.code, encoding="utf-8")
            load_settings(file, environ={})


@pytest.mark.slow
@pytest.mark.parametrize("document", [name for name in DOCUMENTS if to_run(name)])
def test_the_blocks_run(document: str, folder: Path, request: pytest.FixtureRequest) -> None:
    if any("elasticsearch.yaml" in block.code for block in to_run(document)):
        request.getfixturevalue("own_index")
    for block in to_run(document):
        run(folder, *RUN[block.language], f"# {block}\n{block.code}")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Path:
    """The files and the stores that the documents take for granted."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "configs", folder / "configs")
    few_questions(sample, folder / "data" / "sample")
    asked = read_csv(folder / "data" / "sample" / "test.csv")
    (folder / "answers.json").write_text(json.dumps({row["q_review_id"]: "" for row in asked}))
    (folder / "runs").mkdir()
    (folder / "runs" / "yesterday").symlink_to("today")

    rows = {row["q_review_id"]: row for row in read_csv(sample / "test.csv")}.values()
    reviews = {
        row["review_id"]: (ITEMS[row["item_id"]], row["review"])
        for row in rows
        if row["item_id"] in ITEMS
    }
    (folder / "reviews").mkdir()
    with gzip.open(folder / "reviews" / "all.jsonl.gz", "wt", encoding="utf-8") as stream:
        for key, (item, text) in reviews.items():
            stream.write(f"{json.dumps({'review_id': key, 'item_id': item, 'text': text})}\n")
    write_csv(
        folder / "reviews.csv", [{"asin": item, "body": text} for item, text in reviews.values()]
    )
    catalogue = [
        {"item_id": item, "question": "How is the zipper?"}
        for item in ("jacket-drizzlecrest-shell", "B0074BW614")
    ]
    write_csv(folder / "questions.csv", catalogue)
    texts = [text for _, text in reviews.values()]
    write_csv(folder / "film.csv", [{"text": text, "stars": 4} for text in texts])
    opinions = [{"asin": item, "opinion": text} for item, text in reviews.values()]
    write_csv(folder / "old.csv", opinions)
    (folder / "old.csv").write_text((folder / "old.csv").read_text("utf-8"), "cp1252", "replace")
    with (folder / "questions.jsonl").open("w", encoding="utf-8") as stream:
        for row in rows:
            label = {key: row[key] for key in ("question", "item_id", "review_id")}
            label["context"] = row["review"]
            label["answers"] = [s for s in [row["human_ans_spans"]] if s != "ANSWERNOTFOUND"]
            stream.write(f"{json.dumps(label)}\n")

    run(folder, *BASH, "qa-index run --source reviews --store .demo-store")
    shutil.copytree(folder / ".demo-store", folder / "qa-store")
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A copy for one document."""
    return Path(shutil.copytree(prepared, tmp_path / "reader", symlinks=True))


@pytest.fixture
def own_index(folder: Path, elasticsearch_url: str) -> Iterator[None]:
    """Let configs/elasticsearch.yaml name the tests' server, and an index of our own on it."""
    from elasticsearch import Elasticsearch

    index = f"documented-{uuid4().hex[:12]}"
    file = folder / "configs" / "elasticsearch.yaml"
    text = file.read_text(encoding="utf-8")
    for said, ours in (
        ("url: http://localhost:9200 ", f"url: {elasticsearch_url} "),
        ("index: reviews ", f"index: {index} "),
    ):
        assert said in text
        text = text.replace(said, ours)
    file.write_text(text, encoding="utf-8")
    yield
    with Elasticsearch(elasticsearch_url) as client:
        client.indices.delete(index=list(client.indices.get(index=f"{index}*").body))


def few_questions(sample: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in sample.glob("*.csv"):
        rows = read_csv(file)
        of_items = [[row for row in rows if row["item_id"] == item][:QUESTIONS] for item in ITEMS]
        write_csv(folder / file.name, [row for some in of_items for row in some])


def read_csv(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_csv(file: Path, rows: list[dict[str, str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
