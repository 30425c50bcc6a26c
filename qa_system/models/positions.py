"""How many tokens a model can read at once, found out by having it read a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qa_system.errors import ModelError
from qa_system.models.checkpoints import reason

if TYPE_CHECKING:
    import torch

__all__ = ["check_length", "positions_of"]

PROBE_TOKENS = 8


def positions_of(model: Any) -> int | None:
    """Return how many tokens a model can read at once; None: any number.

    It reads a short text, and is watched looking up where the tokens stand: the table's rows from
    the first one on are its positions. A model without such a table says in its config how long
    the texts were that it was trained on, or nothing.

    Args:
        model: one of transformers' models, without a decoder of its own that has to be fed.

    Raises:
        ModelError: it cannot read a text.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    lookups: list[tuple[torch.Tensor, int]] = []

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, _: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if function is torch.nn.functional.embedding:
                lookups.append((args[0], args[1].shape[0]))
            return function(*args, **(kwargs or {}))

    was_training = model.training
    model.eval()
    try:
        config = model.config
        ids = torch.full((1, PROBE_TOKENS), _ordinary_token(config), device=model.device)
        with Watch(), torch.no_grad():
            # A head may want more than a text: Longformer's counts separators.
            model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids))
    except Exception as error:  # whatever a model may raise
        raise ModelError(
            f"the model ({type(model).__name__}) cannot read a text: {reason(error)}",
            remedy="Name a model that reads text.",
        ) from error
    finally:
        model.train(was_training)
    rooms = [
        rows - int(places.flatten()[0])
        for places, rows in lookups
        if places.shape[:-1].numel() == 1
        and places.numel() >= PROBE_TOKENS
        and bool((places.flatten()[:PROBE_TOKENS].diff() == 1).all())
    ]
    if rooms:
        return min(rooms)
    trained = getattr(config, "max_position_embeddings", None)
    return int(trained) if trained is not None and trained > 0 else None


def check_length(name: str, length: int, positions: int | None, where: str) -> None:
    """Refuse texts that are longer than a model has positions.

    Args:
        name: of the setting that says how long they are.
        length: its value, in tokens.
        positions: of the model, as `positions_of` returns them.
        where: the model's folder, for the error.

    Raises:
        ModelError: naming both numbers.

    >>> check_length("max_seq_length", 384, 512, "model")
    """
    if positions is not None and length > positions:
        raise ModelError(
            f"{name} is {length}, and the model has {positions} positions",
            where=where,
            remedy=f"Set {name} to {positions} at most.",
        )


def _ordinary_token(config: Any) -> int:
    """Return the id of a token that means nothing to the model."""
    special: set[int] = set()
    for name in ("pad", "bos", "eos", "cls", "sep", "mask", "decoder_start"):
        value = getattr(config, f"{name}_token_id", None)
        special.update(value if isinstance(value, list) else [] if value is None else [value])
    return next(number for number in range(len(special) + 1) if number not in special)
