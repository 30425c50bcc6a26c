"""Who may ask, how much, and what is kept."""

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from qa_system.config import KeySettings, ServingSettings, changed, load_settings
from qa_system.errors import ConfigError, QASystemError, UnknownItemError
from qa_system.serving.api import _client
from qa_system.serving.cache import OVERHEAD, Cache
from qa_system.serving.errors import (
    KeyRefusedError,
    OverloadedError,
    RequestTooLargeError,
    status_of,
)
from qa_system.serving.keys import Caller, Keys
from qa_system.serving.limits import RateLimits
from qa_system.serving.service import models_of
from qa_system.serving.worker import _sharing_cores
from qa_system.stores.contract import Generation
from qa_system.stores.filters import InvalidFilterError

SECRET, PAGE = "s" * 24, "p" * 24
KEYS = Keys(
    [
        KeySettings(name="shop", env="SHOP_KEY"),
        KeySettings(
            name="page", sha256=sha256(PAGE.encode()).hexdigest(), origins=("https://shop.example",)
        ),
    ],
    {"SHOP_KEY": SECRET},
)
FROM_PAGE = {"origin": "https://shop.example"}


def test_a_key_is_known_by_its_hash_or_by_its_variable() -> None:
    assert KEYS.caller(SECRET, {}, browser=False).name == "shop"
    assert KEYS.caller(PAGE, FROM_PAGE, browser=True).name == "page"
    assert Keys([]).caller(None, {}, browser=False).name == "anonymous"


@pytest.mark.parametrize(
    ("key", "headers", "browser", "said"),
    [
        (None, {}, True, "send an API key"),
        ("", {}, True, "no such API key"),
        ("\udce9", {}, True, "no such API key"),
        (SECRET[:-1], {}, True, "no such API key"),
        (sha256(PAGE.encode()).hexdigest(), FROM_PAGE, True, "no such API key"),
        (PAGE, {}, True, "other origins"),
        (PAGE, {"origin": "https://shop.example.evil"}, True, "other origins"),
        (PAGE, {"origin": "null"}, True, "other origins"),
        (PAGE, {"origin": "https://[bad"}, True, "other origins"),
        (PAGE, {"referer": "https://[bad/x"}, True, "other origins"),
        (PAGE, {"referer": "https://shop.example]/x"}, True, "other origins"),
        (PAGE, {"referer": "https://evil/https://shop.example/"}, True, "other origins"),
        (PAGE, {"origin": "https://evil", "referer": "https://shop.example/"}, True, "other"),
        (PAGE, FROM_PAGE, False, "publishable"),
    ],
)
def test_another_key_is_refused(
    key: str | None, headers: dict[str, str], browser: bool, said: str
) -> None:
    with pytest.raises(KeyRefusedError, match=said):
        KEYS.caller(key, headers, browser=browser)


def test_a_page_of_the_service_itself_sends_no_origin_with_a_get() -> None:
    headers = {"referer": "https://shop.example/lamp?x"}
    assert KEYS.caller(PAGE, headers, browser=True).name == "page"


