"""`python -m eval.metrics`: the table of metrics in docs/evaluation.md."""

import sys

from eval.metrics import markdown_table

sys.stdout.write(markdown_table() + "\n")
