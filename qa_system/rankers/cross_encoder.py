"""A cross-encoder as a ranker: Haystack's own component, with our names, errors and threads.

Importing this module imports sentence-transformers.
"""

from __future__ import annotations

import logging
import math
from threading import Lock
from typing import Any

from haystack import Document, component
from haystack.utils import ComponentDevice
from haystack_integrations.components.rankers.sentence_transformers import (
    SentenceTransformersSimilarityRanker,
)
from sentence_transformers import CrossEncoder

from qa_system.arguments import checked
from qa_system.errors import ModelError
from qa_system.models.checkpoints import check_weights, prepare_tokenizer, read_config, reason
from qa_system.models.inference import choose_torch_device
from qa_system.models.locate import ModelLocation, locate
from qa_system.models.positions import positions_of
from qa_system.stages import stage
from qa_system.ties import best_documents

__all__ = ["CrossEncoderRanker", "load_cross_encoder", "open_cross_encoder", "rank_by"]

REMEDY = (
    "Name a folder that `qa train ranker` wrote, or a cross-encoder of the Hub, "
    "such as cross-encoder/ms-marco-MiniLM-L6-v2."
)


@component
@checked
class CrossEncoderRanker(SentenceTransformersSimilarityRanker):  # type: ignore[misc]
    """Order documents by what a cross-encoder makes of question and document read together.

    `SentenceTransformersSimilarityRanker` with four changes: the model is named as everywhere
    here and checked when it is loaded, what is wrong with it is a `ModelError`, and many threads
    may use one component. Equal scores are ordered by a hash of the id. It takes the arguments of
    that class.
    """

    _cross_encoder: CrossEncoder | None
    _running: Lock

    def warm_up(self) -> None:
        """Load the model.

        Raises:
            ModelError: it is missing, damaged, or no cross-encoder with a single score.
        """
        with _loading:
            if self._cross_encoder is None:
                device = self.device.to_torch_str()
                self._cross_encoder = load_cross_encoder(locate(self.model), device)
                self._running = Lock()

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        whole_ties: bool = False,
    ) -> dict[str, list[Document]]:
        """Rank documents.

        Args:
            query: the question.
            documents: in any order; of several with the same id one is kept.
            top_k: takes the place of the component's own.
            whole_ties: also return those beyond `top_k` whose score is that of the last.

        Returns:
            `documents`, best first. `score` is the logit, unless `scale_score` was set.

        Raises:
            ModelError: a score is NaN or infinite.
        """
        self.warm_up()
        # A tokenizer that pads is changed by each call: two at once are an error.
        with stage("rank"), self._running:
            # `component` makes the class anew, which `super()` would not know.
            found: dict[str, list[Document]] = SentenceTransformersSimilarityRanker.run(
                self, query=query, documents=documents, top_k=len(documents) or None
            )
        if not all(math.isfinite(document.score or 0.0) for document in found["documents"]):
            raise ModelError(
                "the ranker computes NaN or infinity",
                where=self.model,
                remedy="Check the ranker's weights, or name another ranker.",
            )
        kept = self.top_k if top_k is None else top_k
        return {"documents": best_documents(found["documents"], kept, whole_ties=whole_ties)}


_loading = Lock()

# Haystack's component hands on an argument that sentence-transformers has given up, and is told
# so for every question.
logging.getLogger("sentence_transformers.util.decorators").setLevel(logging.ERROR)


def rank_by(model: str, *, device: str = "auto", top_k: int) -> CrossEncoderRanker:
    """Build a ranker.

    Args:
        model: a folder that `qa train ranker` wrote, or the Hub id of a cross-encoder.
        device: `cpu`, `cuda`, or `auto`.
        top_k: documents that come out at most.

    Raises:
        ModelError: the device is not there.
    """
    chosen = None
    if device != "auto":
        chosen = ComponentDevice.from_str(str(choose_torch_device(device)))
    return CrossEncoderRanker(model=model, device=chosen, top_k=top_k, scale_score=False)


def load_cross_encoder(location: ModelLocation, device: str) -> CrossEncoder:
    """Load a cross-encoder.

    Args:
        location: the folder, with weights in safetensors.
        device: as torch names it.

    Raises:
        ModelError: it is damaged, or not a cross-encoder with a single score. An encoder without
            a head would be given one of random weights, and rank at random.
    """
    _check(location)
    model, positions = open_cross_encoder(location, device, remedy=REMEDY)
    if positions is not None:
        model.max_seq_length = min(model.max_seq_length or positions, positions)
    return model


def open_cross_encoder(
    location: ModelLocation, device: str, *, remedy: str, new_head: bool = False, **options: Any
) -> tuple[CrossEncoder, int | None]:
    """Load a cross-encoder, or what one is to be made of; a question and a text are read literally.

    Args:
        location: the folder, with weights in safetensors.
        device: as torch names it.
        remedy: what to name instead of a model that cannot be used.
        new_head: whether weights that the checkpoint lacks may be drawn, to be trained.
        options: of `CrossEncoder`.

    Returns:
        The cross-encoder, and the tokens that it can read at once; None: any number.

    Raises:
        ModelError: the checkpoint is damaged, or nothing to make a cross-encoder of.
    """
    model_options = {"use_safetensors": True, **options.pop("model_kwargs", {})}
    try:
        model = CrossEncoder(
            str(location.path),
            device=device,
            local_files_only=True,
            model_kwargs=model_options,
            **options,
        )
    except Exception as error:  # transformers, safetensors and tokenizers share no base
        raise ModelError(
            f"the checkpoint cannot be loaded as a cross-encoder: {reason(error)}",
            where=str(location.path),
            remedy=remedy,
        ) from error
    prepare_tokenizer(model.tokenizer, model.model, where=str(location.path))
    check_weights(model.model, where=str(location.path), remedy=remedy, new_head=new_head)
    return model, positions_of(model.model)


def _check(location: ModelLocation) -> None:
    config = read_config(location)
    architecture = str((config.get("architectures") or ["an unknown task"])[0])
    scores = len(config.get("id2label", ("no", "yes")))  # transformers' default
    if not config:
        raise ModelError(
            f"{location.name!r} has no config.json", where=str(location.path), remedy=REMEDY
        )
    if not architecture.endswith("ForSequenceClassification") or scores != 1:
        raise ModelError(
            f"{location.name!r} is not a cross-encoder with a single score: its config.json says "
            f"{architecture}",
            where=str(location.path),
            remedy=REMEDY,
        )
