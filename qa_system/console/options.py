"""Options that change settings: each carries the key that it sets, and is named after it.

A command names the options that it takes, and is called with the settings that come of them:

    @takes_settings(STORE, *ENCODER)
    def reembed(settings: Settings, as_json: JsonOption = False) -> None:
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, get_type_hints

import typer

from qa_system.config.choices import Backend, Precision
from qa_system.config.shipped import shipped
from qa_system.console.app import flag_of, note, settings_from

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = [
    "ENCODER",
    "ENCODER_IDENTITY",
    "FEEDBACK",
    "KEPT",
    "SENTENCES",
    "STORE",
    "JsonOption",
    "Setting",
    "renamed",
    "takes_settings",
]

Command = Callable[..., None]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="Read settings from this YAML file, or from that of this name: "
        f"{', '.join(shipped('settings'))}.",
    ),
]
ConfigArgument = Annotated[Path | None, typer.Argument(metavar="CONFIG", hidden=True)]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set any setting, for example encoder.threads=2. Repeatable.",
    ),
]


@dataclass(frozen=True, slots=True)
class Setting:
    """An option that sets one key of the settings.

    Args:
        key: for example `encoder.model`, whose option is `--encoder-model`.
        help: what `--help` says about it.
        type: of the value; `list[str]` makes it repeatable.
        formerly: an older spelling, which still works and says what it is called now.
        negative: of a bool, the option for False; None: `--no-` and the option's name.
        short: a letter for it.
        default: what happens without it, where `--help` should say so.
        metavar: what `--help` shows as the value; None: the type.
        panel: the heading in `--help` under which it stands.
        read: makes the setting of what was given; None takes it as it is.
    """

    key: str
    help: str
    type: Any = str
    formerly: str | None = None
    negative: str | None = None
    short: str | None = None
    default: str | None = None
    metavar: str | None = None
    panel: str | None = None
    read: Callable[[Any], Any] | None = None

    @property
    def name(self) -> str:
        """The name of its parameter."""
        return self.key.replace(".", "_")

    @property
    def _former_name(self) -> str:
        return f"{self.name}_formerly"

    def parameters(self) -> list[inspect.Parameter]:
        """Return the parameter that Typer makes the option of, and one for the older spelling."""
        flag = flag_of(self.key)
        shown = typer.Option(
            *self._spelled(flag),
            *([self.short] if self.short else []),
            help=self.help,
            metavar=self.metavar,
            show_default=self.default or False,
            rich_help_panel=self.panel,
        )
        found = [_parameter(self.name, Annotated[self.type | None, shown], None)]
        if self.formerly is not None:
            hidden = typer.Option(*self._spelled(self.formerly), hidden=True)
            found.append(_parameter(self._former_name, Annotated[self.type | None, hidden], None))
        return found

    def taken_from(self, given: dict[str, Any]) -> Any:
        """Take its value out of what Typer gives; None: it was not given."""
        value = given.pop(self.name)
        former = given.pop(self._former_name, None)
        if former is not None:
            note(f"{self.formerly} is now called {flag_of(self.key)}")
        return former if value is None else value

    def setting_of(self, value: Any) -> Any:
        """Return the setting that a value makes; None leaves the setting as it is."""
        return value if value is None or self.read is None else self.read(value)

    def _spelled(self, flag: str) -> list[str]:
        if self.type is not bool:
            return [flag]
        return [f"{flag}/{self.negative or '--no-' + flag.removeprefix('--')}"]


def takes_settings(
    *options: Setting, config_argument: bool = False
) -> Callable[[Callable[Concatenate[Settings, ...], None]], Command]:
    """Let a command be called with settings, and give it the options that they come from.

    A command that has a parameter of an option's name gets what was given there, too.

    Args:
        options: those that it has besides `--config` and `--set`.
        config_argument: accept the configuration as an argument, too, as one version before did.
    """

    def decorate(command: Callable[Concatenate[Settings, ...], None]) -> Command:
        # The settings are imported when a command runs: `--help` answers sooner than that.
        hints = get_type_hints(command, localns={"Settings": Any}, include_extras=True)
        _, *own = inspect.signature(command).parameters.values()
        wanted = {each.name for each in own} & {each.name for each in options}

        @wraps(command)
        def run(**given: Any) -> None:
            config = _configuration(given.pop("config"), given.pop("config_argument", None))
            set_ = given.pop("set_")
            values = {each.name: each.taken_from(given) for each in options}
            flags = {each.key: each.setting_of(values[each.name]) for each in options}
            settings = settings_from(config, flags, set_)
            command(settings, **given, **{name: values[name] for name in wanted})

        parameters = [
            _parameter(each.name, hints[each.name], each.default)
            for each in own
            if each.name not in wanted
        ]
        if config_argument:
            parameters.append(_parameter("config_argument", ConfigArgument, None))
        for each in options:
            parameters += each.parameters()
        parameters += [
            _parameter("config", ConfigOption, None),
            _parameter("set_", SetOption, None),
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {}
        return run

    return decorate


def renamed(command: Command, former: str, now: str) -> Command:
    """Return a command under its former name, which says what it is called now."""

    @wraps(command)
    def run(**given: Any) -> None:
        note(f"{former} is now called {now}")
        command(**given)

    return run


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default
    )


def _configuration(option: Path | None, argument: Path | None) -> Path | None:
    if argument is None:
        return option
    if option is not None:
        raise typer.BadParameter(f"{argument} and --config {option} are two configurations")
    note(f"name the configuration with --config: --config {argument}")
    return argument


FEEDBACK = Setting(
    "serving.feedback",
    "The file in which qa serve keeps what shoppers say of answers.",
    metavar="FILE",
)
KEPT = (
    FEEDBACK,
    Setting(
        "serving.audit.file",
        "The file in which qa serve keeps what answers are made of.",
        metavar="FILE",
    ),
    Setting(
        "serving.asked.file",
        "The file in which qa serve counts what is asked most.",
        metavar="FILE",
    ),
)
"""What a service keeps, apart from the store."""
STORE = Setting(
    "store",
    "Use this store: a folder, or a server's address with its index, for example "
    "http://localhost:9200/reviews. If the settings name a server, the index is enough.",
    panel="Store",
)

ENCODER_IDENTITY = (
    Setting(
        "encoder.model",
        "Embed reviews and questions with this model: bundled:NAME, a folder or a Hub id.",
        formerly="--encoder",
        panel="Encoder",
    ),
    Setting(
        "encoder.question_model",
        "Embed questions with this second model (DPR).",
        formerly="--question-encoder",
        panel="Encoder",
    ),
    Setting(
        "encoder.embed_title",
        "Embed a review's title and text as a pair, as DPR was trained.",
        type=bool,
        default="no-encoder-embed-title",
        panel="Encoder",
    ),
    Setting(
        "encoder.max_seq_length",
        "Read at most this many tokens of a text.",
        type=int,
        formerly="--max-seq-length",
        panel="Encoder",
    ),
)
"""Options that say which encoder it is."""

SENTENCES = Setting(
    "indexing.sentences",
    "Divide reviews into sentences, which are embedded and kept with them, or not.",
    type=bool,
    default="sentences",
    panel="Encoder",
)
ENCODER = (
    *ENCODER_IDENTITY,
    Setting(
        "encoder.backend",
        "Run the model with this library.",
        type=Backend,
        formerly="--backend",
        panel="Encoder",
    ),
    Setting(
        "encoder.precision",
        "Compute with numbers of this precision.",
        type=Precision,
        formerly="--precision",
        panel="Encoder",
    ),
    Setting(
        "encoder.device",
        "Run the model on this device: auto, cpu, cuda, cuda:1 and so on, or mps.",
        formerly="--device",
        panel="Encoder",
    ),
    Setting(
        "encoder.batch_tokens",
        "Put this many tokens, with padding, into one forward pass.",
        type=int,
        formerly="--batch-tokens",
        panel="Encoder",
    ),
    Setting(
        "encoder.threads",
        "Run the model on this many threads.",
        type=int,
        formerly="--threads",
        panel="Encoder",
    ),
)
