"""Nothing is sent: no command looks up a name, contacts another machine or leaves a file at home.

Each command runs with none of the variables of `qa_system.telemetry` set, an empty home folder, and
`tests/watch`, which forbids the network and records each attempt.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

pytestmark = pytest.mark.slow

ASK = """
from qa_system import QASystem
with QASystem.open(store__path="store") as system:
    assert system.ask("How is the zipper?", item_id="tent-fjellvik-2").reviews_read
"""
API = """
import asyncio
from qa_system import BM25Retriever, DenseRetriever, ExtractiveReader, FAISSDocumentStore
from qa_system import QASystem, Question, RAGGenerator
from haystack import Document

asked = [Question("How is the zipper?", "tent-fjellvik-2"), Question("Loud?", "nothing")]
with QASystem.open(store__path="store", mode="auto") as system:
    extracted, unknown = system.ask_many(asked)
    assert extracted.reviews_read
    assert unknown.error.code == "unknown_item"
    for mode in ("generate", "auto"):
        assert system.ask_many(asked[:1], mode=mode)[0].decision
    assert asyncio.run(system.ask_async("How is the zipper?", "tent-fjellvik-2")).reviews_read
    assert system.examine(asked[:1])[0].documents
with FAISSDocumentStore("store") as store:
    for retriever in (BM25Retriever(store), DenseRetriever(store)):
        documents = retriever.run("How is the zipper?")["documents"]
        assert documents
        assert "decision" in ExtractiveReader().run("How is the zipper?", documents)
    RAGGenerator().run("How is the zipper?", documents[:2])
with FAISSDocumentStore("other") as store:
    store.write_documents([Document(id="r1", content="Good sound.")])
    assert store.search_bm25("sound") and not store.verify()
