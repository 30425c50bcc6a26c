"""Encoder -> static vectors: one for each token of its vocabulary, read without a network.

As model2vec does it (Tulkens and van Dongen, 2024, https://github.com/MinishLab/model2vec): each
token is encoded by itself, the vectors are reduced to their principal components, and each is
weighted by how rare its token is (SIF: Arora et al., 2017,
https://openreview.net/forum?id=SyK00v5xx). Vocabularies are sorted by frequency, more or less: a
token's place stands for it, by Zipf's law.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from qa_system.config import EncoderSettings
from qa_system.config.choices import Precision
from qa_system.errors import ConfigError, ModelError
from qa_system.export.folders import check_free, put_in_place
from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import CONFIG, STATIC, is_export, locate, named, weights_sha256
from qa_system.models.static import WEIGHTS
from qa_system.retrievers.encoders import Tower, load_tower

__all__ = ["DIMENSIONS", "distill_static"]

DIMENSIONS: Final = 256
SIF: Final = 1e-4
"""The constant a in the weight a / (a + p) of a token of frequency p."""
FILES: Final = (WEIGHTS, "tokenizer.json", "modules.json", CONFIG)
"""What static vectors are, in the order in which its files are put in place."""
UNUSED: Final = re.compile(r"\[unused\d+\]")
"""Tokens that BERT's vocabulary keeps free."""
MODULES: Final = [
    {"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"},
    {
        "idx": 1,
        "name": "1",
        "path": "1_Normalize",
        "type": "sentence_transformers.models.Normalize",
    },
]
"""By which sentence-transformers loads the folder."""


def distill_static(
    source: str | Path, out: str | Path, *, dimensions: int = DIMENSIONS
) -> dict[str, Any]:
    """Make static vectors of an encoder.

    Args:
        source: an encoder that reads questions and passages alike: bundled, a folder or a Hub id.
        out: the folder to write; what else it holds (a model card) is left alone.
        dimensions: of the vectors, at most those of the encoder's.

    Returns:
        The `config.json` that was written.

    Raises:
        ConfigError: there are fewer dimensions, or the folder holds files of those names that are
            no static vectors.
        ModelError: the source is no such encoder, or has static vectors itself.
        MissingDependencyError: it needs a package that is not installed.
    """
    check_free(Path(out), FILES, is_export)
    tower = _tower(str(source))
    if not 1 <= dimensions <= tower.dimension:
        raise ConfigError(
            f"the vectors of {str(source)!r} have {tower.dimension} dimensions, and {dimensions} "
            "were asked for",
            where="--dimensions",
            remedy=f"Ask for 1 to {tower.dimension}.",
        )
    ids = _ordinary(tower)
    vectors = principal_components(_encoded(tower, ids), dimensions)
    vectors *= sif_weights(len(ids))[:, None]
    table = np.zeros((ids[-1] + 1, dimensions), dtype=np.float16)
    table[ids] = vectors / np.abs(vectors).max()  # fp16 has few digits of what is near 0
    config = _config_of(tower, dimensions)
    tokenizer = load_tokenizer(tower.location.path)

    def write(folder: Path) -> None:
        from safetensors.numpy import save

        (folder / WEIGHTS).write_bytes(save({"embeddings": table}))
        tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        for name, said in (("modules.json", MODULES), (CONFIG, config)):
            (folder / name).write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2) + b"\n")

    put_in_place(Path(out), FILES, write)
    return config


def _tower(name: str) -> Tower:
    precision: Precision = "fp32" if locate(name).format == "torch" else "auto"
    tower = load_tower(name, EncoderSettings(model=name, precision=precision), "passage")
    made = tower.location.format == "static"
    if made or tower.role != "both":
        raise ModelError(
            f"{name!r} has static vectors already"
            if made
            else f"{name!r} encodes {tower.role}s only",
            where=str(tower.location.path),
            remedy="Name an encoder of questions and passages, for example bundled:encoder.",
        )
    return tower


def _config_of(tower: Tower, dimensions: int) -> dict[str, Any]:
    source = named(tower.location)
    return {
        "model_type": STATIC,
        "architectures": ["StaticModel"],
        "hidden_dim": dimensions,
        "normalize": True,
        "apply_pca": dimensions,
        "apply_zipf": True,
        "sif_coefficient": SIF,
        "tokenizer_name": source,
        "made_with": {
            "command": f"qa export {source} --static --dimensions {dimensions}",
            "source": source,
            "source_sha256": weights_sha256(tower.location),
        },
    }


def principal_components(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return vectors as their coordinates along the directions in which they vary most.

    Args:
        vectors: shape (n, dimension).
        count: of the directions.

    Returns:
        Shape (n, count); the mean of the vectors is at the origin. The largest entry of each
        direction is positive, so that the same vectors give the same coordinates.

    >>> principal_components(np.array([[1, 5], [3, 5], [5, 5]], dtype=np.float32), 1).tolist()
    [[-2.0], [0.0], [2.0]]
    """
    centred = vectors - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    directions = directions[:, ::-1][:, :count]
    largest = np.abs(directions).argmax(axis=0)
    directions *= np.sign(directions[largest, np.arange(count)])
    coordinates: NDArray[np.float32] = (centred @ directions).astype(np.float32)
    return coordinates


def sif_weights(count: int) -> NDArray[np.float32]:
    """Return the weights of tokens that are sorted by frequency, the most frequent first.

    Args:
        count: of the tokens.

    Returns:
        Shape (count,), from almost 0 to almost 1: a / (a + p), where p is in proportion to one by
        the rank, as Zipf's law says, and a is 1e-4.

    >>> [f"{weight:.6f}" for weight in sif_weights(3)]
    ['0.000183', '0.000367', '0.000550']
    """
    shares = 1 / np.arange(1, count + 1)
    weights: NDArray[np.float32] = (SIF / (SIF + shares / shares.sum())).astype(np.float32)
    return weights


def _ordinary(tower: Tower) -> list[int]:
    """Return the tokens that a text can have, sorted."""
    tokenizer = tower.tokenizer
    special = {
        number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special
    }
    known = {
        number for token, number in tokenizer.get_vocab().items() if not UNUSED.fullmatch(token)
    }
    return sorted(known - special - set(tokenizer.encode("").ids))


def _encoded(tower: Tower, ids: Sequence[int]) -> NDArray[np.float32]:
    """Encode each token as if it were a text."""
    around = tower.tokenizer.encode("a").special_tokens_mask
    specials = tower.tokenizer.encode("a").ids
    before = len(list(takewhile(bool, around)))
    after = len(list(takewhile(bool, reversed(around))))
    rows = np.array(
        [[*specials[:before], number, *specials[len(specials) - after :]] for number in ids],
        dtype=np.int64,
    )
    vectors = np.empty((len(ids), tower.dimension), dtype=np.float32)
    at_once = max(tower.batch_tokens // rows.shape[1], 1)
    for start in range(0, len(rows), at_once):
        batch = rows[start : start + at_once]
        vectors[start : start + at_once] = tower.forward(batch, np.ones_like(batch))
    return vectors
