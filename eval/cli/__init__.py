"""`qa-eval`: evaluate retrieval, reading, generation and the whole pipeline."""

from __future__ import annotations

from eval.cli.adapt import adapt
from eval.cli.benchmark import benchmark
from eval.cli.calibrate import calibrate
from eval.cli.check import check
from eval.cli.compare import compare
from eval.cli.consensus import consensus
from eval.cli.curve import curve
from eval.cli.data.convert import convert
from eval.cli.data.explore import explore
from eval.cli.data.labels import labels
from eval.cli.data.split import split
from eval.cli.embeddings.map import map_
from eval.cli.embeddings.pooling import pooling
from eval.cli.few_labels.attributes import attributes
from eval.cli.few_labels.nearest import nearest
from eval.cli.generator import generator
from eval.cli.improve import improve, rollback
from eval.cli.options import spread
from eval.cli.pipeline import pipeline
from eval.cli.reader import reader
from eval.cli.retriever import retriever
from qa_system.console.app import command_line, run_app

__all__ = ["app", "main"]

app = command_line(
    "Evaluate retrieval, reading, generation and the whole pipeline on labelled questions."
)
app.command(cls=spread("--k"))(retriever)
app.command()(reader)
app.command()(pipeline)
app.command()(consensus)
app.command()(attributes)
app.command()(nearest)
app.command()(generator)
app.command()(benchmark)
app.command()(calibrate)
app.command()(check)
app.command()(compare)
app.command()(explore)
app.command()(labels)
app.command()(convert)
app.command()(split)
app.command(cls=spread("--pooling", "--layer", "--dimensions", "--dtype"))(pooling)
app.command(name="map")(map_)
app.command()(adapt)
app.command()(curve)
app.command()(improve)
app.command()(rollback)


def main() -> None:
    """Run the command line."""
    run_app(app)
