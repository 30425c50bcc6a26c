"""Checkpoints of transformers: one way to load them, and what is found out by running them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from qa_system.errors import MissingDependencyError, ModelError
from qa_system.models.locate import CONFIG, ModelLocation
from qa_system.models.tokenizing import check_vocabulary, take_literally

if TYPE_CHECKING:
    import torch

__all__ = [
    "check_weights",
    "has_token_types",
    "load_config",
    "load_model",
    "load_part",
    "pad_id_of",
    "prepare_tokenizer",
    "read_config",
    "reason",
    "saved_names",
    "tensors_of",
]

LONGEST_REASON = 300
NUMBERS = re.compile(r"(?<=\.)\d+(?=\.)")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def reason(error: Exception) -> str:
    """Return what an exception of another library says, without the pages that may follow.

    >>> reason(ValueError("Unrecognized configuration class.\\nOne of Albert, Bart..."))
    'Unrecognized configuration class.'
    >>> reason(KeyError("text"))
    "KeyError: 'text'"
    """
    said = COLOURS.sub("", str(error)).strip()
    if isinstance(error, KeyError) or not said:
        said = f"{type(error).__name__}: {said}"
    first = said.splitlines()[0].strip()
    return first if len(first) <= LONGEST_REASON else f"{first[:LONGEST_REASON]}..."


def read_config(location: ModelLocation) -> dict[str, Any]:
    """Read a checkpoint's config.json; one that has none at its top has an empty one.

    Raises:
        ModelError: it is not a JSON object.
    """
    path = location.path / CONFIG
    try:
        config = orjson.loads(path.read_bytes())
        if not isinstance(config, dict):
            raise ValueError(f"it is a {type(config).__name__}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the checkpoint's config is not JSON that can be read: {error}",
            where=str(path),
            remedy="Download or save the checkpoint again.",
        ) from error
    return config


def load_config(location: ModelLocation, *, purpose: str, remedy: str) -> Any:
    """Load a checkpoint's config, as transformers has it; see `load_model`.

    Raises:
        MissingDependencyError: transformers is not installed.
        ModelError: the config is damaged, or of a kind that transformers does not know.
    """
    transformers = _transformers(location)
    try:
        return transformers.AutoConfig.from_pretrained(
            location.path, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # what a damaged config.json raises shares no base
        raise _unloadable(location, error, purpose, remedy) from error


def load_model(
    location: ModelLocation,
    kind: str,
    *,
    purpose: str,
    remedy: str,
    new_head: bool = False,
    **options: Any,
) -> Any:
    """Load a model, ready to infer.

    Args:
        location: the folder, with weights in safetensors.
        kind: the class of transformers that loads it, such as `AutoModelForQuestionAnswering`.
        purpose: what for, in messages.
        remedy: what to name instead of a model that cannot be used.
        new_head: whether weights that the checkpoint lacks may be drawn, to be trained; never
            most of them.
        options: of `from_pretrained`.

    Raises:
        MissingDependencyError: transformers is not installed.
        ModelError: the checkpoint is damaged, of another kind, or lacks weights.
    """
    transformers = _transformers(location)

    def load() -> tuple[Any, Any]:
        return getattr(transformers, kind).from_pretrained(  # type: ignore[no-any-return]
            location.path,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            # The head of another task may have the same name, and another size.
            ignore_mismatched_sizes=new_head,
            **options,
        )

    return _whole(location, load, purpose, remedy, new_head=new_head)


def load_part(
    location: ModelLocation,
    kind: str,
    config: Any,
    inside: str,
    *,
    purpose: str,
    remedy: str,
    unused: str = "",
    **options: Any,
) -> Any:
    """Load a model that is a part of a larger checkpoint, ready to infer.

    Args:
        location: the folder of the whole.
        kind: the class of transformers that the part has.
        config: of the part.
        inside: the part's name in the names of its weights, as in `rag.generator.model...`.
        purpose: what for, in messages.
        remedy: what to name instead of a model that cannot be used.
        unused: how names of weights begin that may be drawn, because nothing is read from them.
        options: of `from_pretrained`.

    Raises:
        MissingDependencyError: transformers is not installed.
        ModelError: the checkpoint is damaged, or lacks weights of the part.
    """
    transformers = _transformers(location)

    def load() -> tuple[Any, Any]:
        if not (weights := tensors_of(location, inside)):
            raise OSError(f"no file in safetensors holds weights named {inside}.*")
        return getattr(transformers, kind).from_pretrained(  # type: ignore[no-any-return]
            None, config=config, state_dict=weights, output_loading_info=True, **options
        )

    return _whole(location, load, purpose, remedy, unused=unused)


def _whole(
    location: ModelLocation,
    load: Callable[[], tuple[Any, Any]],
    purpose: str,
    remedy: str,
    *,
    new_head: bool = False,
    unused: str = "",
) -> Any:
    try:
        model, report = load()
    except Exception as error:  # transformers, safetensors and torch share no base
        raise _unloadable(location, error, purpose, remedy) from error
    where = str(location.path)
    _refuse_missing(report, model, where, remedy, new_head=new_head, unused=unused)
    _refuse_unused_layers(report["unexpected_keys"], model, where=where)
    return model.eval()


def _refuse_unused_layers(names: Iterable[str], model: Any, *, where: str) -> None:
    """Refuse a checkpoint with more layers than its config says: the model would lack them.

    A weight of such a layer has the name of a weight of the model, but for the layer's number. The
    weights of another task's head or pooler do not.

    Args:
        names: of the checkpoint's weights, or of those that the model has not taken; each may be
            inside a larger model's name, as in `bert.encoder.layer.1...`.
        model: one of transformers'.
        where: the model's folder, for the error.

    Raises:
        ModelError: naming weights of the layers.
    """
    taken = set(model.state_dict())
    layers = {NUMBERS.sub("N", name) for name in taken if NUMBERS.search(name)}
    unused = sorted(
        name
        for name in names
        if not taken.intersection(_endings(name))
        and any(NUMBERS.sub("N", ending) in layers for ending in _endings(name))
    )
    if unused:
        raise ModelError(
            "the checkpoint has weights of layers that its config does not use, such as "
            f"{', '.join(unused[:3])}",
            where=where,
            remedy="Set the number of layers in the checkpoint's config.json to that of its "
            "weights, or save it again without these layers.",
        )


def check_weights(
    model: Any, *, where: str, remedy: str, new_head: bool = False, unused: str = ""
) -> None:
    """Refuse a model that another library has loaded, if its weights are not the checkpoint's.

    Either some were drawn at random, or the checkpoint has more layers. If the first and the last
    row of each matrix are in the files, none was drawn. Otherwise transformers, which may rename
    weights, is asked what it lacks.

    Args:
        model: one of transformers', loaded from a folder.
        where: the folder, for the error.
        remedy: what to name instead.
        new_head: as in `load_model`.
        unused: as in `load_part`.

    Raises:
        ModelError: naming weights that the checkpoint lacks, or weights of layers that the model
            lacks.
    """
    if not _has_files_matrices(model, unused):
        _, report = type(model).from_pretrained(
            model.name_or_path,
            config=model.config,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        _refuse_missing(report, model, where, remedy, new_head=new_head, unused=unused)
    _refuse_unused_layers(saved_names(model), model, where=where)


def _refuse_missing(
    report: Any, model: Any, where: str, remedy: str, *, new_head: bool, unused: str
) -> None:
    lacking = [*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])]
    missing = sorted(name for name in lacking if not unused or not name.startswith(unused))
    if missing and not (new_head and 2 * len(missing) < len(model.state_dict())):
        raise ModelError(
            f"the checkpoint has no weights for {', '.join(missing[:3])}",
            where=where,
            remedy=remedy,
        )


def _has_files_matrices(model: Any, unused: str) -> bool:
    from safetensors import safe_open

    wanted = {
        name: value
        for name, value in model.named_parameters()
        if value.dim() > 1 and not (unused and name.startswith(unused))
    }
    for path in _weights_of(model):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (it is no mapping)
                # A weight's name in a larger model ends with its name in this one.
                for ending in wanted.keys() & {*_endings(name)}:
                    if _is_of(file.get_slice(name), wanted[ending]):
                        del wanted[ending]
    return not wanted


def _is_of(saved: Any, loaded: torch.Tensor) -> bool:
    """Tell whether a matrix is one in a file, by its first and its last row."""
    import torch

    if saved.get_shape() != [*loaded.shape]:
        return False
    rows = len(loaded)
    return all(
        torch.equal(saved[at : at + 1].to(loaded), loaded[at : at + 1]) for at in (0, rows - 1)
    )


def _weights_of(model: Any) -> list[Path]:
    """Return the files of weights in the folder that a model of transformers was loaded from."""
    return sorted(Path(model.name_or_path).glob("*.safetensors"))


def saved_names(model: Any) -> list[str]:
    """Return the names of the weights in these files."""
    from safetensors import safe_open

    names: list[str] = []
    for path in _weights_of(model):
        with safe_open(path, framework="pt") as file:
            names += file.keys()
    return names


def _endings(name: str) -> list[str]:
    """Return a weight's names inside each model that it may be a part of, the whole name first."""
    parts = name.split(".")
    return [".".join(parts[at:]) for at in range(len(parts))]


