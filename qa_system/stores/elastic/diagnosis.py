"""What is wrong with an Elasticsearch server, seen from outside: one finding for each thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from qa_system.config import ElasticsearchSettings
from qa_system.console.wording import counted
from qa_system.errors import QASystemError, StoreMismatchError
from qa_system.records import Finding
from qa_system.stores.elastic.connection import Connection, Credentials, explained
from qa_system.stores.elastic.versions.aliases import base_of, live, number_of

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

__all__ = ["diagnose"]

PATIENCE: Final = 5.0
"""Seconds for one answer: who asks what is wrong does not want to wait for it."""
MASTER_PATIENCE: Final = "2s"
WATERMARKS: Final = (
    ("flood stage", "flood_stage_free_space_in_bytes", "its indexes take no more writes"),
    ("high watermark", "high_watermark_free_space_in_bytes", "shards are moved away from it"),
    ("low watermark", "low_watermark_free_space_in_bytes", "it is given no more copies of shards"),
)
"""Of a disk, the worst first: name, the bytes that must be free, what the server does otherwise."""
BLOCK: Final = "index.blocks."
CLUSTER_BLOCK: Final = "cluster.blocks."


def diagnose(settings: ElasticsearchSettings) -> Iterator[Finding]:
    """Look at each address, and through the first that answers at cluster, disks and index.

    Nothing is written. A finding that is not ok and `required` keeps the store from working.

    Args:
        settings: of the store; a request waits five seconds at most, whatever `timeout` says.

    Returns:
        Findings named `server`, one for each address; then, if one of them answers, `cluster`,
        `disk` and `index`.

    Raises:
        ConfigError: an address is none.
    """
    connections = [_connection(settings, url.strip()) for url in settings.url.split(",")]
    servers = [_look("server", partial(_server, each)) for each in connections]
    answering = [each for each, found in zip(connections, servers, strict=True) if found.ok]
    yield from (replace(found, required=not answering) for found in servers)
    if answering:
        client = answering[0].client
        yield _look("cluster", partial(_cluster, client, settings))
        yield _look("disk", partial(_disk, client, settings))
        yield _look("index", partial(_index, client, settings), required=True)
    for each in connections:
        each.close()


def _connection(settings: ElasticsearchSettings, url: str) -> Connection:
    return Connection(
        url,
        Credentials(
            settings.api_key_env,
            settings.username_env,
            settings.password_env,
            settings.ca_certs_env,
        ),
        verify_certs=settings.verify_certs,
        timeout=min(settings.timeout, PATIENCE),
    )


def _look(name: str, look: Callable[[], Finding], *, required: bool = False) -> Finding:
    """Return what was looked at, or the error that came of it, as a finding."""
    try:
        return look()
    except QASystemError as error:
        detail = error.what if error.where is None else f"{error.what} ({error.where})"
        return Finding(name, ok=False, required=required, detail=detail, remedy=error.remedy)


def _server(connection: Connection) -> Finding:
    client = connection.client
    with explained(connection.url):
        said = client.info()
    number, cluster = said["version"]["number"], said["cluster_name"]
    detail = f"Elasticsearch {number} on {connection.url}, cluster {cluster!r}"
    return Finding("server", ok=True, required=True, detail=detail)


def _cluster(client: Elasticsearch, settings: ElasticsearchSettings) -> Finding:
    with explained(settings.place):
        health = client.cluster.health(level="indices", master_timeout=MASTER_PATIENCE)
        chosen = client.cluster.get_settings(flat_settings=True, master_timeout=MASTER_PATIENCE)
    detail = f"{health['status']}, {counted(health['number_of_nodes'], 'node')}"
    blocks = sorted(
        key
        for each in ("persistent", "transient")
        for key, value in chosen[each].items()
        if key.startswith(CLUSTER_BLOCK) and str(value).lower() == "true"
    )
    if blocks:
        return Finding(
            "cluster",
            ok=False,
            required=True,
            detail=f"{detail}; it takes no writes: {', '.join(blocks)}",
            remedy="Somebody has set that: PUT /_cluster/settings "
            f'{{"persistent": {{"{blocks[0]}": null}}, "transient": {{"{blocks[0]}": null}}}}.',
        )
    ill = {name: each for name, each in health["indices"].items() if each["status"] != "green"}
    own = {name: each for name, each in ill.items() if _is_own(name, settings.index)}
    red = sorted(name for name, each in own.items() if each["status"] == "red")
    if own:
        missing = sum(
            each["unassigned_shards"] + each["initializing_shards"] for each in own.values()
        )
        shards = missing + sum(
            each["active_shards"]
            for name, each in health["indices"].items()
            if _is_own(name, settings.index)
        )
        detail = f"{detail}; {missing} of {shards} shards are on none"
    others = sorted(ill.keys() - own.keys())
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        named = f"{', '.join(others[:5])}{more}"
        detail = f"{detail}; indexes that are not this store's lack shards: {named}"
    if not own:
        return Finding("cluster", ok=True, required=True, detail=detail)
    if not red:
        remedy = (
            "All documents are there, but copies of shards have no node to be on. Start another "
            "node, or have no copies on a single one (store.replicas: 0; of an index that is "
            f'there: PUT /{settings.index}/_settings {{"index.number_of_replicas": 0}}).'
        )
        return Finding("cluster", ok=False, required=False, detail=detail, remedy=remedy)
    return Finding(
        "cluster",
        ok=False,
        required=True,
        detail=f"{detail}; whole shards are missing of: {', '.join(red)}",
        remedy="Start the nodes that hold them; GET /_cluster/allocation/explain says what a "
        "shard waits for.",
    )


def _is_own(index: str, name: str) -> bool:
    """Tell whether an index is a version of the store, its labels or its digests."""
    base = base_of(name)
    beside = f"{base}-labels", f"{base}-digests"
    return index in (name, *beside) or (number_of(index) > 0 and base_of(index) == base)


def _disk(client: Elasticsearch, settings: ElasticsearchSettings) -> Finding:
    with explained(settings.place):
        nodes = client.nodes.stats(metric="fs")["nodes"].values()
    disks = [(node["name"], disk) for node in nodes for disk in node["fs"].get("data", [])]
    for watermark, field, consequence in WATERMARKS:
        for name, disk in disks:
            free, wanted = disk["available_in_bytes"], disk.get(field, 0)
            if free < wanted:
                return Finding(
                    "disk",
                    ok=False,
                    required=watermark == "flood stage",
                    detail=f"node {name!r} has {_gigabytes(free)} free, and its {watermark} is "
                    f"at {_gigabytes(wanted)}: {consequence}",
                    remedy="Make room on that disk, or add a node; the server goes on by itself.",
                )
    least = min((disk["available_in_bytes"] for _, disk in disks), default=0)
    return Finding("disk", ok=True, required=False, detail=f"{_gigabytes(least)} or more are free")


def _index(client: Elasticsearch, settings: ElasticsearchSettings) -> Finding:
    state = live(client, settings.index, settings.place)
    if state is None:
        return Finding(
            "index",
            ok=False,
            required=False,
            detail=f"the server has no index or alias {settings.index!r}",
            remedy="qa-index run with these settings makes it.",
        )
    if settings.similarity not in (None, state.similarity):
        raise StoreMismatchError(
            f"{state.index} compares embeddings by {state.similarity!r}, the settings say "
            f"{settings.similarity!r}",
            remedy=f"Set store.similarity to {state.similarity!r} or null; qa-index run "
            "--rebuild makes a version with another one.",
        )
    with explained(settings.place):
        [listed] = client.cat.indices(index=state.index, h="status", format="json")
        [made] = client.indices.get_settings(index=state.index, flat_settings=True).body.values()
    out_of_use = _out_of_use(state.index, listed["status"], made["settings"])
    if out_of_use is not None:
        return out_of_use
    detail = f"{state.index}: {state.index_options}, {counted(state.shards, 'shard')}"
    if made["settings"].get("index.refresh_interval") == "-1":
        return Finding(
            "index",
            ok=True,
            required=True,
            detail=f"{detail}; what is written is not shown: a job is at work, or was killed",
            remedy="Let it end, or run the same qa-index run again: it goes on where it stopped.",
        )
    if (state.index_options, state.shards) == (settings.index_options, settings.shards):
        return Finding("index", ok=True, required=True, detail=detail)
    return Finding(
        "index",
        ok=True,
        required=True,
        detail=f"{detail}; the settings say {settings.index_options}, "
        f"{counted(settings.shards, 'shard')}",
        remedy="They are those of new versions: qa-index run --rebuild makes one.",
    )


def _out_of_use(index: str, status: str, settings: Mapping[str, str]) -> Finding | None:
    """Return how somebody has closed or blocked an index; None if nobody has."""
    blocks = sorted(
        key.removeprefix(BLOCK)
        for key, value in settings.items()
        if key.startswith(BLOCK) and value == "true"
    )
    if status == "close":
        detail = f"{index} is closed: somebody has taken it out of use on the server"
        remedy = f"Open it: POST /{index}/_open. Its documents are as they were."
    elif blocks:
        detail = f"{index} is blocked: {', '.join(blocks)}"
        remedy = (
            "The server lifts read_only_allow_delete when the disk has room again; another block "
            f'goes by PUT /{index}/_settings {{"{BLOCK}{blocks[0]}": null}}.'
        )
    else:
        return None
    return Finding("index", ok=False, required=True, detail=detail, remedy=remedy)


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:,.1f} GB"
