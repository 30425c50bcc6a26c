"""A job is killed at random moments, again and again, and in the end nothing tells."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from indexing.checkpoint import read_checkpoints
from indexing.job import run_job
from qa_system.config import StoreSettings, load_settings
from qa_system.stores import open_store

ROWS = 800
BATCH = 5
KILLS = 20

# Haystack takes seconds to import: each job that is killed is forked from a process that has it.
DRIVER = """
import json, os, sys, haystack
from indexing.checkpoint import read_checkpoints
from indexing.job import run_job
from qa_system.config import load_settings
import qa_system.stores.faiss
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run_job(load_settings(overrides=json.loads(line), environ={}))
        os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print("killed" if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "reviews.csv"
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["review_id", "item_id", "text", "stars"])
        for number in range(ROWS):
            text = f"Review {number} says\nthat word{number % 37} is good. " * 3
            # Each 50th row is bad, each 60th comes twice, each 40th again with another text. Each
            # 20th is followed by one without id, of which some differ in their stars only.
            writer.writerow([f"r{number}", f"B{number // 10}", "" if number % 50 == 7 else text, 5])
            if number % 60 == 9:
                writer.writerow([f"r{number}", f"B{number // 10}", text, 5])
            if number % 40 == 39:
                writer.writerow([f"r{number - 20}", f"B{number // 10 - 2}", f"Other {text}", 5])
            if number % 20 == 3:
                writer.writerow(["", f"B{number // 200}", "Good", number % 3])
    return path


def overrides(source, store, max_words=None):
    return [
        f"indexing.sources=[{json.dumps(str(source))}]",
        "indexing.embed=false",
        f"indexing.batch_size={BATCH}",
        f"indexing.passages={{max_words: {max_words or 'null'}, overlap_words: 2}}",
        f"store.path={json.dumps(str(store))}",
    ]


def contents(store):
    with open_store(StoreSettings(path=str(store))) as opened:
        assert opened.verify() == []
        return {each.id: (each.content, each.meta) for each in opened.filter_documents()}


def outcome(store):
    """What the job on a store counted, over all its runs, and what it rejected."""
    (job,) = read_checkpoints(store / "jobs").values()
    (rejects,) = (store / "jobs").glob("*.rejects.jsonl")
    del job["seconds"]
    return job, [json.loads(line) for line in rejects.read_bytes().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("max_words", [None, 8])
def test_killed_at_random_moments_nothing_is_lost_or_doubled(tmp_path, source, max_words):
    whole = tmp_path / "whole"
    start = time.monotonic()
    run_job(load_settings(overrides=overrides(source, whole, max_words), environ={}))
    seconds = time.monotonic() - start
    expected = contents(whole)
    with source.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["text"]]
    texts = {row["review_id"]: row["text"] for row in rows if row["review_id"]}
    stored = {name: content for name, (content, _) in expected.items()}
    assert {name: stored[name] for name in texts} == texts
    assert sorted(
        (meta["item_id"], meta["stars"])
        for name, (content, meta) in expected.items()
        if name not in texts and content == "Good"
    ) == sorted({(row["item_id"], int(row["stars"])) for row in rows if not row["review_id"]})
    assert len(stored) == len(texts) + 12
    chance = random.Random(13)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    kills = finished = 0
    store = tmp_path / "killed"
    try:
        # Until it was killed often enough and came to its end after all.
        while kills < KILLS or not finished:
            driver.stdin.write(json.dumps(overrides(source, store, max_words)) + "\n")
            driver.stdin.flush()
            child = int(driver.stdout.readline())
            if kills < KILLS:
                time.sleep(chance.uniform(0, seconds / 3))
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            how = driver.stdout.readline().strip()
            assert how in ("killed", "0")
            kills += how == "killed"
            # It may have been killed when all was done, too.
            if not any(job["finished"] for job in read_checkpoints(store / "jobs").values()):
                assert how == "killed"
                continue
            finished += 1
            assert contents(store) == expected
            assert outcome(store) == outcome(whole)
            store = tmp_path / f"killed-{finished}"
    finally:
        driver.stdin.close()
        driver.wait(30)

    same = overrides(source, tmp_path / "killed", max_words)
    again = run_job(load_settings(overrides=same, environ={}))
    assert again.counts.written == 0
    assert contents(tmp_path / "killed") == expected


@pytest.mark.slow
def test_a_command_that_was_killed_is_resumed_by_the_same_command(tmp_path, source):
    command = [sys.executable, "-m", "indexing.cli", "run", "--source", str(source), "--no-embed"]
    command += ["--batch-size", "5", "--store", str(tmp_path / "store"), "--json"]
    where = {"cwd": Path(__file__).parents[2], "text": True}
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **where)
    state = tmp_path / "store" / "jobs"
    while not any(job["read"] for job in read_checkpoints(state).values()):
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.01)
    first.kill()
    first.communicate()
    second = subprocess.run(command, capture_output=True, check=True, **where)
    report = json.loads(second.stdout)
    with source.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    good = {(row["review_id"] or (row["item_id"], row["stars"])) for row in rows if row["text"]}
    assert 0 < report["resumed"] < report["read"] == len(rows)
    assert report["written"] == len(good)
    assert report["rejected"] == len([row for row in rows if not row["text"]])
    assert report["duplicates"] == report["read"] - report["written"] - report["rejected"]
