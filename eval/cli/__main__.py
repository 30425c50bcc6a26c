"""`python -m eval.cli`: the same as `qa-eval`."""

from eval.cli import main

main()
