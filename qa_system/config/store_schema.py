"""Where reviews live: the settings of either store, and which of them a bare name means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter

from qa_system.config.addresses import is_address, refuse_address, split_address
from qa_system.config.choices import IndexKind, Similarity
from qa_system.errors import ConfigError

__all__ = [
    "AnyStoreSettings",
    "BulkWriteSettings",
    "ElasticsearchSettings",
    "Positive",
    "StoreSettings",
    "Strict",
    "place_store",
]

Positive = Annotated[int, Field(gt=0)]


class Strict(BaseModel):
    """A part of the settings: unknown keys and numbers that are not finite are errors, and nothing
    changes afterwards."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class _PlacedSettings(Strict):
    """What every store says of itself, so that nobody asks which one it is."""

    is_server: ClassVar[bool]
    """Whether it is reached over a network; a job that waits for it may be interrupted."""
    has_versions: ClassVar[bool]
    """Whether it can be rebuilt beside what is read, and rolled back."""
    rows_at_once: ClassVar[int]
    """Reviews between two checkpoints of a job, unless `indexing.batch_size` says otherwise."""

    def named(self, name: str) -> AnyStoreSettings:
        """Return the settings of another store, which a name means as in `--store`.

        >>> StoreSettings(path="here").named("http://localhost:9200/reviews").place
        'http://localhost:9200/reviews'
        """
        settings: AnyStoreSettings = TypeAdapter(AnyStoreSettings).validate_python(
            place_store(self.model_dump(exclude_unset=True), name)
        )
        return settings


class StoreSettings(_PlacedSettings):
    """Where the reviews live: in a folder of this machine."""

    is_server: ClassVar[bool] = False
    has_versions: ClassVar[bool] = False
    rows_at_once: ClassVar[int] = 512

    type: Literal["faiss"] = "faiss"
    path: Annotated[str, AfterValidator(refuse_address)] = "qa-store"
    similarity: Similarity | None = None
    """None: the one that the encoder was trained with."""
    index: IndexKind = "auto"
    gpu: bool = False
    group: str | None = None
    """The group of users that a new store is shared with; None: it is its owner's alone."""

    @property
    def place(self) -> str:
        """Where it is, in one word."""
        return self.path

    @property
    def unique_place(self) -> str:
        """A name that no other store has."""
        return str(Path(self.path).absolute())

    @property
    def jobs(self) -> Path:
        """The folder of its jobs' checkpoints."""
        return Path(self.path) / "jobs"

    def in_folder(self, path: str) -> StoreSettings:
        """Return the settings of a store like this one, in a folder."""
        return self.model_copy(update={"path": path})


class BulkWriteSettings(Strict):
    """How much is written to a server at a time."""

    chunk_documents: Positive = 500
    chunk_bytes: Positive = 4_000_000
    workers: Positive = 2
    retry_for: Annotated[float, Field(ge=0)] = 300.0
    """Seconds for which a server that does not take a write is waited for."""


class ElasticsearchSettings(_PlacedSettings):
    """Where the reviews live: on an Elasticsearch server."""

    is_server: ClassVar[bool] = True
    has_versions: ClassVar[bool] = True
    rows_at_once: ClassVar[int] = 2048
    """So many that several requests are on their way."""

    type: Literal["elasticsearch"]
    url: str = "http://localhost:9200"
    """Of a cluster: several, separated by commas."""
    index: str = "reviews"
    similarity: Similarity | None = None
    """None: the one that the encoder was trained with."""
    index_options: Literal["flat", "hnsw", "int8_hnsw"] = "flat"
    shards: Positive = 1
    replicas: Annotated[int, Field(ge=0)] = 1
    refresh_interval: str = "1s"
    api_key_env: str | None = None
    """Secrets are never settings: these are names of environment variables."""
    username_env: str | None = None
    password_env: str | None = None
    ca_certs_env: str | None = None
    verify_certs: bool = True
    timeout: Annotated[float, Field(gt=0)] = 30.0
    bulk: BulkWriteSettings = BulkWriteSettings()

    @property
    def place(self) -> str:
        """Where it is, in one word."""
        return f"{self.url}/{self.index}"

    @property
    def gpu(self) -> bool:
        """Whether this machine's GPU searches it."""
        return False

    @property
    def unique_place(self) -> str:
        """A name that no other store has."""
        return self.place

    @property
    def jobs(self) -> Path:
        """The folder of its jobs' checkpoints: a server keeps no files of ours."""
        address = urlsplit(self.url.split(",")[0].strip())
        port = "" if address.port is None else f"-{address.port}"
        return Path(".qa-index") / f"{address.hostname}{port}-{self.index}"

    def in_folder(self, path: str) -> StoreSettings:
        """Return the settings of an embedded store, as much like this one as can be."""
        return StoreSettings(path=path, similarity=self.similarity)


def _store_type(value: Any) -> str:
    """Tell which store is meant; the embedded one, where nothing says."""
    if isinstance(value, Mapping):
        return str(value.get("type", "faiss"))
    return str(getattr(value, "type", "faiss"))


AnyStoreSettings = Annotated[
    Annotated[StoreSettings, Tag("faiss")] | Annotated[ElasticsearchSettings, Tag("elasticsearch")],
    Discriminator(_store_type),
]


def place_store(section: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a store's settings for another place, without those that only its old type has.

    Args:
        section: as it was; its type says whether a bare name is a folder or an index.
        name: a folder; an index; or an address with the index.
    """
    if not name.strip():
        raise ConfigError("the store's name is empty", remedy="Name a folder or an address.")
    former = section.get("type", "faiss")
    if is_address(name):
        url, index = split_address(name)
        place = {"type": "elasticsearch", "url": url, "index": index}
    elif former == "elasticsearch" and Path(name).name == name:
        place = {"type": former, "index": name}
    else:
        place = {"type": "faiss" if former == "elasticsearch" else former, "path": name}
    if place["type"] != former:
        model = ElasticsearchSettings if former == "elasticsearch" else StoreSettings
        dropped = model.model_fields.keys() - {"similarity"}
        section = {key: value for key, value in section.items() if key not in dropped}
    return {**section, **place}
