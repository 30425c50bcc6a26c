"""What installed packages offer: both registries load it, and refuse it, in the same words."""

import pytest

from eval.metrics import Metric
from eval.metrics import registry as metrics
from qa_system.errors import ConfigError
from qa_system.plugins import offered
from qa_system.retrievers import registry as retrievers
from qa_system.retrievers.registry import RetrieverMode

SHOP = """
from eval.metrics import Metric
from qa_system.retrievers.registry import RetrieverMode

newest = RetrieverMode("newest", print)
oldest = RetrieverMode("oldest", print)
length = Metric(name="length", label="", meaning="", source="")
width = Metric(name="width", label="", meaning="", source="")
modes, sizes, words = (newest, oldest), [length, width], ["length"]
taken, taken_mode = Metric(name="f1", label="", meaning="", source=""), RetrieverMode("bm25", print)
word, number, kind, kinds = "length", 3, Metric, [Metric]


class Broken:
    def __iter__(self):
        raise OSError("no disk")


failing = Broken()
"""

REGISTRIES = {"qa_system.metrics": metrics, "qa_system.retrievers": retrievers}


@pytest.fixture
def offering(tmp_path, monkeypatch):
    """Install a package that offers something; returns what a registry finds."""
    (tmp_path / "shop_of_tests.py").write_text(SHOP)
    about = tmp_path / "shop-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)

    def found(group, name):
        (about / "entry_points.txt").write_text(f"[{group}]\nx = shop_of_tests:{name}\n")
        registry = REGISTRIES[group]
        registry._installed.cache_clear()
        try:
            return registry._installed()
        finally:
            registry._installed.cache_clear()

    return found


@pytest.mark.parametrize(
    ("group", "name", "names"),
    [
        ("qa_system.metrics", "length", ["length"]),
        ("qa_system.metrics", "sizes", ["length", "width"]),
        ("qa_system.retrievers", "newest", ["newest"]),
        ("qa_system.retrievers", "modes", ["newest", "oldest"]),
    ],
)
def test_one_or_several_are_offered(offering, group, name, names):
    assert list(offering(group, name)) == names


@pytest.mark.parametrize("group", REGISTRIES)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("word", "'length' is no "),
        ("words", "'length' is no "),
        ("number", "3 is no "),
        ("kind", "<class 'eval.metrics.metric.Metric'> is no "),
        ("kinds", "<class 'eval.metrics.metric.Metric'> is no "),
        ("nothing", "cannot be loaded: AttributeError"),
        ("failing", "cannot be loaded: OSError: no disk"),
    ],
)
def test_what_is_of_another_kind_or_broken_is_named(offering, group, name, message):
    with pytest.raises(ConfigError) as caught:
        offering(group, name)
    assert message in str(caught.value)
    assert f"entry point x = shop_of_tests:{name} of shop" in str(caught.value)


@pytest.mark.parametrize(
    ("group", "name"), [("qa_system.metrics", "taken"), ("qa_system.retrievers", "taken_mode")]
)
def test_a_name_of_ours_is_not_replaced(offering, group, name):
    with pytest.raises(ConfigError, match="exists already"):
        offering(group, name)


def test_each_registry_takes_its_own_kind_only(offering):
    with pytest.raises(ConfigError, match="is no RetrieverMode"):
        offering("qa_system.retrievers", "length")
    with pytest.raises(ConfigError, match="is no Metric"):
        offering("qa_system.metrics", "newest")


@pytest.mark.parametrize("kind", [Metric, RetrieverMode])
def test_nothing_is_offered_where_nothing_is_installed(kind):
    assert list(offered("qa_system.nothing", kind)) == []
