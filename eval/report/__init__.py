"""Reports of runs: tables on a terminal, plots, HTML pages."""
