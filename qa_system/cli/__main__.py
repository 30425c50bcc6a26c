"""`python -m qa_system.cli`."""

from qa_system.cli import main

main()