"""
RECIPE = """
model: encoder
towers: two
train: [{path: "bundled:sample", split: train, weight: 0.05}]
dev: [{path: "bundled:sample", split: dev}]
max_seq_length: 32
batch_size: 8
epochs: 1
evaluations: 1
device: cpu
precision: fp32
"""
EVALUATE = ("--split", "dev", "--resamples", "100")

# They run in this order in one folder, where `encoder` is a small checkpoint: the first makes the
# store, and the folders that models are named by look like Hub ids.
COMMANDS: dict[str, list[str]] = {
    "index": ["qa-index", "run", "--source", "bundled:sample", "--store", "store"],
    "ask": ["qa", "ask", "How is the zipper?", "--item", "tent-fjellvik-2", "--store", "store"],
    "generate": [
        *("qa", "ask", "How is the zipper?", "--item", "tent-fjellvik-2", "--store", "store"),
        *("--mode", "auto", "--json"),
    ],
    "library": ["python", "-c", ASK],
    "api": ["python", "-c", API],
    "doctor": ["qa", "doctor", "--store", "store", "--json"],
    "status": ["qa-index", "status", "--store", "store"],
    "verify": ["qa-index", "verify", "--store", "store"],
    "explore": ["qa-eval", "explore", "bundled:sample"],
    "forget": ["qa-index", "forget", "nobody", "--store", "store"],
    "retriever": ["qa-eval", "retriever", "--retriever", "bm25", *EVALUATE, "--out", "report"],
    "reader": ["qa-eval", "reader", *EVALUATE],
    "pipeline": ["qa-eval", "pipeline", *EVALUATE, "--out", "run"],
    "compare": ["qa-eval", "compare", "run:pipeline", "run:reader alone"],
    "export": ["qa", "export", "encoder", "--task", "encoder", "--out", "exported"],
    "train": ["qa", "train", "retriever", "--recipe", "recipe.yaml", "--out", "trained"],
}
FONTS = ".cache/matplotlib/"  # its list of the fonts that are installed


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    output: str
    attempts: list[str]
    files: list[str]


Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path | None:
    """The part of the watch for code that is not Python; None where it cannot be built."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        return None
    library = tmp_path_factory.mktemp("watch") / "native.so"
    source = root / "tests" / "watch" / "native.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory,
    root: Path,
    native: Path | None,
    save_checkpoint: Callable[[Any, Path], Path],
) -> Run:
    """Run a command under the watch: `run(*command, **environment)`."""
    from transformers import BertConfig, BertModel

    place = tmp_path_factory.mktemp("place")
    save_checkpoint(
        BertModel(
            BertConfig(
                hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
            )
        ),
        place / "encoder",
    )
    (place / "recipe.yaml").write_text(RECIPE)

    def run(*command: str, **environment: str) -> Ran:
        home = tmp_path_factory.mktemp("home")
        log = tmp_path_factory.mktemp("log") / "network"
        log.touch()
        # Nothing else of ours: ONNX Runtime, for one, sends nothing where it sees CI=true.
        given = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(root / "tests" / "watch"), str(root)]),
            "HOME": str(home),
            "TMPDIR": str(home),
            "OMP_NUM_THREADS": "1",
            "NETWORK_LOG": str(log),
        }
        if native is not None:
            given["LD_PRELOAD"] = str(native)
        done = subprocess.run(
            command,
            cwd=place,
            env=given | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        files = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
        return Ran(done.returncode, done.stdout, log.read_text().splitlines(), sorted(files))

    return run


@pytest.fixture(scope="module")
def ran(run: Run) -> dict[str, Ran]:
    return {name: run(*command) for name, command in COMMANDS.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_sends_nothing_and_leaves_nothing(name: str, ran: dict[str, Ran]) -> None:
    done = ran[name]
    assert done.code == 0, done.output
    assert done.attempts == []
    assert [file for file in done.files if not file.startswith(FONTS)] == []


@pytest.mark.usefixtures("ran")
def test_a_haystack_that_was_imported_first_sends_nothing(run: Run) -> None:
    done = run("python", "-c", f"import haystack\n{ASK}")
    assert done.code == 0, done.output
    assert done.attempts == []
    assert done.files == [".haystack/config.yaml"]  # written by the first line


@pytest.mark.usefixtures("ran")
def test_who_wants_telemetry_gets_it(run: Run) -> None:
    # Without this, the tests above could pass for want of anything to see.
    done = run("python", "-c", ASK, HAYSTACK_TELEMETRY_ENABLED="True", ORT_DISABLE_TELEMETRY="0")
    assert done.code == 0, done.output
    assert any("posthog.com" in attempt for attempt in done.attempts)
    assert ".haystack/config.yaml" in done.files
    assert any(file.endswith("onnxruntime/deviceid") for file in done.files)


def test_the_watch_sees_python(run: Run) -> None:
    code = """
import contextlib, socket
with contextlib.suppress(OSError):
    socket.create_connection(("192.0.2.1", 80), timeout=1)
with contextlib.suppress(socket.gaierror):
    socket.getaddrinfo("example.org", 80)
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname())
"""
    done = run("python", "-c", code)
    assert done.code == 0, done.output
    expected = ["socket.getaddrinfo 192.0.2.1", "socket.getaddrinfo example.org"]
    assert done.attempts == expected


def test_the_watch_sees_native_code(run: Run, native: Path | None) -> None:
    if native is None:
        pytest.skip(
            "no C compiler, or not Linux: the tests of this file do not see what native code "
            "sends, only the files that it leaves"
        )
    code = """
import ctypes, socket, struct
libc = ctypes.CDLL(None)
assert libc.getaddrinfo(b"example.org", None, None, ctypes.byref(ctypes.c_void_p()))
address = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton("192.0.2.1"))
assert libc.connect(socket.socket().fileno(), address, len(address)) == -1
"""
    done = run("python", "-c", code)
    assert done.code == 0, done.output
    assert done.attempts == ["getaddrinfo example.org", "connect 192.0.2.1"]
