"""The HTTP API under load: 200 clients, cached answers, memory.

    python -m benchmarks.serve                          # the sample, 120 seconds of load
    python -m benchmarks.serve --seconds 20 --clients 50
    python -m benchmarks.serve --data electronics       # SubjQA's, indexed first

`qa serve` runs in a process of its own, with one worker. Questions are distinct and the cache is
off, but for the part that measures it. Client and server share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import perf_counter

import httpx
import numpy as np
import psutil

os.environ["HF_HUB_OFFLINE"] = "1"

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("QA_DATA", ROOT.parent / "shared" / "data")) / "subjqa"
FASTER, CACHED_MS = 1.25, 5.0


@dataclass
class Load:
    """What clients have met."""

    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.times) / self.seconds

    def ms(self, percent: float) -> float:
        return float(1000 * np.percentile(self.times, percent)) if self.times else float("nan")

    def __str__(self) -> str:
        statuses = ", ".join(f"{number} x {code}" for code, number in sorted(self.statuses.items()))
        return (
            f"{self.per_second:6.1f} answers/s, p50 {self.ms(50):7.1f} ms, "
            f"p99 {self.ms(99):7.1f} ms; {statuses}"
        )


@contextmanager
def served(store: Path, **settings: object) -> Iterator[tuple[str, psutil.Process]]:
    """Start `qa serve`, and yield its address and its worker."""
    command = [sys.executable, "-m", "qa_system.cli", "serve", "--port", "0", "--store", str(store)]
    for name, value in settings.items():
        command += ["--set", f"serving.{name}={value}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        if found is None:
            raise SystemExit("qa serve did not start")
        [worker] = psutil.Process(process.pid).children()
        try:
            yield found[0], worker
        finally:
            process.terminate()


async def load(
    address: str, questions: list[tuple[str, str]], clients: int, seconds: float
) -> Load:
    """Let clients ask distinct questions, each its next when the last is answered."""
    result, numbers = Load(), count()
    start = perf_counter()

    async def client() -> None:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as http:
            while perf_counter() - start < seconds:
                number = next(numbers)
                question, item = questions[number % len(questions)]
                asked = {
                    "question": f"{question} {number}",
                    "item_id": item,
                    "timeout_ms": 60_000,
                }
                began = perf_counter()
                try:
                    found = await http.post("/v1/ask", json=asked)
                except httpx.HTTPError as error:
                    result.statuses[type(error).__name__] += 1
                    continue
                result.statuses[str(found.status_code)] += 1
                if found.status_code == 200:
                    result.times.append(perf_counter() - began)
                elif found.status_code == 503:
                    await asyncio.sleep(float(found.headers["retry-after"]))

    await asyncio.gather(*(client() for _ in range(clients)))
    result.seconds = perf_counter() - start
    return result


def cached(address: str, questions: list[tuple[str, str]], requests: int) -> Load:
    """Ask one client's questions that are in the cache."""
    result = Load()
    with httpx.Client(base_url=address, timeout=60) as http:
        bodies = [{"question": question, "item_id": item} for question, item in questions[:20]]
        for body in bodies:
            http.post("/v1/ask", json=body)
        start = perf_counter()
        for number in range(requests):
            began = perf_counter()
            found = http.post("/v1/ask", json=bodies[number % len(bodies)])
            result.times.append(perf_counter() - began)
            result.statuses[f"{found.status_code} {found.headers.get('x-cache')}"] += 1
        result.seconds = perf_counter() - start
    return result


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="sample", help="sample, or a domain of SubjQA")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=20_000, help="of the cached part")
    chosen = parser.parse_args(arguments)

    from indexing.job import run_job
    from qa_system.config import load_settings
    from qa_system.datasets.dataset import read_dataset

    source = ROOT / "data" / "sample" if chosen.data == "sample" else DATA / chosen.data
    if not source.is_dir():
        print(f"there is no data at {source}: set QA_DATA.", file=sys.stderr)
        return 2
    labels = read_dataset(source).labels
    questions = sorted({(each.question, each.item_id) for each in labels if each.item_id})
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        overrides = {"store.path": str(store), "indexing.sources": [str(source)]}
        run_job(load_settings(None, overrides, environ={}))
        queue = chosen.clients
        with served(store, cache_bytes=0, queue=max(queue, 32)) as (address, worker):
            asyncio.run(load(address, questions, 1, min(5.0, chosen.seconds)))  # warm
            alone = asyncio.run(load(address, questions, 1, chosen.seconds / 4))
            print(f"{'1 client':>22}: {alone}", flush=True)
            many = asyncio.run(load(address, questions, chosen.clients, chosen.seconds))
            print(f"{f'{chosen.clients} clients':>22}: {many}", flush=True)
            print(f"{'worker':>22}: {worker.memory_info().rss / 2**20:.0f} MiB", flush=True)
        with served(store) as (address, worker):
            cached(address, questions, 500)
            before = worker.memory_info().rss
            kept = cached(address, questions, chosen.requests)
            grown = (worker.memory_info().rss - before) / 2**20
            print(f"{'cached, 1 client':>22}: {kept}")
            print(f"{'worker grew by':>22}: {grown:.1f} MiB over {chosen.requests} requests")
    ratio = many.per_second / alone.per_second
    other = {code for code in many.statuses if code not in ("200", "503")}
    print(f"{'together / one by one':>22}: {ratio:.2f} (bar {FASTER})")
    print(f"{'other errors':>22}: {', '.join(sorted(other)) or 'none'}")
    return int(bool(other) or ratio < FASTER or kept.ms(99) >= CACHED_MS)


if __name__ == "__main__":
    sys.exit(main())
