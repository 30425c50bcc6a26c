# Two commands do everything on a fresh machine with Python 3.11 or newer:
#   make demo   sets up, indexes the sample reviews, measures retrieval, answers questions
#               (make demo-generate: answers some in words of its own, too)
#   make test   sets up, then runs linters, types, architecture and every test
#               (make test-slow: those that take minutes)

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Every file that is installed has its hash in requirements/; this package is built with what they have.
LOCKED := $(PIP) --require-hashes
OWN    := $(PIP) --no-deps --no-build-isolation --editable .
# torch without CUDA is not on PyPI. Where PyTorch's index cannot be reached, pip looks where it is
# told to look (PIP_FIND_LINKS), and says what it does not find.
TORCH  := $(LOCKED) --no-deps --retries 1 --find-links https://download.pytorch.org/whl/cpu/torch/ -r requirements/torch-cpu.txt

.PHONY: demo demo-generate serve test lint types unit fuzz chromium bench requirements sbom audit clean

demo: $(VENV)/installed-demo
	@rm -rf .demo-store .demo-report
	$(BIN)/qa-index run --config configs/sample.yaml
	$(BIN)/qa-eval retriever --config configs/sample.yaml --dataset data/sample --split test --scope item --retriever-mode all --k 1 3 5 --out .demo-report
	$(BIN)/python examples/product_page.py configs/sample.yaml

# The same questions, answered in the bundled generator's words where the reviews bear it out. It
# takes torch.
demo-generate: demo
	@$(TORCH)
	@$(LOCKED) -r requirements/demo-generate.txt
	$(BIN)/python examples/product_page.py configs/sample.yaml auto

# The HTTP API on the sample, at http://127.0.0.1:8000, until Ctrl-C.
serve: $(VENV)/installed-serve
	$(BIN)/qa-index run --config configs/sample.yaml
	$(BIN)/qa serve --config configs/sample.yaml --feedback .demo-feedback.sqlite3

test: lint types unit

SCHEMA := $(BIN)/check-jsonschema --builtin-schema

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/test_words.py tests/test_requirements.py
	$(BIN)/python docs/generate_cli.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/pre-commit validate-config .pre-commit-config.yaml
	$(SCHEMA) vendor.github-workflows .github/workflows/*.yml
	$(SCHEMA) vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml
	$(SCHEMA) vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(SCHEMA) vendor.dependabot .github/dependabot.yml
	$(SCHEMA) vendor.compose-spec docker-compose.yml
	$(SCHEMA) vendor.citation-file-format CITATION.cff

types: $(VENV)/installed-dev
	$(BIN)/mypy

# Two files of tests at a time; more share the cores of a small machine, and start servers of their own.
WORKERS ?= 2

unit: $(VENV)/installed-dev chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --cov --cov-report=term --cov-fail-under=88 -m "not long"

# What takes minutes, such as training on real data. Status 5 is pytest's for no test found.
.PHONY: test-slow
test-slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m long || [ $$? -eq 5 ]

# Changed and broken files for every parser, for FUZZ_SECONDS; what fails is kept in tests/fuzz/corpus.
FUZZ_SECONDS ?= 600
FUZZ_SEED    ?= 0

fuzz: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/test_fuzz.py $(FUZZ_SECONDS) $(FUZZ_SEED)

# For the browser tests. Elsewhere they take the Chromium that is there, or skip and say so.
chromium:
	@command -v chromium >/dev/null || { [ "$$CI" = true ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } || echo "no Chromium: the browser tests skip"

bench: $(VENV)/installed-bench
	$(BIN)/python -m benchmarks

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-demo: pyproject.toml requirements/demo.txt | $(VENV)/bin/python
	$(LOCKED) -r requirements/demo.txt
	$(OWN)
	@touch $@

$(VENV)/installed-serve: pyproject.toml requirements/serve.txt | $(VENV)/bin/python
	$(LOCKED) -r requirements/serve.txt
	$(OWN)
	@touch $@

$(VENV)/installed-dev: pyproject.toml requirements/dev.txt requirements/torch-cpu.txt | $(VENV)/bin/python
	$(TORCH)
	$(LOCKED) -r requirements/dev.txt
	$(OWN)
	@touch $@ $(VENV)/installed-demo $(VENV)/installed-serve

# faiss-haystack pins numpy<2 where nothing of it needs that; its other dependencies are ours.
$(VENV)/installed-bench: $(VENV)/installed-dev requirements/bench.txt
	$(LOCKED) --no-deps -r requirements/bench.txt
	@touch $@

# The tools below have an environment of their own.
TOOLS := $(VENV)/tools/bin
$(VENV)/tools/installed: requirements/tools.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/tools
	$(TOOLS)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tools.txt
	@touch $@

# After a change of a range in pyproject.toml; UPGRADE=--upgrade takes the newest versions.
requirements: $(VENV)/tools/installed
	PATH="$(abspath $(TOOLS)):$$PATH" $(BIN)/python requirements/compile.py $(UPGRADE)

# What an installation is made of, as CycloneDX.
sbom: $(VENV)/tools/installed
	@mkdir -p dist
	$(TOOLS)/cyclonedx-py requirements requirements/image.txt --pyproject pyproject.toml --output-reproducible --of JSON --output-file dist/qa-system.cdx.json

# Whether a known vulnerability is in what the lock names. It asks PyPI's database.
audit: $(VENV)/tools/installed
	$(TOOLS)/pip-audit --strict --require-hashes --disable-pip -r requirements/dev.txt

clean:
	rm -rf $(VENV) build dist .demo-store .demo-report .demo-feedback.sqlite3* .mypy_cache .ruff_cache .pytest_cache .hypothesis
