"""Every option that changes a setting, found by looking at the programs themselves."""

from importlib import import_module
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel
from typer.main import get_command
from typer.testing import CliRunner

import qa_system.console.options
from qa_system.config import (
    AskedSettings,
    AuditSettings,
    EncoderSettings,
    GeneratorSettings,
    IndexingSettings,
    PassageSettings,
    RankerSettings,
    ReaderSettings,
    RetrieverSettings,
    ServingSettings,
    Settings,
    StoreSettings,
)
from qa_system.console.app import flag_of
from qa_system.errors import ConfigError

PROGRAMS = ("qa_system.cli", "indexing.cli", "eval.cli")
SECTIONS: dict[str, type[BaseModel]] = {
    "store": StoreSettings,
    "encoder": EncoderSettings,
    "retriever": RetrieverSettings,
    "ranker": RankerSettings,
    "reader": ReaderSettings,
    "generator": GeneratorSettings,
    "indexing": IndexingSettings,
    "indexing.passages": PassageSettings,
    "serving": ServingSettings,
    "serving.asked": AskedSettings,
    "serving.audit": AuditSettings,
}
TYPES = {
    f"{section}.{key}": field.annotation
    for section, model in SECTIONS.items()
    for key, field in model.model_fields.items()
}
TYPES["store"] = str
FLAGS = {flag_of(key): key for key in TYPES}
TEXTS = ("010", "2024", "no", "1e3", "null", "[x]", "{a: 1}", " a b ", "x=y", "http://es:9200/r")
RENAMED = {
    "--encoder": "encoder.model",
    "--question-encoder": "encoder.question_model",
    "--backend": "encoder.backend",
    "--precision": "encoder.precision",
    "--device": "encoder.device",
    "--max-seq-length": "encoder.max_seq_length",
    "--batch-tokens": "encoder.batch_tokens",
    "--threads": "encoder.threads",
    "--index": "store.index",
    "--similarity": "store.similarity",
    "--gpu": "store.gpu",
}
EVAL_RENAMED = {
    ("retriever", "--retriever"): "retriever.mode",
    ("reader", "--reader"): "reader.model",
    ("reader", "--precision"): "reader.precision",
    ("calibrate", "--reader"): "reader.model",
    ("explore", "--reader"): "reader.model",
    ("pipeline", "--precision"): "reader.precision",
    ("generator", "--generator"): "generator.model",
    ("generator", "--documents"): "generator.documents",
}


