import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from qa_system.config import ElasticsearchSettings, Settings, StoreSettings, changed, load_settings
from qa_system.config.loading import Override
from qa_system.console.app import settings_from
from qa_system.errors import ConfigError

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_later_sources_win(tmp_path: Path) -> None:
    path = write(tmp_path, "retriever: {top_k: 4, mode: bm25}\nseed: 1\n")
    environ = {"QA_RETRIEVER__TOP_K": "5", "QA_STORE__PATH": "from-environment", "QA_DATA": "x"}
    settings = load_settings(path, ["retriever.top_k=6"], environ=environ)
    assert settings.retriever.top_k == 6
    assert settings.retriever.mode == "bm25"
    assert settings.store.path == "from-environment"
    assert settings.seed == 1


def test_every_error_is_reported_at_once_with_its_path(tmp_path: Path) -> None:
    path = write(tmp_path, "retriever: {top_k: 0, mod: bm25}\nreader: {stride: many}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(path, ["store.index=tree"], environ={"QA_INDEXING__BATCH_SIZE": "-1"})
    message = str(caught.value)
    for fragment in (
        "retriever.top_k",
        "retriever.mod: no such key",
        "reader.stride",
        "store.index",
        "[command line]",
        "indexing.batch_size",
        "environment variable QA_INDEXING__BATCH_SIZE",
        str(path),
    ):
        assert fragment in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("a: [", "not YAML"),
        ("- a\n- b\n", "holds a list"),
        ("reader: {stride: 300}\n", "stride must be less"),
        ("indexing: {passages: {max_words: 5, overlap_words: 5}}\n", "overlap_words"),
        ("store: !!python/object/apply:os.system [ls]\n", "not YAML"),
        (BOMB, "stands for more than 100,000 values"),
        ("seed: &a [*a]", "the alias *a stands for what it stands in"),
        ("seed: " + "[" * 1_000, "nested more than 50 levels deep"),
        ("".join(f"{' ' * n}a:\n" for n in range(1_000)), "nested more than 50 levels deep"),
        ("seed: 2024-99-99", "not YAML: month must be in"),
        ("seed: " + "9" * 5_000, "not YAML"),
        ("? {a: 1}\n: 2", "not YAML"),
        ("1: 2", "1: must be a text"),
        ("a" * 1_000_001, "more than 1,000,000 characters"),
    ],
)
def test_bad_files_are_config_errors(tmp_path: Path, text: str, fragment: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(fragment)):
        load_settings(write(tmp_path, text), environ={})


@pytest.mark.parametrize("text", [BOMB, "[" * 1_000, "2024-99-99", "&a [*a]"])
def test_bad_values_of_flags_and_of_the_environment_are_config_errors(text: str) -> None:
    with pytest.raises(ConfigError, match="not a YAML value"):
        load_settings(None, [f"seed={text}"], environ={})
    with pytest.raises(ConfigError, match="QA_STORE__PATH"):
        load_settings(None, environ={"QA_STORE__PATH": text})


def test_anchors_and_aliases_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, "reader: {device: &where cpu}\nencoder: {device: *where}\n")
    assert load_settings(path, environ={}).encoder.device == "cpu"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_settings(tmp_path / "nowhere.yaml", environ={})


def test_an_override_without_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        load_settings(None, ["retriever.top_k"], environ={})


def test_none_in_a_mapping_means_not_given() -> None:
    assert load_settings(None, {"store.path": None}, environ={}) == Settings()


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, ""), environ={}) == Settings()