@pytest.mark.parametrize(("value", "said"), [("", "is not set"), ("short", "fewer than 16")])
def test_a_variable_without_a_good_key_is_an_error(value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Keys([KeySettings(name="shop", env="SHOP_KEY")], {"SHOP_KEY": value})


@pytest.mark.parametrize(
    ("set_", "said"),
    [
        ("serving.keys=[{name: a}]", "needs either sha256 or env"),
        ("serving.keys=[{name: a, env: A, sha256: ab}]", "sha256"),
        ("serving.keys=[{name: a, env: A}, {name: a, env: B}]", "same name"),
        ("serving.keys=[{name: a, env: A, origins: ['*']}]", "origins"),
        ("serving.keys=[{name: a, env: A, origins: ['https://a/']}]", "origins"),
        ("serving.keys=[{name: a, env: A, origins: ['https://a:b']}]", "origins"),
        ("serving.keys=[{name: a, env: A, origins: ['https://[a']}]", "origins"),
        ("serving.keys=[{name: a, env: A, origins: ['ftp://a']}]", "origins"),
        ("serving.keys=[{name: a, env: A, origins: ['https://me@a']}]", "origins"),
        ("serving.keys=[{name: a, env: ''}]", "env"),
        ("serving.host=''", "serving.host"),
        ("serving.workers=1000000", "serving.workers"),
        ("serving.modes=[]", "serving.modes"),
        ("serving.poll_seconds=.inf", "serving.poll_seconds"),
        ("serving.poll_seconds=.nan", "serving.poll_seconds"),
        ("serving.timeout_ms=9999999999999999999999", "serving.timeout_ms"),
        ("serving.traces=nonsense", "serving.traces"),
        ("serving.traces='http://[a'", "serving.traces"),
        ("serving.feedback=''", "serving.feedback"),
        ("serving.state=' '", "serving.state"),
        ("serving.audit.file=''", "serving.audit.file"),
        ("serving.audit.days=999999999999", "serving.audit.days"),
        ("serving.asked.file=''", "serving.asked.file"),
        ("serving.queue=5", "max_questions is more than queue"),
        ("serving.timeout_ms=99999", "timeout_ms is more than max_timeout_ms"),
    ],
)
def test_settings_that_cannot_be_are_errors(set_: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_settings(None, [set_], environ={})


def test_a_bucket_holds_a_minute_and_fills_up_evenly(tmp_path: Path) -> None:
    limits = RateLimits(tmp_path / "limits")
    assert [limits.take("a", 6, 1, now=100) for _ in range(6)] == [0] * 6
    assert limits.take("a", 6, 1, now=100) == pytest.approx(10)
    assert limits.take("a", 6, 2, now=105) == pytest.approx(15)
    assert limits.take("b", 6, 1, now=105) == 0
    assert limits.take("a", 6, 1, now=110) == 0
    assert limits.take("a", 6, 1, now=110) == pytest.approx(10)
    # A clock that was set back adds nothing.
    assert limits.take("a", 6, 1, now=50) == pytest.approx(10)
    limits.close()


@settings(max_examples=25)
@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 90), st.integers(1, 50)), max_size=30))
def test_no_minute_has_more_questions_than_two_buckets(
    per_minute: int, asked: list[tuple[int, int]]
) -> None:
    """However they come, in batches or one by one: a full bucket, and what fills it meanwhile."""
    now, taken = 0, list[tuple[int, int]]()
    with TemporaryDirectory() as folder, closing(RateLimits(Path(folder) / "limits")) as limits:
        for pause, questions in asked:
            now += pause
            if questions > per_minute:
                with pytest.raises(RequestTooLargeError, match=f"{per_minute} questions a minute"):
                    limits.take("a", per_minute, questions, now=now)
            elif limits.take("a", per_minute, questions, now=now) == 0:
                taken.append((now, questions))
    for start, _ in taken:
        within = sum(questions for at, questions in taken if start <= at < start + 60)
        assert within <= 2 * per_minute


def test_the_same_key_under_two_names_is_an_error() -> None:
    digest = sha256(SECRET.encode()).hexdigest()
    for other in (KeySettings(name="b", sha256=digest), KeySettings(name="b", env="B")):
        keys = [KeySettings(name="a", env="A"), other]
        with pytest.raises(ConfigError, match="a and b are the same key"):
            Keys(keys, {"A": SECRET, "B": SECRET})


