"""`qa embed`: files, stores and pipes into files of vectors; killed, continued, refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document
from typer.testing import CliRunner

from qa_system.cli import app
from qa_system.embeddings import EmbeddingSettings, embed, embed_to_file, embed_tokens
from qa_system.errors import ConfigError, DataError, QASystemError
from qa_system.stores import FAISSDocumentStore

TEXTS = ["Bright enough for reading.", "", "The strap broke.", "Bright enough for reading."]
SMALL_CHUNKS = """
import sys
from qa_system.cli import main
from qa_system.embeddings import job
job.CHUNK_TEXTS = job.CHUNK_TEXTS_BY_TOKEN = 16
sys.argv = ["qa", *sys.argv[1:]]
main()
"""
"""The command, which commits more often than it does with a thousand texts."""


def qa(*arguments: str | Path, given: bytes = b"", exit_code: int = 0) -> str:
    """Run the command in this process, and return all that it says."""
    done = CliRunner().invoke(app, [*map(str, arguments)], input=given)
    error = done.exception
    is_ours = isinstance(error, QASystemError)
    assert (error.exit_code if is_ours else done.exit_code) == exit_code, (error, done.output)
    return f"{done.output}{error if is_ours else ''}"


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_text(
        "review_id,text\n" + "".join(f"r{at},{text}\n" for at, text in enumerate(TEXTS))
    )
    return path


def read(path: Path) -> np.ndarray:
    """The vectors of a file, by its format's own library."""
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return load_file(path)["embeddings"]
    import pyarrow.parquet as pq

    return np.stack(pq.read_table(path)["embedding"].to_numpy())


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".safetensors"])
def test_a_file_has_the_rows_of_embed(csv: Path, suffix: str) -> None:
    out = csv.with_name(f"vectors{suffix}")
    from qa_system.embeddings.texts import FileTexts

    report = embed_to_file(FileTexts([str(csv)]), out)
    assert (report.rows, report.empty, report.duplicates, report.resumed) == (4, 1, 1, 0)
    np.testing.assert_array_equal(read(out), embed(TEXTS))
    told = json.loads(out.with_name(f"{out.name}.json").read_text())
    assert told["report"]["dimension"] == 384
    assert not out.with_name(f"{out.name}.part").exists()
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        assert pq.read_table(out)["id"].to_pylist() == ["r0", "r1", "r2", "r3"]
    else:
        ids = out.with_name(f"{out.name}.ids.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in ids] == ["r0", "r1", "r2", "r3"]


@pytest.mark.parametrize("suffix", [".parquet", ".safetensors"])
def test_a_file_of_tokens_has_their_offsets(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"tokens{suffix}"
    report = embed_to_file(iter(TEXTS), out, EmbeddingSettings(pooling="none"))
    expected = embed_tokens(TEXTS)
    assert report.tokens == sum(len(each.tokens) for each in expected)
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(out)
        vectors = [np.array(row, np.float32) for row in table["embedding"].to_pylist()]
        offsets = table["offsets"].to_pylist()
    else:
        from safetensors.numpy import load_file

        found = load_file(out)
        places = np.cumsum(found["lengths"])[:-1]
        vectors = np.split(found["embeddings"], places)
        offsets = [each.tolist() for each in np.split(found["offsets"], places)]
    for row, tokens in enumerate(expected):
        np.testing.assert_array_equal(vectors[row].reshape(-1, 384), tokens.vectors)
        assert offsets[row] == tokens.offsets.tolist()
    with pytest.raises(ConfigError, match=r"tokens cannot be written as '.npy'.*or .safetensors"):
        embed_to_file(TEXTS, tmp_path / "tokens.npy", EmbeddingSettings(pooling="none"))


def test_fewer_bytes_are_told_with_what_they_cost(tmp_path: Path) -> None:
    texts = [f"The {thing} is {how}." for thing in THINGS for how in ("good", "bad", "so so")]
    full = embed(texts)
    cut = embed_to_file(texts, tmp_path / "cut.npy", EmbeddingSettings(dimensions=64))
    np.testing.assert_allclose(
        np.load(tmp_path / "cut.npy"), embed(texts, dimensions=64), atol=1e-6
    )
    small = embed_to_file(texts, tmp_path / "small.npy", dtype="int8")
    told = json.loads((tmp_path / "small.npy.json").read_text())
    restored = np.load(tmp_path / "small.npy") * np.array(told["scale"]) + np.array(told["offset"])
    np.testing.assert_allclose(restored, full, atol=max(told["scale"]) * 0.51)
    bits = embed_to_file(texts, tmp_path / "bits.npy", dtype="binary")
    np.testing.assert_array_equal(np.load(tmp_path / "bits.npy"), np.packbits(full > 0, axis=1))
    assert embed_to_file(texts, tmp_path / "full.npy").recall is None
    assert cut.recall is not None
    assert bits.recall is not None
    assert small.recall is not None
    assert small.recall > 0.9 > bits.recall > 0.2
    assert 0.2 < cut.recall < 0.95


THINGS = ("lamp", "light", "strap", "zip", "battery", "screen", "price", "box", "cable", "clamp")


def test_rows_that_cannot_be_read_keep_their_place(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text(
        '{"review":"loud"}\nnot json\n{"review":null}\n{"review":7}\n{"review":"low"}\n'
    )
    command = [sys.executable, "-m", "qa_system.cli", "embed", str(path), "--field", "review"]
    out = ["--out", str(tmp_path / "v.npy")]
    said = subprocess.run([*command, *out], check=True, capture_output=True, text=True).stderr
    assert "odd.jsonl, line 2" in said
    assert "note: 2 rows could not be read, and have zeros" in said
    failed = subprocess.run([*command, "--out", "v.txt"], capture_output=True, check=False)
    assert failed.returncode == 2
    assert failed.stderr.startswith(b"error: vectors cannot be written as '.txt' (v.txt).")
    found = np.load(tmp_path / "v.npy")
    np.testing.assert_allclose(found[[0, 4]], embed(["loud", "low"]), atol=1e-5)
    assert not found[1:4].any()


def test_a_store_is_embedded_in_its_order_with_its_ids(tmp_path: Path) -> None:
    documents = [Document(id=f"d{9 - at}", content=text) for at, text in enumerate(TEXTS)]
    with FAISSDocumentStore(tmp_path / "store") as store:
        store.write_documents(documents)
    out = tmp_path / "vectors.npy"
    said = json.loads(qa("embed", "--store", tmp_path / "store", "--out", out, "--json"))
    assert said["rows"] == 4
    np.testing.assert_array_equal(np.load(out), embed(TEXTS))
    ids = (tmp_path / "vectors.npy.ids.jsonl").read_text().split()
    assert [json.loads(each) for each in ids] == ["d9", "d8", "d7", "d6"]


def test_the_command_says_what_it_did_and_what_is_wrong(csv: Path, tmp_path: Path) -> None:
    assert "--pooling" in qa("embed", "--help")
    out = tmp_path / "v.npy"
    options = ("--pooling", "max", "--layer", "-1", "--layer", "-2", "--no-normalize")
    said = qa("embed", "-", "--out", out, *options, given=csv.read_bytes())
    assert "4 texts: 384 dimensions, float32" in said
    np.testing.assert_array_equal(
        np.load(out), embed(TEXTS, pooling="max", layer=[-1, -2], normalize=False)
    )
    again = qa("embed", "-", "--out", out, *options, given=csv.read_bytes())
    assert "nothing was left to embed" in again
    other = qa("embed", csv, "--out", out, exit_code=2)
    assert "other texts or of another model or setting" in other
    changed = qa("embed", "-", "--out", out, *options, given=b"text\nelse\n", exit_code=2)
    assert "Embed all texts again: --restart" in changed
    qa("embed", csv, "--out", out, "--restart")
    np.testing.assert_array_equal(np.load(out), embed(TEXTS))
    mine = tmp_path / "mine.npy"
    mine.write_bytes(b"mine")
    assert "holds something else" in qa("embed", csv, "--out", mine, "--restart", exit_code=2)
    assert mine.read_bytes() == b"mine"
    wrong = qa("embed", csv, "--out", tmp_path / "x.npy", "--field", "body", exit_code=2)
    assert "--field text" in wrong
    assert "not both" in qa("embed", csv, "--store", "s", "--out", out, exit_code=2)
    assert "ends in .npy" in qa("embed", csv, "--out", tmp_path / "x.txt", exit_code=2)
    qa("embed", tmp_path / "no.csv", "--out", tmp_path / "x.npy", exit_code=1)
    qa("embed", csv, "--out", tmp_path / "x.npy", "--model", "no-such", exit_code=1)


@pytest.mark.parametrize("pooling", ["mean", "none"])
def test_a_killed_run_goes_on_and_makes_the_same_bytes(tmp_path: Path, pooling: str) -> None:
    path = tmp_path / "many.csv"
    rows = [f"Review {at % 200} says it is {'very ' * (at % 20)}good." for at in range(240)]
    path.write_text("text\n" + "\n".join(rows) + "\n")
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    command = [sys.executable, "-c", SMALL_CHUNKS, "embed", str(path), "--pooling", pooling]
    subprocess.run([*command, "--out", str(whole)], check=True, capture_output=True)
    state = tmp_path / "cut.safetensors.part" / "state.json"
    process = subprocess.Popen([*command, "--out", str(cut)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = json.loads(state.read_text())["counts"]["rows"]
    assert 0 < done < 240
    # What a killed run wrote behind its state does not count.
    with (state.parent / "vectors").open("ab") as file:
        file.write(os.urandom(999))
    other = subprocess.run(
        [*command, "--out", str(cut), "--no-normalize"], capture_output=True, check=False
    )
    assert other.returncode == 2
    assert b"settings changed since these vectors were begun" in other.stderr
    told = subprocess.run([*command, "--out", str(cut), "--json"], check=True, capture_output=True)
    assert json.loads(told.stdout)["resumed"] == done
    assert cut.read_bytes() == whole.read_bytes()
    reports = [
        json.loads(Path(f"{each}.json").read_text())["report"] | {"out": ""}
        for each in (whole, cut)
    ]
    assert reports[0] == reports[1]
    assert reports[0]["duplicates"] == 240 - len(set(rows))


def test_a_run_whose_texts_changed_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("qa_system.embeddings.job.CHUNK_TEXTS", 2)

    def until_it_breaks() -> Any:
        yield from TEXTS[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_to_file(until_it_breaks(), tmp_path / "v.npy")
    with pytest.raises(DataError, match="text 1 is not the one that an earlier run has embedded"):
        embed_to_file(["other", *TEXTS], tmp_path / "v.npy")
    report = embed_to_file(TEXTS, tmp_path / "v.npy")
    assert (report.resumed, report.rows, report.duplicates) == (2, 4, 1)
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), embed(TEXTS), atol=1e-6)


def test_memory_does_not_grow_with_the_number_of_texts(tmp_path: Path) -> None:
    """The peak of a process that embeds one chunk, and of one that embeds 25."""
    program = """
import resource, sys
from qa_system.embeddings import embed_to_file, job, EmbeddingSettings
job.CHUNK_TEXTS = 16
embed_to_file(
    (f"text {at:03}" for at in range(int(sys.argv[2]))),
    sys.argv[1],
    EmbeddingSettings(layer=[*range(7)] * 4, combine="concat"),
)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = []
    for number in (16, 400):
        command = [sys.executable, "-c", program, str(tmp_path / f"{number}.npy"), str(number)]
        done = subprocess.run(command, check=True, capture_output=True)
        peaks.append(int(done.stdout))
    # The larger array has 16,500 kB more. Those of a block, when the file is finished, are not it.
    assert peaks[1] - peaks[0] < 8_000
    assert np.load(tmp_path / "400.npy", mmap_mode="r").shape == (400, 28 * 384)


def test_errors_of_the_python_api(tmp_path: Path) -> None:
    with pytest.raises(QASystemError, match=r"no dtype 'int4'\. Choose of: float32, int8, binary"):
        embed_to_file(TEXTS, tmp_path / "v.npy", dtype="int4")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="fewer than 999"):
        embed_to_file(TEXTS, tmp_path / "v.npy", EmbeddingSettings(dimensions=999))
