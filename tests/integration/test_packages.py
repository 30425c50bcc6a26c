"""Models with their users' files: sent to folders and addresses, and loaded back from there."""

import os
import pickle
import zipfile
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import orjson
import pytest
from click.testing import Result
from typer.testing import CliRunner

from qa_system.cli import app
from qa_system.config import EncoderSettings
from qa_system.errors import ConfigError, MissingDependencyError, ModelError
from qa_system.export.package import hub_arguments, package_model
from qa_system.models.artifacts import CONTENTS, Contents, artifact, load_artifact, read_contents
from qa_system.models.locate import locate
from qa_system.models.pickles import is_pickle, refuse_pickle
from qa_system.retrievers.encoders import load_encoder

fsspec = pytest.importorskip("fsspec")


def qa(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", *arguments])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "qa-system" / "models"


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "aspects.csv"
    path.write_text("aspect,weight\nbattery,2\n", encoding="utf-8")
    return path


def snapshot(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_model_goes_to_an_address_and_comes_back(
    memory: Any, table: Path, cache: Path, tmp_path: Path
) -> None:
    address = "memory://models/encoder"
    contents = package_model("bundled:encoder", address, artifacts={"aspects": table})
    assert contents.artifacts == {"aspects": "artifacts/aspects.csv"}
    assert sorted(contents.files) == [
        "README.md",
        "artifacts/aspects.csv",
        "model.json",
        "model.onnx",
        "tokenizer.json",
    ]
    ours, theirs = (
        load_encoder(EncoderSettings(model=name)) for name in ("bundled:encoder", address)
    )
    texts = ["Bright enough to read by."]
    assert np.array_equal(theirs.encode_passages(texts), ours.encode_passages(texts))
    assert artifact(address, "aspects").read_bytes() == table.read_bytes()
    # One copy, and nothing half-written.
    [kept] = cache.iterdir()
    assert kept == locate(address).path

    # From there to a folder, with what was added; a folder loads as an address does.
    package_model(address, tmp_path / "mine", card=table)
    assert artifact(tmp_path / "mine", "aspects").read_bytes() == table.read_bytes()
    assert (tmp_path / "mine" / "README.md").read_bytes() == table.read_bytes()
    assert locate((tmp_path / "mine").as_uri()).format == "onnx"
    with pytest.raises(ModelError, match=r"no artifact 'classes'.*It has aspects"):
        artifact(tmp_path / "mine", "classes")
    with pytest.raises(ModelError, match="no artifact 'aspects'"):
        artifact("bundled:encoder", "aspects")


def test_another_version_replaces_the_first(small: Path, memory: Any, table: Path) -> None:
    address = "memory://models/small"
    package_model(small, address, artifacts={"aspects": table, "words": table})
    first = locate(address).path
    table.write_text("aspect,weight\n", encoding="utf-8")
    package_model(small, address, artifacts={"aspects": table})
    assert locate(address).path != first
    assert artifact(address, "aspects").read_text() == "aspect,weight\n"
    assert not memory.exists("/models/small/artifacts/words.csv")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Static vectors of two tokens."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models

    folder = tmp_path / "small"
    folder.mkdir()
    Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?")).save(
        str(folder / "tokenizer.json")
    )
    save_file({"embeddings": np.eye(2, dtype=np.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "model2vec", "normalize": true}')
    return folder


def test_what_is_not_the_models_stays_behind(small: Path, tmp_path: Path) -> None:
    (small / "checkpoints").mkdir()
    for name in ("checkpoints/state.json", ".env", "optimizer.pt", "pytorch_model.bin", "notes.md"):
        (small / name).write_bytes(b"{}")
    (small / "tokenizer_config.json").symlink_to(small / "config.json")  # as a Hub cache has them
    contents = package_model(small, tmp_path / "out")
    assert sorted(contents.files) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert not (tmp_path / "out" / "tokenizer_config.json").is_symlink()
    assert "# tmp" not in (tmp_path / "out" / "README.md").read_text()
    assert sorted(snapshot(tmp_path / "out")) == sorted([*contents.files, CONTENTS])


def test_a_folder_of_others_is_left_alone(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text("somebody's")
    before = snapshot(out)
    with pytest.raises(ConfigError, match=r"config\.json would be replaced"):
        package_model(small, out)
    assert snapshot(out) == before
    # An export without further files may be replaced, and its card stays.
    package_model(small, tmp_path / "export")
    (tmp_path / "export" / CONTENTS).unlink()
    (tmp_path / "export" / "README.md").write_text("my card")
    package_model(small, tmp_path / "export")
    assert (tmp_path / "export" / "README.md").read_text() == "my card"


def test_an_estimator_goes_along_by_skops(small: Path, memory: Any) -> None:
    pytest.importorskip("skops")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    vectors = np.random.default_rng(2).normal(size=(40, 2))
    classes = (vectors[:, 0] > 0).astype(int)
    classifier = LogisticRegression().fit(vectors, classes)
    own = make_pipeline(FunctionTransformer(copy), LogisticRegression()).fit(vectors, classes)
    address = "memory://models/classified"
    package_model(small, address, artifacts={"classifier": classifier, "own": own})
    loaded = load_artifact(address, "classifier")
    assert np.array_equal(loaded.predict(vectors), classifier.predict(vectors))
    with pytest.raises(ModelError, match=r"not trusted: copy\.copy"):
        load_artifact(address, "own")
    loaded = load_artifact(address, "own", trusted=["copy.copy"])
    assert np.array_equal(loaded.predict(vectors), own.predict(vectors))
    with pytest.raises(ConfigError, match="neither a file nor a scikit-learn model"):
        package_model(small, "memory://models/lock", artifacts={"lock": Lock()})
    assert not memory.exists("/models/lock")


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harmed",)


def harmful_files(folder: Path) -> Iterator[Path]:
    import bz2
    import gzip
    import lzma
    import zlib

    for protocol in range(6):
        data = pickle.dumps(Harmful(), protocol)
        (folder / f"protocol-{protocol}.txt").write_bytes(data)
        yield folder / f"protocol-{protocol}.txt"
        for package in (gzip, bz2, lzma, zlib):
            path = folder / f"{package.__name__}-{protocol}.dat"
            path.write_bytes(package.compress(data))
            yield path
        with zipfile.ZipFile(folder / f"{protocol}.zip", "w") as archive:
            archive.writestr("inside/data", data)
        yield folder / f"{protocol}.zip"
    large = [Harmful(), *range(100_000)]
    (folder / "large").write_bytes(pickle.dumps(large, 0))
    yield folder / "large"
    np.save(folder / "objects.npy", np.array([Harmful()]), allow_pickle=True)
    yield folder / "objects.npy"
    np.savez(folder / "objects.npz", objects=np.array([Harmful()]))
    yield folder / "objects.npz"
    for ending in (".pkl", ".PICKLE", ".joblib", ".pt"):
        (folder / f"words{ending}").write_bytes(b"words")
        yield folder / f"words{ending}"


def test_pickles_are_refused_and_never_run(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in list(harmful_files(tmp_path)):
        with pytest.raises(ModelError, match="is a pickle"):
            package_model(small, tmp_path / "out", artifacts={"mine": path})
    assert not (tmp_path / "harmed").exists()
    assert not (tmp_path / "out").exists()


def test_other_files_are_no_pickles(tmp_path: Path) -> None:
    texts = [b"", b"colour\nred\nblue\n", b"item\nlamp\n", b"(a) first\n", b"\x80", b"x", b"BZh"]
    arrays = [np.arange(3), np.array(["a", "O"]), np.zeros((2, 2), dtype=np.float16)]
    for at, text in enumerate(texts):
        (tmp_path / f"{at}.txt").write_bytes(text)
    for at, array in enumerate(arrays):
        np.save(tmp_path / f"{at}.npy", array)
    np.savez_compressed(tmp_path / "both.npz", *arrays)
    for path in tmp_path.iterdir():
        refuse_pickle(path)
    assert not is_pickle(b"N.")  # None: nothing is run


HOSTILE = [
    "../evil",
    "a/../../evil",
    "/etc/evil",
    "//evil",
    "a//b",
    "./a",
    "a/.",
    "..",
    "",
    "a\\..\\evil",
    "C:evil",
    "a\x00b",
    "a/\nb",
    ".git/config",
    ".bashrc",
    "artifacts.json",
    "ARTIFACTS.JSON",
    "weights.pkl",
    "a/weights.PT",
    " /a",
    "a/.. /b",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_that_leads_out_is_refused(path: str, memory: Any, tmp_path: Path) -> None:
    content = {"sha256": "0" * 64, "size": 0}
    said = {"format": 1, "model": "evil", "files": {path: content}}
    memory.pipe_file("/evil/artifacts.json", orjson.dumps(said))
    with pytest.raises(ModelError, match=r"artifacts\.json cannot be used"):
        locate("memory://evil")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "said",
    [
        b"no json",
        b"[]",
        b"\xff",
        b"{}",
        b'{"format": 2, "model": "m", "files": {}}',
        b'{"format": 1, "model": "m", "files": {}, "run": "me"}',
        b'{"format": 1, "model": "m", "files": {"a": {"sha256": "00", "size": 1}}}',
        b'{"format": 1, "model": "m", "files": {}, "artifacts": {"a": "a"}}',
        b'{"format": 1, "model": "' + b"m" * (1 << 20) + b'", "files": {}}',
    ],
)
def test_other_contents_are_refused(said: bytes) -> None:
    with pytest.raises(ModelError, match=r"artifacts\.json cannot be used"):
        read_contents(said, "memory://evil")


def test_two_names_of_one_place_are_refused() -> None:
    content = {"sha256": "0" * 64, "size": 0}
    for paths in (["a", "A"], ["a", "a/b"], ["dir/a", "DIR"]):
        said = {"format": 1, "model": "m", "files": dict.fromkeys(paths, content)}
        with pytest.raises(ModelError, match=r"artifacts\.json cannot be used"):
            read_contents(orjson.dumps(said), "memory://evil")


def test_what_was_changed_on_the_way_is_refused(
    small: Path, memory: Any, table: Path, cache: Path
) -> None:
    address = "memory://models/small"
    package_model(small, address, artifacts={"aspects": table})
    whole = memory.cat_file("/models/small/model.safetensors")
    for damaged in (whole[:-1], whole + b"+", whole[:-1] + b"!"):
        memory.pipe_file("/models/small/model.safetensors", damaged)
        with pytest.raises(ModelError, match="not the one that was exported"):
            locate(address)
        assert list(cache.iterdir()) == []
    memory.pipe_file("/models/small/model.safetensors", whole)
    kept = locate(address).path
    # A copy that lost a part is fetched again, and one that has another artifact is noticed.
    (kept / "model.safetensors").write_bytes(b"")
    assert (locate(address).path / "model.safetensors").read_bytes() == whole
    (kept / "artifacts" / "aspects.csv").write_bytes(b"x" * table.stat().st_size)
    with pytest.raises(ModelError, match="not the one that was exported"):
        artifact(address, "aspects")


def test_links_in_a_package_are_refused(small: Path, tmp_path: Path, table: Path) -> None:
    out = tmp_path / "out"
    package_model(small, out, artifacts={"aspects": table})
    (out / "artifacts").rename(tmp_path / "elsewhere")
    (out / "artifacts").symlink_to(tmp_path / "elsewhere")
    for broken in (lambda: locate(out.as_uri()), lambda: artifact(out, "aspects")):
        with pytest.raises(ModelError, match="is a link"):
            broken()


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("memory://nothing", ModelError, "nothing at the address"),
        ("nowhere://bucket/model", ModelError, "cannot be used"),
        ("s3://bucket/model", MissingDependencyError, "s3fs"),
    ],
)
def test_addresses_without_a_model(address: str, error: type[Exception], said: str) -> None:
    if address.startswith("s3") and __import__("importlib.util").util.find_spec("s3fs"):
        pytest.skip("s3fs is installed")
    with pytest.raises(error, match=said):
        locate(address)


def test_what_the_hub_is_told(tmp_path: Path) -> None:
    contents = Contents(model="runs/encoder", files={}, artifacts={})
    assert hub_arguments(tmp_path, contents, "hf://me/my-encoder@v2") == {
        "repo_id": "me/my-encoder",
        "repo_type": "model",
        "folder_path": str(tmp_path),
        "revision": "v2",
        "allow_patterns": ["artifacts.json"],
        "commit_message": "qa export: runs/encoder",
    }
    assert hub_arguments(tmp_path, contents, "hf://me/my-encoder")["revision"] is None
    for wrong in ("hf://me", "hf://me/my/encoder", "hf:///x", "hf://me/my encoder"):
        with pytest.raises(ConfigError, match="no repository of the Hub"):
            hub_arguments(tmp_path, contents, wrong)


def test_the_command_sends_and_fetches(memory: Any, table: Path, tmp_path: Path) -> None:
    address, out = "memory://models/encoder", tmp_path / "fetched"
    sent = qa("bundled:encoder", "--with", f"aspects={table}", "--out", address)
    assert sent.exit_code == 0, sent.output
    assert qa(address, "--out", str(out), "--card", str(table)).exit_code == 0
    assert artifact(out, "aspects").read_bytes() == table.read_bytes()
    assert (out / "model.onnx").read_bytes() == (
        locate("bundled:encoder").path / "model.onnx"
    ).read_bytes()
    assert (out / "README.md").read_bytes() == table.read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--with", "aspects"], "is not NAME=FILE"),
        (["--with", "../aspects=a.csv"], "cannot be the name of an artifact"),
        (["--with", "aspects=nowhere.csv"], "is no file"),
        (["--card", "nowhere.md"], "the card cannot be read"),
        (["--dimensions", "8"], "goes with --static"),
        (["--precision", "int8"], "go with --task"),
        (["--static", "--task", "encoder"], "leave out --task"),
    ],
)
def test_wrong_options_leave_nothing(options: list[str], said: str, tmp_path: Path) -> None:
    done = qa("bundled:encoder", "--out", str(tmp_path / "out"), *options)
    assert done.exit_code == 2 or isinstance(done.exception, ConfigError)
    assert said in " ".join(f"{done.output} {done.exception}".replace("│", "").split())
    assert not (tmp_path / "out").exists()