def _unloadable(location: ModelLocation, error: Exception, purpose: str, remedy: str) -> ModelError:
    return ModelError(
        f"the checkpoint cannot be loaded for {purpose}: {reason(error)}",
        where=str(location.path),
        remedy=remedy,
    )


def tensors_of(location: ModelLocation, inside: str) -> dict[str, torch.Tensor]:
    """Read the weights of a part of a checkpoint; see `load_part`."""
    from safetensors import safe_open

    found: dict[str, torch.Tensor] = {}
    for path in sorted(location.path.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (it is no mapping)
                _, is_inside, own = f".{name}".partition(f".{inside}.")
                if is_inside:
                    found[own] = file.get_tensor(name)
    return found


def prepare_tokenizer(tokenizer: Any, model: Any, *, where: str) -> None:
    """Make a tokenizer of transformers read special tokens in a text as letters, and able to pad.

    See `qa_system.models.tokenizing.take_literally`.

    Args:
        tokenizer: it is changed.
        model: one of transformers', whose config says what rows are filled with if the tokenizer
            does not.
        where: the model's folder, for the error.

    Raises:
        ModelError: the tokenizer has more tokens than the model has embeddings.
    """
    tokenizer.split_special_tokens = True
    if (backend := getattr(tokenizer, "backend_tokenizer", None)) is not None:
        take_literally(backend)
        check_vocabulary(backend, model, where)
    if (
        tokenizer.pad_token is None
        and (number := getattr(model.config, "pad_token_id", None)) is not None
    ):
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(number)


def has_token_types(config: Any) -> bool:
    """Tell whether a checkpoint distinguishes the question's tokens from the review's."""
    return getattr(config, "type_vocab_size", 0) > 1


def pad_id_of(config: Any) -> int:
    """Return the id that a checkpoint's short rows are filled with; 0 where it has none."""
    return int(getattr(config, "pad_token_id", None) or 0)


def _transformers(location: ModelLocation) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingDependencyError(
            f"the checkpoint {location.name!r} needs transformers, which is not installed",
            remedy="Install it: pip install 'qa-system[torch]'.",
        ) from error
    return transformers
