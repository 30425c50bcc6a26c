"""Every test runs offline; tests that need the research data say so and skip without it."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import hypothesis
import pytest

# The same examples every time, and no clock: a busy machine does not make a test fail.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")

ROOT = Path(__file__).parent.parent

# Whoever started the tests may have ignored them, as `nohup` and `&` in a script do.
for ignored, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(ignored) == signal.SIG_IGN:
        signal.signal(ignored, usual)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def sample() -> Path:
    return ROOT / "data" / "sample"


@pytest.fixture(scope="session")
def sample_store(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Path:
    """A store of the sample, which tests read; those that write to it copy it."""
    from indexing.job import run_job
    from qa_system.config import load_settings

    path = tmp_path_factory.mktemp("sample") / "store"
    overrides = {"store.path": str(path), "indexing.sources": [str(sample)]}
    run_job(load_settings(None, overrides, environ={}))
    return path


@pytest.fixture(scope="session")
def qa_data() -> Path:
    """The folder of the research data sets, SubjQA and SQuADShifts."""
    folder = Path(os.environ.get("QA_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the research data is not here: {folder} (QA_DATA names another folder)")
    return folder


@pytest.fixture(scope="session")
def reader_seed() -> Path:
    """The checkpoint that the bundled reader was exported from."""
    folder = ROOT.parent / "shared" / "models" / "reader-seed"
    if not folder.is_dir():
        pytest.skip(f"the reader's checkpoint is not here: {folder}")
    return folder


@pytest.fixture(scope="session")
def save_checkpoint() -> Callable[[Any, Path], Path]:
    """Saves a model beside the bundled reader's tokenizer, as anybody could have saved it."""
    from transformers import PreTrainedTokenizerFast

    from qa_system.models.locate import locate

    def save(model: Any, folder: Path) -> Path:
        model.save_pretrained(folder)
        PreTrainedTokenizerFast(
            tokenizer_file=str(locate("bundled:reader").path / "tokenizer.json"),
            cls_token="[CLS]",
            sep_token="[SEP]",
            pad_token="[PAD]",
            unk_token="[UNK]",
            model_max_length=512,
        ).save_pretrained(folder)
        return folder

    return save


class ElasticsearchNode:
    """A server of ../shared/elasticsearch in a process of its own.

    Args:
        data: its folder; a second node on the same one finds the data again.
        settings: of the node, `name=value`.
        heap: of its Java.
    """

    def __init__(self, data: Path, *settings: str, heap: str = "512m") -> None:
        start = ROOT.parent / "shared" / "elasticsearch" / "start"
        if not start.is_file():
            pytest.skip(f"no Elasticsearch to start: {start} is not here")
        if shutil.which("java") is None:
            pytest.skip("no Elasticsearch to start: there is no java on PATH")
        data.mkdir(parents=True, exist_ok=True)
        self._log = data / "log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [start, "--until-eof", data / "data", *settings],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "ES_HEAP": heap},
                text=True,
            )

    @cached_property
    def url(self) -> str:
        """Its address, when it answers."""
        assert self._process.stdout is not None
        url = self._process.stdout.readline().strip()
        if not url:
            pytest.fail(f"Elasticsearch did not start: {self._log.read_text()[-2_000:]}")
        return url

    def kill(self) -> None:
        """SIGKILL: the power cut."""
        self._process.kill()
        self._end()

    def stop(self) -> None:
        """SIGTERM."""
        self._process.terminate()
        self._end()

    def _end(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(30)


@pytest.fixture(scope="session")
def servers_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In memory where that can be: half of such a test's time is the disk's, for no power cut."""
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else tmp_path_factory.mktemp("elasticsearch")
    with TemporaryDirectory(dir=parent, prefix="qa-elasticsearch-") as name:
        yield Path(name)


@pytest.fixture
def start_elasticsearch(servers_folder: Path) -> Iterator[Callable[..., ElasticsearchNode]]:
    """Starts servers for tests that kill them or set them up: `start(name, *settings, heap=...)`.

    The same name finds the same data.
    """
    nodes: list[ElasticsearchNode] = []
    with TemporaryDirectory(dir=servers_folder) as folder:

        def start(name: str, *settings: str, heap: str = "512m") -> ElasticsearchNode:
            nodes.append(ElasticsearchNode(Path(folder) / name, *settings, heap=heap))
            return nodes[-1]

        yield start
        for node in nodes:
            node.kill()


@pytest.fixture(scope="session")
def elasticsearch_url(servers_folder: Path) -> Iterator[str]:
    """A real server's address: that of ELASTICSEARCH_URL, else one started for these tests."""
    named = os.environ.get("ELASTICSEARCH_URL")
    if named:
        yield named
        return
    node = ElasticsearchNode(servers_folder / "shared")
    yield node.url
    node.stop()


@contextmanager
def _elastic_stores(url: str) -> Iterator[Callable[..., Any]]:
    from uuid import uuid4

    from elasticsearch import Elasticsearch

    from qa_system.stores.elasticsearch import ElasticsearchReviewStore

    prefix = f"test-{uuid4().hex[:12]}"
    stores: list[ElasticsearchReviewStore] = []

    def make(name: str = "reviews", **options: Any) -> ElasticsearchReviewStore:
        given = {"url": url, "replicas": 0, **options}
        stores.append(ElasticsearchReviewStore(index=f"{prefix}-{name}", **given))
        return stores[-1]

    yield make
    for store in stores:
        store.close()
    with Elasticsearch(url) as client:
        found = client.indices.get(index=f"{prefix}-*", features="aliases")
        if found.body:
            client.indices.delete(index=list(found.body))


@pytest.fixture
def elastic_store(elasticsearch_url: str) -> Iterator[Callable[..., Any]]:
    """Makes stores with index names of their own, which are deleted afterwards.

    `elastic_store(name)` opens the same index again.
    """
    with _elastic_stores(elasticsearch_url) as make:
        yield make


@pytest.fixture(scope="module")
def lasting_elastic_store(elasticsearch_url: str) -> Iterator[Callable[..., Any]]:
    """The same for all tests of a module."""
    with _elastic_stores(elasticsearch_url) as make:
        yield make


@pytest.fixture(params=["embedded", "elasticsearch"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes either store: the same one again each time, in whatever settings."""
    if request.param == "elasticsearch":
        yield request.getfixturevalue("elastic_store")
        return
    from qa_system.stores.faiss import FAISSDocumentStore

    with ExitStack() as stores:

        def make(**options: Any) -> FAISSDocumentStore:
            opened = FAISSDocumentStore(tmp_path / "store", **options)
            return stores.enter_context(closing(opened))

        yield make


@pytest.fixture
def store(make_store: Callable[..., Any]) -> Iterator[Any]:
    """Either store, empty, with the cosine; a module with a `store` of its own has that one."""
    with closing(make_store(similarity="cosine")) as opened:
        yield opened


@pytest.fixture(scope="session")
def made_up_run() -> Callable[..., Any]:
    """Builds runs of made-up questions; see `tests/support/made_up_runs.py`."""
    from made_up_runs import made_up_run as build

    return build


CHROMIUM_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium (`apt-get install chromium`), or the one that `CHROMIUM` names.

    Playwright drives it; without either the test skips.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no Chromium: apt-get install chromium, or set CHROMIUM")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()