def commands(command: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every command of a group by its words."""
    if not hasattr(command, "commands"):
        return {path: command}
    found = {}
    for name, below in command.commands.items():
        found |= commands(below, (*path, name))
    return found


ALL = [
    (program, path, command)
    for program in PROGRAMS
    for path, command in commands(get_command(import_module(program).app)).items()
]
NO_SETTINGS = {
    (("digest",), "--item"),
    # A file of questions.
    (("questions",), "--asked"),
    # The page is for this machine, wherever the settings let `qa serve` listen.
    (("annotate",), "--host"),
    (("annotate",), "--port"),
}
OPTIONS = [
    pytest.param(program, path, option, FLAGS[option.opts[0]], id=f"{' '.join(path)} {flag}")
    for program, path, command in ALL
    for option in command.params
    for flag in option.opts[:1]
    if flag in FLAGS
    and not option.hidden
    # `--item` of `qa ask` and `qa-index digest` is no setting.
    and (program == "indexing.cli" or not FLAGS[flag].startswith("indexing."))
    and (path, flag) not in NO_SETTINGS
]


def kind(key: str) -> Any:
    """The type of a setting, without its limits and the None that says it was not set."""
    of = TYPES[key]
    if get_origin(of) in (Union, UnionType):
        of = next(each for each in get_args(of) if each is not type(None))
    return get_args(of)[0] if get_origin(of) is Annotated else of


def is_text(key: str) -> bool:
    return kind(key) is str and not key.endswith((".device", ".encoding"))


def choices(key: str) -> tuple[str, ...]:
    return get_args(kind(key)) if get_origin(kind(key)) is Literal else ()


class Program:
    """Runs a program's commands up to the settings that they come to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings: Settings | None = None
        made = qa_system.console.options.settings_from

        def keep(*given: Any) -> Settings:
            self.settings = made(*given)
            raise SystemExit(0)

        monkeypatch.setattr(qa_system.console.options, "settings_from", keep)

    def run(self, program: str, path: tuple[str, ...], *arguments: str) -> Any:
        self.settings = None
        app = import_module(program).app
        needed = {
            ("qa_system.cli", "ask"): ["Good?"],
            ("qa_system.cli", "attributes"): ["sample", "--out", "values.csv"],
            ("qa_system.cli", "digest"): ["lamp"],
            ("qa_system.cli", "embed"): ["--out", "texts.npy"],
            ("qa_system.cli", "questions"): ["store:", "--out", "labels.jsonl"],
            ("qa_system.cli", "train", "nearest"): ["--out", "labels"],
            ("indexing.cli", "digest"): ["--all"],
            ("indexing.cli", "forget"): ["nobody"],
            ("eval.cli", "labels"): ["bundled:sample"],
            ("eval.cli", "improve"): ["--models", "models"],
        }.get((program, *path), [])
        done = CliRunner().invoke(app, [*path, *needed, *arguments])
        if isinstance(done.exception, ConfigError):
            raise done.exception
        return done

    def value(self, key: str) -> Any:
        assert self.settings is not None
        if key == "store":
            return self.settings.store.place
        found: Any = self.settings
        for part in key.split("."):
            found = getattr(found, part)
        return found


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    return Program(monkeypatch)


def texts_of(key: str) -> tuple[str, ...]:
    """Words for an option, two different ones, that the setting accepts."""
    if key == "indexing.columns":
        return ("text=one", "text=two")
    if key == "indexing.types":
        return ("a=text", "a=number")
    if key.endswith(".device"):
        return ("cpu", "cuda:1")
    if key == "indexing.encoding":
        return ("utf-8", "cp1252")
    return choices(key)[:2] or ("256", "257")


def setting(key: str, text: str) -> str:
    """What `--set` needs in order to say the same as an option."""
    if key == "store":
        return f"store.path='{text}'"
    if key == "indexing.sources":
        return f"{key}=['{text}']"
    if key in ("indexing.columns", "indexing.types"):
        return f"{key}.{text}"
    return f"{key}='{text}'" if is_text(key) else f"{key}={text}"


def expected(key: str, text: str) -> Any:
    if key == "indexing.sources":
        return (text,)
    if key in ("indexing.columns", "indexing.types"):
        name, _, value = text.partition("=")
        return {name: value}
    return int(text) if kind(key) is int else text


def test_the_programs_have_such_options() -> None:
    found = {parameters.values[3] for parameters in OPTIONS}
    assert {"store", "encoder.model", "indexing.sources", "indexing.passages.max_words"} <= found


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    ("name", "path", "option", "key"),
    [each for each in OPTIONS if is_text(each.values[3]) or each.values[3] == "indexing.sources"],
)
def test_a_text_stays_that_text(
    program: Program, name: str, path: tuple[str, ...], option: Any, key: str, text: str
) -> None:
    assert program.run(name, path, option.opts[0], text).exit_code == 0
    assert program.value(key) == expected(key, text)