def keys_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= keys_of(kind, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def keys_in(tree: dict, prefix: str = "") -> set[str]:
    found = set()
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            found |= keys_in(value, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def test_the_default_configuration_is_complete_commented_and_true(root: Path) -> None:
    text = (root / "configs" / "default.yaml").read_text(encoding="utf-8")
    stores = keys_of(StoreSettings, "store.")
    assert keys_in(yaml.safe_load(text)) == keys_of(Settings) - {"store"} | stores
    assert Settings.model_validate(yaml.safe_load(text)) == Settings()
    for line in text.splitlines():
        if ":" in line and not line.lstrip().startswith("#"):
            assert "#" in line or line.rstrip().endswith("passages:"), f"no comment: {line}"


def test_the_elasticsearch_configuration_is_complete_and_true(root: Path) -> None:
    path = root / "configs" / "elasticsearch.yaml"
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert keys_in(tree) == keys_of(ElasticsearchSettings, "store.") | {"indexing.sources"}
    settings = load_settings(path, environ={})
    assert settings.store == ElasticsearchSettings(type="elasticsearch", replicas=0)
    sample = load_settings(root / "configs" / "sample.yaml", environ={})
    assert settings == sample.model_copy(update={"store": settings.store})


def test_each_store_has_keys_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"store\.path: no such key"):
        load_settings(write(tmp_path, "store: {type: elasticsearch, path: x}"), environ={})
    with pytest.raises(ConfigError, match=r"store\.url: no such key"):
        load_settings(write(tmp_path, "store: {url: 'http://x:1'}"), environ={})
    with pytest.raises(ConfigError, match=r"there is no 'solr', but .*elasticsearch"):
        load_settings(write(tmp_path, "store: {type: solr}"), environ={})
    environ = {"QA_STORE__TYPE": "elasticsearch", "QA_STORE__INDEX": "mine"}
    assert load_settings(environ=environ).store.place == "http://localhost:9200/mine"


@pytest.mark.parametrize("name", ["sample.yaml"])
def test_the_other_configurations_load(root: Path, name: str) -> None:
    assert load_settings(root / "configs" / name, environ={}) != Settings()


def test_a_store_is_named_in_one_word_whichever_it_is() -> None:
    assert load_settings(overrides=["store=mine"], environ={}).store.place == "mine"
    assert load_settings(overrides=["store=010"], environ={}).store.place == "010"
    server = {"store.type": "elasticsearch", "store": "mine", "store.url": "http://es:9200"}
    assert load_settings(overrides=server, environ={}).store.place == "http://es:9200/mine"
    first_the_name = dict(reversed(server.items()))
    assert load_settings(overrides=first_the_name, environ={}).store.place == "http://es:9200/mine"


FOLDER = "store: {path: here, index: hnsw, gpu: true, similarity: cosine}\n"
SERVER = "store: {type: elasticsearch, url: 'http://es:1', similarity: cosine, shards: 3}"
KEY = "store: {api_key_env: KEY}"


@pytest.mark.parametrize(
    ("file", "name", "place", "kept"),
    [
        ("", "there", "there", {}),
        ("", "https://es/reviews", "https://es/reviews", {"replicas": 1}),
        (FOLDER, "there", "there", {"index": "hnsw", "gpu": True, "similarity": "cosine"}),
        (FOLDER, "http://es:9200/new", "http://es:9200/new", {"similarity": "cosine"}),
        (SERVER, "new", "http://es:1/new", {"shards": 3, "similarity": "cosine"}),
        (SERVER, "http://es:2/new", "http://es:2/new", {"shards": 3, "similarity": "cosine"}),
        (SERVER, "./there", "./there", {"index": "auto", "similarity": "cosine"}),
        (KEY, "http://es:9200/new", "http://es:9200/new", {"api_key_env": "KEY"}),
    ],
)
def test_what_a_stores_name_means(
    tmp_path: Path, file: str, name: str, place: str, kept: dict
) -> None:
    named = load_settings(write(tmp_path, file), {"store": name}, environ={}).store
    assert named.place == place
    assert {key: getattr(named, key) for key in kept} == kept
    if file != KEY:
        before = load_settings(write(tmp_path, file), environ={}).store
        assert before.named(name) == named


def test_a_key_of_the_other_store_beside_an_address_is_refused(tmp_path: Path) -> None:
    for wrong in (["store.path=x"], ["store.type=faiss"]):
        with pytest.raises(ConfigError, match=r"store\.(path|url): no such key"):
            load_settings(None, ["store=http://es/reviews", *wrong], environ={})
    with pytest.raises(ConfigError, match=r"store\.pth: no such key"):
        load_settings(write(tmp_path, "store: {pth: x}"), {"store": "http://es/a"}, environ={})


@given(
    st.lists(
        st.from_regex(r"https?://[a-z]{1,9}(:[1-9][0-9]{0,3})?(/[a-z]{1,3}){0,2}", fullmatch=True),
        min_size=1,
        max_size=3,
    ),
    st.from_regex(r"[a-z0-9][a-z0-9_-]{3,9}", fullmatch=True),
)
def test_a_servers_place_names_it_again(hosts: list[str], index: str) -> None:
    store = {"type": "elasticsearch", "url": ",".join(hosts), "index": index}
    place = load_settings(overrides={"store": store}, environ={}).store.place
    named = load_settings(overrides={"store": place}, environ={}).store
    assert (named.url, named.index) == (store["url"], index)


def test_settings_from_says_where_a_wrong_value_came_from() -> None:
    flags = {"encoder.batch_tokens": 0, "indexing.types": {"a.b": "colour"}, "store": "x"}
    with pytest.raises(ConfigError) as caught:
        settings_from(None, flags, ["retriever.top_k=0", "store.size=3"])
    message = str(caught.value)
    assert "encoder.batch_tokens: must be more than 0, and is 0 [--encoder-batch-tokens]" in message
    assert "and is 'colour' [--type]" in message
    assert "retriever.top_k: must be more than 0, and is 0 [--set]" in message
    assert "store.size: no such key [--set]" in message


@pytest.mark.parametrize("address", ["http://me:secret@es:9200/reviews", "es:9200/reviews"])
def test_a_servers_address_is_no_folder_whichever_source_names_it(
    tmp_path: Path, address: str
) -> None:
    file = write(tmp_path, f"store: {{path: '{address}'}}")
    for load in (
        lambda: load_settings(file, environ={}),
        lambda: load_settings(overrides={"store.path": address}, environ={}),
        lambda: load_settings(environ={"QA_STORE__PATH": address}),
        lambda: settings_from(None, {}, [f"store.path={address}"]),
    ):
        with pytest.raises(ConfigError, match=r"store\.path: is a server's address") as caught:
            load()
        for key in ("store.type", "store.url", "store.index", "--store"):
            assert key in str(caught.value)
        assert "secret" not in str(caught.value)


def test_pairs_change_single_entries(tmp_path: Path) -> None:
    path = write(tmp_path, "indexing: {columns: {text: body, item_id: asin}, types: {a.b: text}}")
    flags = {"indexing.columns": {"text": "x=y"}, "indexing.types": {"c": "number"}}
    found = settings_from(path, flags).indexing
    assert found.columns == {"text": "x=y", "item_id": "asin"}
    assert found.types == {"a.b": "text", "c": "number"}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("retriever.top_k", 0, "must be more than 0, and is 0"),
        ("retriever.top_k", "many", "must be a whole number, and is 'many'"),
        ("retriever.top_k", 1.5, "must be a whole number, and is 1.5"),
        ("retriever.top_k", None, "must be a whole number, and is None"),
        ("retriever", [1], "must be keys with values, and is a list"),
        ("retriever.mode", 5, "must be a text, and is 5"),
        ("reader.no_answer_threshold", "x", "must be a number, and is 'x'"),
        ("reader.precision", "int7", "must be 'auto', .* or 'int8', and is 'int7'"),
        ("generator.min_support", 2, "must be 1 or less, and is 2"),
        ("generator.options", {1: 2}, "must be a text, and is 1"),
        ("indexing.embed", "maybe", "must be true or false, and is 'maybe'"),
        ("indexing.sources", "a", "must be a list, and is 'a'"),
        ("indexing.columns", {"txt": "a"}, "must be 'review_id', .* and is 'txt'"),
        ("encoder.device", "tpu", "must be of the form .*, and is 'tpu'"),
        ("reader.stride", 300, "stride must be less than half of max_seq_length"),
        ("ranker.type", "cross_encoder", "type cross_encoder needs a model"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(key: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{key.split('.')[0]}(\.\w+)*: {said}") as caught:
        load_settings(None, [Override(tuple(key.split(".")), value, "--set")], environ={})
    for word in ("Value error", "Input should", "got ", "[key]", "{", "instance of"):
        assert word not in str(caught.value)


def floats(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The dotted names of the settings that are numbers with a fraction."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from floats(kind, f"{path}{name}.")
        elif "float" in repr(kind):
            yield f"{path}{name}"


FLOATS = sorted({*floats(Settings), "store.bulk.retry_for", "store.timeout"})


@pytest.mark.parametrize("key", FLOATS)
def test_a_number_that_is_not_finite_is_refused_in_every_section(key: str) -> None:
    assert {"answers.same_stance", "serving.poll_seconds", "reader.temperature"} <= {*FLOATS}
    server = ["store.type=elasticsearch"] if key.startswith("store") else []
    for value in (".inf", "-.inf", ".nan"):
        with pytest.raises(ConfigError, match=rf"{key}: must be ") as caught:
            load_settings(None, [*server, f"{key}={value}"], environ={})
        assert "Input should" not in str(caught.value)


def test_settings_are_changed_by_overrides() -> None:
    given = load_settings(overrides={"retriever.top_k": 7, "store": "there"}, environ={})
    told = changed(given, {"retriever.top_k": 3})
    assert (told.retriever.top_k, told.store.path) == (3, "there")
    with pytest.raises(ConfigError, match=r"retriever\.topk"):
        changed(given, {"retriever.topk": 3})