@pytest.mark.parametrize(
    ("given_", "sent"),
    [
        ("https://Shop.Example", "https://shop.example"),
        ("HTTPS://shop.example:443", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("https://schön.example:8443", "https://xn--schn-7qa.example:8443"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_an_origin_is_that_which_browsers_send(given_: str, sent: str) -> None:
    digest = sha256(PAGE.encode()).hexdigest()
    keys = Keys([KeySettings(name="page", sha256=digest, origins=(given_,))])
    assert keys.origins == [sent]
    assert keys.caller(PAGE, {"origin": sent}, browser=True).name == "page"
    assert keys.caller(PAGE, {"referer": f"{sent}/lamp"}, browser=True).name == "page"


def test_processes_share_their_buckets(tmp_path: Path) -> None:
    path = tmp_path / "limits"
    code = f"""
from pathlib import Path
from qa_system.serving.limits import RateLimits
limits = RateLimits(Path({str(path)!r}))
print(sum(limits.take("a", 300, 1, now=0) == 0 for _ in range(200)))
"""
    workers = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    taken = [int(worker.communicate(timeout=120)[0]) for worker in workers]
    assert sum(taken) == 300, taken


@given(
    st.lists(st.tuples(st.integers(0, 2), st.binary(min_size=1, max_size=2), st.binary())),
    st.integers(0, 4 * OVERHEAD),
)
def test_a_cache_keeps_to_its_size_and_to_one_generation(
    puts: list[tuple[int, bytes, bytes]], most: int
) -> None:
    cache = Cache(most)
    last: dict[bytes, bytes] = {}
    before = None
    for number, key, value in puts:
        generation = Generation("s", number)
        if generation != before:
            last.clear()
        last[key], before = value, generation
        cache.put(generation, key, value)
        assert cache.bytes <= most
        for each, kept in last.items():
            assert cache.get(generation, each) in (kept, None)
        found = [cache.get(generation, each) for each in last]
        assert cache.bytes == sum(len(each) + OVERHEAD for each in found if each is not None)
        if len(value) + OVERHEAD <= most:
            assert cache.get(generation, key) == value


def test_shoppers_take_turns_behind_a_proxy_with_a_secret_key() -> None:
    secret = Caller("shop", KeySettings(name="shop", env="SHOP_KEY"))

    def lane(address: str, caller: Caller = secret) -> str:
        return _client(Request({"type": "http", "client": (address, 1)}), caller)

    assert lane("203.0.113.1") == lane("203.0.113.1") != lane("203.0.113.2")
    assert lane("203.0.113.1") != lane("203.0.113.1", Caller("page", None))


def test_an_answers_tag_changes_with_everything_that_it_depends_on(tmp_path: Path) -> None:
    confidence = tmp_path / "confidence.json"
    confidence.write_text("{}")
    chosen = load_settings(None, {"answers.confidence": str(confidence)}, environ={})
    before = models_of(chosen)
    assert {"bundled:encoder", "bundled:reader", "bundled:judge", "bundled:generator"} < set(before)
    confidence.write_text('{"fitted": []}')
    assert models_of(chosen)["answers.confidence"] != before["answers.confidence"]
    extracts = changed(chosen, {"serving.modes": ["extract"]})
    assert "bundled:generator" not in models_of(extracts)


def test_workers_share_the_cores_in_everything_that_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    chosen = load_settings(None, {"serving.workers": 4, "reader.threads": 3}, environ={})
    shared = _sharing_cores(chosen)
    threads = {
        name: getattr(shared, name).threads
        for name in type(shared).model_fields
        if hasattr(getattr(shared, name), "threads")
    }
    assert threads == {"encoder": 2, "reader": 3, "judge": 2, "generator": 2}


def test_the_statuses_of_errors() -> None:
    assert status_of(UnknownItemError("x")) == 404
    assert status_of(InvalidFilterError("x")) == 422
    assert status_of(OverloadedError("x", retry_after=1)) == 503
    assert status_of(QASystemError("x")) == status_of(ConfigError("x")) == 500
    assert ServingSettings().timeout_ms == 10_000


def test_the_dashboard_shows_what_is_measured(root: Path, tmp_path: Path) -> None:
    code = """
from qa_system.records import Answers, Decision
from qa_system.serving.metrics import Metrics
metrics = Metrics()
metrics.observe_request("/v1/ask", 200, 0.1)
decisions = Decision(0.2, 0.3), Decision(0.4, 0.3)
metrics.observe_batch(
    [Answers("Is it loud?", "a", (), each, 1, timings={"read": 0.1}) for each in decisions]
)
metrics.count_cache(1, 2, 100)
metrics.set_waiting(3)
print(metrics.exposition().decode())
"""
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    measured = set(re.findall(r"^(qa_\w+)", done.stdout, re.MULTILINE))
    assert 'qa_questions_total{kind="yes_no",outcome="abstained"} 1.0' in done.stdout
    assert 'qa_questions_total{kind="yes_no",outcome="answered"} 1.0' in done.stdout
    dashboard = json.loads((root / "deploy" / "grafana.json").read_text())
    shown = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\bqa_\w+", target["expr"])
    }
    assert shown <= measured
    families = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in measured}
    assert {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in shown} == families
