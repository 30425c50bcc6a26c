"""Ways of computing the same sentences: one window each or packed, int8 scales fixed or not.

    python -m benchmarks.reading                 # SubjQA's held-out items; a quarter of an hour
    python -m benchmarks.reading --questions 30

All ways read the same stretches of the same questions (see `benchmarks.budget`), so that their F1
can be compared. *Fixed* scales of the activations are those that calibration windows need, in
place of those that each pass computes: a window then depends on nothing else, and several can be
computed in a pass. *Packed* puts the stretches of a review, or of all reviews, in one window, with
a separator between; no answer crosses it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np

from benchmarks.budget import DATA, DOMAINS, retrieved, scores_of

if TYPE_CHECKING:
    from haystack import Document

    from qa_system.readers.spans import WindowLogits
    from qa_system.readers.windows import Window
    from qa_system.records import Label

BUDGET = 512
CALIBRATION_WINDOWS = 64
LONGEST = 384
TIMED = 60
RUNS = 3

PADDED = "fixed scales, in padded batches"
"""For the time only: the graph has no mask, so that padding changes what it computes."""

Windows = list[list[Window]] if TYPE_CHECKING else list
Logits = list[list["WindowLogits"]] if TYPE_CHECKING else list


@dataclass(frozen=True)
class Asked:
    """A question with what is read for it."""

    domain: str
    label: Label
    documents: Sequence[Document]
    windows: Windows


class Session:
    """An ONNX session of the reader's graph, as `score_windows` takes it."""

    pad_id = 0
    workers = 1

    def __init__(self, graph: bytes, threads: int = 1, *, pads: bool = False) -> None:
        import onnxruntime

        self.pads = pads

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            graph,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],
        )

    def logits(self, input_ids: Any, _mask: Any, token_type_ids: Any) -> Any:
        """Return start and end logits."""
        return self._session.run(None, {"input_ids": input_ids, "token_type_ids": token_type_ids})


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, help="of each domain, at most")
    parser.add_argument("--domains", nargs="*", default=DOMAINS)
    chosen = parser.parse_args(arguments)
    if not DATA.is_dir():
        print(f"SubjQA is not at {DATA}: set QA_DATA.", file=sys.stderr)
        return 2

    from eval.report.tables import print_table

    asked = [each for domain in chosen.domains for each in questions(domain, chosen.questions)]
    ways = ways_of(asked)
    rows: dict[str, dict[str, float]] = {}
    reference: list[dict[str, Any]] = []
    for name, read in ways.items():
        if name == PADDED:
            rows[name] = {}
            continue
        scored = [row_of(each, read(each)) for each in asked]
        reference = reference or scored
        scores = scores_of(scored, reference)
        kept = ("F1", "HasAns F1", "NoAns", "forced")
        rows[name] = {key: scores[key] for key in kept}
    for name, seconds in times(ways, asked[:: max(1, len(asked) // TIMED)]).items():
        rows[name] |= seconds
    columns = ["F1", "HasAns F1", "NoAns", "forced", "CPU ms", "ms"]
    print_table(f"reading {BUDGET} tokens, {len(asked)} questions", rows, columns, [])
    return 0


def questions(domain: str, most: int | None) -> list[Asked]:
    """Return the held-out questions of a domain, and what is read of the sentences found."""
    from qa_system.config import load_settings
    from qa_system.models.inference import load_tokenizer
    from qa_system.models.locate import locate
    from qa_system.readers.evidence import windows_of
    from qa_system.readers.windows import WindowCutter

    settings = load_settings(overrides={"encoder.threads": 1})
    labels, found, _ = retrieved(domain, settings, {"": {}}, most)
    cutter = WindowCutter(load_tokenizer(locate(settings.reader.model).path), LONGEST)
    cut = windows_of(cutter, [label.question for label in labels], found[""], BUDGET)
    return [
        Asked(domain, *each) for each in zip(labels, found[""], cut, strict=True) if any(each[2])
    ]


def ways_of(asked: Sequence[Asked]) -> dict[str, Callable[[Asked], Logits]]:
    """Return each way as a function from a question to the logits of its windows."""
    plain = graph_of_reader()
    sample = [window for each in asked for own in each.windows for window in own]
    fixed = with_fixed_scales(plain, sample[:: max(1, len(sample) // CALIBRATION_WINDOWS)])
    dynamic, static, padding = Session(plain), Session(fixed), Session(fixed, pads=True)
    pairs = [Session(plain), Session(plain)]
    return {
        "own scales, a window at a time": lambda one: alone(dynamic, one.windows, 1),
        "own scales, in batches": lambda one: alone(dynamic, one.windows, 4096),
        "fixed scales, a window at a time": lambda one: alone(static, one.windows, 1),
        "fixed scales, in batches": lambda one: alone(static, one.windows, 4096),
        PADDED: lambda one: alone(padding, one.windows, 4096),
        "packed by review": lambda one: packed_logits(dynamic, by_review(one.windows)),
        "packed over reviews": lambda one: packed_logits(dynamic, over_reviews(one.windows)),
        "one session, two threads": _alone_by(Session(plain, threads=2)),
        "two sessions, a thread each": lambda one: side_by_side(pairs, one.windows),
    }


def _alone_by(session: Session) -> Callable[[Asked], Logits]:
    return lambda one: alone(session, one.windows, 1)


def graph_of_reader() -> bytes:
    """Return the bundled reader's graph, whole."""
    from qa_system.models.differences import restored
    from qa_system.models.locate import locate, read_manifest
    from qa_system.models.manifest import Difference

    folder = locate("bundled:reader").path
    difference = Difference.model_validate(read_manifest(folder)["difference_from"])
    return restored(folder, locate(difference.model).path, difference)


def with_fixed_scales(graph: bytes, sample: Iterable[Window]) -> bytes:
    """Return the graph with scales of the activations that fit a sample of windows."""
    import onnx
    import onnxruntime

    model = onnx.load_from_string(graph)
    dynamic = [node for node in model.graph.node if node.op_type == "DynamicQuantizeLinear"]
    names = list(dict.fromkeys(node.input[0] for node in dynamic))
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    for name in names:
        probe.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    low, high = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for window in sample:
        feeds = {
            "input_ids": window.input_ids[None],
            "token_type_ids": window.type_ids[None],
        }
        for name, values in zip(names, session.run(names, feeds), strict=True):
            low[name] = min(low[name], float(values.min()))
            high[name] = max(high[name], float(values.max()))
    renamed: dict[str, str] = {}
    for node in dynamic:
        name = node.input[0]
        scale = np.float32((high[name] - low[name]) / 255)
        zero = np.uint8(np.clip(np.rint(-low[name] / scale), 0, 255))
        for place, value in ((1, scale), (2, zero)):
            constant = f"{node.output[place]}_fixed"
            renamed[node.output[place]] = constant
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value), constant))
        renew = onnx.helper.make_node(
            "QuantizeLinear",
            [name, renamed[node.output[1]], renamed[node.output[2]]],
            [node.output[0]],
            name=f"{node.name}_fixed",
        )
        node.CopyFrom(renew)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
    return model.SerializeToString()


def alone(session: Session, windows: Windows, batch_tokens: int) -> Logits:
    """Compute the windows as they are."""
    from qa_system.readers.backends import score_windows

    flat = [window for own in windows for window in own]
    scored = iter(score_windows(session, flat, batch_tokens))  # type: ignore[arg-type]
    return [[next(scored) for _ in own] for own in windows]


def side_by_side(sessions: Sequence[Session], windows: Windows) -> Logits:
    """Compute half of the windows in each session at the same time, the longest first."""
    flat = [window for own in windows for window in own]
    order = sorted(range(len(flat)), key=lambda at: -len(flat[at]))
    parts = [order[0::2], order[1::2]]
    scored: dict[int, WindowLogits] = {}
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(alone, session, [[flat[at] for at in part]], 1)
            for session, part in zip(sessions, parts, strict=True)
        ]
        for part, job in zip(parts, jobs, strict=True):
            scored.update(zip(part, job.result()[0], strict=True))
    flattened = iter(scored[at] for at in range(len(flat)))
    return [[next(flattened) for _ in own] for own in windows]


Packs = list[list[tuple[int, "Window"]]]


def by_review(windows: Windows) -> tuple[int, Packs]:
    """Put the windows of each review together, as many as fit."""
    packs: Packs = []
    for at, own in enumerate(windows):
        packs += _filled([(at, window) for window in own])
    return len(windows), packs


def over_reviews(windows: Windows) -> tuple[int, Packs]:
    """Put all windows of a question together, as many as fit."""
    return len(windows), _filled([(at, one) for at, own in enumerate(windows) for one in own])


def _filled(windows: Sequence[tuple[int, Window]]) -> Packs:
    packs: Packs = []
    length = LONGEST
    for at, window in windows:
        more = len(window) - window.context_start
        if length + more > LONGEST:
            packs.append([])
            length = window.context_start
        packs[-1].append((at, window))
        length += more
    return packs


def packed_logits(session: Session, packed: tuple[int, Packs]) -> Logits:
    """Compute packs; return the logits of each document's stretches."""
    from qa_system.readers.spans import WindowLogits

    count, packs = packed
    found: Logits = [[] for _ in range(count)]
    for pack in packs:
        first = pack[0][1]
        bodies = [one.input_ids[one.context_start :] for _, one in pack]
        types = [one.type_ids[one.context_start :] for _, one in pack]
        ids = np.concatenate([first.input_ids[: first.context_start], *bodies])[None]
        kinds = np.concatenate([first.type_ids[: first.context_start], *types])[None]
        start, end = session.logits(ids, np.ones_like(ids), kinds)
        null = float(start[0, 0] + end[0, 0])
        place = first.context_start
        for (at, window), body in zip(pack, bodies, strict=True):
            own = slice(place, place + len(window.offsets))
            found[at].append(WindowLogits(start[0, own], end[0, own], null, window.offsets))
            place += len(body)
    return found


def row_of(asked: Asked, logits: Logits) -> dict[str, Any]:
    """Score the best span of a question's documents."""
    from eval.tasks.predictions import Prediction, score_predictions
    from qa_system.readers.spans import best_spans
    from qa_system.records import title_end

    found = []
    for document, own in zip(asked.documents, logits, strict=True):
        content = document.content or ""
        for span in best_spans(own, border=title_end(content, document.meta)):
            found.append((span.log_odds, content[span.start : span.end]))
    odds, text = max(found, default=(None, ""))
    [row] = score_predictions([asked.label], [Prediction(text, text, odds)]).rows
    return {
        "domain": asked.domain,
        "item": asked.label.item_id,
        "answerable": row.answerable,
        "f1": row.scores["forced_has_ans_f1"] or 0.0,
        "log_odds": odds,
        "tokens": 0,
        "read": 0,
        "seconds": None,
    }


def times(
    ways: Mapping[str, Callable[[Asked], Logits]], asked: Sequence[Asked]
) -> dict[str, dict[str, float]]:
    """Time each way in turn; return means over the questions of the best of several runs."""
    total = {name: {"CPU ms": 0.0, "ms": 0.0} for name in ways}
    for each in asked:
        for name, read in ways.items():
            spent, passed = [], []
            for _ in range(RUNS):
                cpu, wall = process_time(), perf_counter()
                read(each)
                spent.append(process_time() - cpu)
                passed.append(perf_counter() - wall)
            total[name]["CPU ms"] += 1000 * min(spent) / len(asked)
            total[name]["ms"] += 1000 * min(passed) / len(asked)
    return total


if __name__ == "__main__":
    sys.exit(main())