@pytest.mark.parametrize(("name", "path", "option", "key"), OPTIONS)
def test_set_beats_the_flag_and_the_flag_the_environment(
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    path: tuple[str, ...],
    option: Any,
    key: str,
) -> None:
    variable = "QA_" + ("store.path" if key == "store" else key).upper().replace(".", "__")
    if kind(key) is bool:
        for flag, wanted, other in (
            (option.opts[0], True, "false"),
            (option.secondary_opts[0], False, "true"),
        ):
            monkeypatch.setenv(variable, other)
            assert program.run(name, path, flag).exit_code == 0
            assert program.value(key) is wanted
            assert program.run(name, path, flag, "--set", f"{key}={other}").exit_code == 0
            assert program.value(key) is not wanted
        return
    one, two = texts_of(key)
    if key not in ("indexing.columns", "indexing.types"):
        monkeypatch.setenv(variable, setting(key, two).partition("=")[2])
        assert program.run(name, path).exit_code == 0
        assert program.value(key) == expected(key, two)
    assert program.run(name, path, option.opts[0], one).exit_code == 0
    assert program.value(key) == expected(key, one)
    assert program.run(name, path, "--set", setting(key, two), option.opts[0], one).exit_code == 0
    assert program.value(key) == expected(key, two)


@pytest.mark.parametrize(
    ("name", "path", "option", "key"), [each for each in OPTIONS if choices(each.values[3])]
)
def test_choices_are_the_settings_own(
    program: Program, name: str, path: tuple[str, ...], option: Any, key: str
) -> None:
    done = CliRunner().invoke(
        import_module(name).app, [*path, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}
    )
    assert f"<{'|'.join(choices(key))}>" in done.output
    done = program.run(name, path, option.opts[0], "psychic")
    assert done.exit_code == 2
    assert option.opts[0] in done.stderr
    assert program.settings is None


@pytest.mark.parametrize("path", [("run",), ("reembed",)])
@pytest.mark.parametrize(("former", "key"), RENAMED.items())
def test_a_former_spelling_works_and_says_what_it_is_called_now(
    program: Program, path: tuple[str, ...], former: str, key: str
) -> None:
    if path == ("reembed",) and key.startswith("store."):
        assert program.run("indexing.cli", path, former, "flat").exit_code == 2
        return
    values: tuple[str, ...] = () if kind(key) is bool else texts_of(key)[:1]
    done = program.run("indexing.cli", path, former, *values)
    assert done.exit_code == 0
    assert done.stdout == ""
    assert done.stderr == f"note: {former} is now called {flag_of(key)}\n"
    assert program.value(key) == (expected(key, values[0]) if values else True)
    shown = CliRunner().invoke(import_module("indexing.cli").app, [*path, "--help"]).output
    assert f" {former} " not in shown


@pytest.mark.parametrize(("words", "key"), EVAL_RENAMED.items())
def test_a_former_spelling_of_qa_eval_works(
    program: Program, words: tuple[str, str], key: str
) -> None:
    [command, former], [value, _] = words, texts_of(key)
    done = program.run("eval.cli", (command,), former, value)
    assert done.exit_code == 0
    assert done.stderr == f"note: {former} is now called {flag_of(key)}\n"
    assert program.value(key) == expected(key, value)


def test_all_retrievers_leave_the_setting_as_it_is(program: Program) -> None:
    program.run("eval.cli", ("retriever",), "--retriever-mode", "all")
    assert program.value("retriever.mode") == "hybrid"


def test_a_new_spelling_beats_a_former_one(program: Program) -> None:
    program.run("indexing.cli", ("run",), "--encoder-model", "new", "--encoder", "old")
    assert program.value("encoder.model") == "new"


def test_commands_that_read_settings_take_store_config_and_set() -> None:
    found = {
        (name, *path): {spelling for each in command.params for spelling in each.opts}
        for name, path, command in ALL
    }
    for words in [
        *(("qa_system.cli", each) for each in ("ask", "doctor")),
        *(
            ("indexing.cli", each)
            for each in ("run", "rollback", "status", "verify", "reembed", "embed")
        ),
        *(("eval.cli", each) for each in ("retriever", "pipeline", "generator", "labels")),
    ]:
        assert {"--store", "--config", "-c", "--set", "--json"} <= found[words], words
