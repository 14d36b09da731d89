# From a bare clone, with Python 3.11 or newer and make:
#
#     make demo
#     make test
#
# On Linux, PyPI's torch brings several GB of CUDA libraries. For the CPU build:
#
#     make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
#
# Another interpreter: make test PYTHON=/path/to/python3.12

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3.11 python3
TORCH_INDEX ?=
PYTEST_ARGS ?=

# constraints.txt says torch==2.13.0: that also matches 2.13.0+cpu, which pip ranks higher, so an
# index with the CPU build wins over PyPI without any other setting.
PIP := $(BIN)/python -m pip --disable-pip-version-check
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
INSTALL := $(PIP) install --quiet $(INDEX) -c constraints.txt

WEB := src/maskdepth/web/index.html
WEB_SOURCES := $(wildcard web/src/* web/public/* web/sample/* web/*.ts web/*.json)

.PHONY: help demo web test soak lint types docs cli-page results-page wheel constraints clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.plain-installed  ## the shipped model on drawn pairs, then fitted to drawn scenes (5 minutes)
	$(BIN)/maskdepth demo --no-fit
	@test -e $(VENV)/.train-installed || echo "Next comes training, for which PyTorch is installed:" \
	    "0.2 GB for a CPU, several GB with CUDA on Linux. Stop with Ctrl-C to choose the CPU build:" \
	    "make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu"
	@$(MAKE) --no-print-directory $(VENV)/.train-installed
	$(BIN)/maskdepth demo

web: $(WEB)  ## the page that predicts in a browser; needs npm
$(WEB): $(WEB_SOURCES)
	@command -v npm >/dev/null || { echo "error: npm is not installed, and builds the page;" \
	    "install Node.js 20.19 or newer" >&2; exit 1; }
	cd web && npm ci --no-audit --no-fund --loglevel=error && npm run check && npm run build
	@touch $@

# A process a core, each with one thread: small networks gain little from more.
test: $(VENV)/.installed  ## all tests; options for pytest in PYTEST_ARGS
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

soak: $(VENV)/.installed  ## kill a writer of shards, tire and fuzz the server (two hours)
	$(BIN)/python tests/soak_storage.py --instants 1000
	$(BIN)/python tools/load_server.py soak --requests 100000
	$(BIN)/python tools/fuzz_server.py --count 5000

lint: $(VENV)/.installed  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed  ## mypy, strict, on the package
	$(BIN)/mypy

docs: $(VENV)/.docs-installed cli-page  ## the documentation as a site in site/
	$(BIN)/mkdocs build --quiet --strict

cli-page: $(VENV)/.installed  ## docs/cli.md from the command line itself
	$(BIN)/python tools/make_cli.py

results-page: $(VENV)/.installed  ## docs/results.md from docs/results.json
	$(BIN)/python tools/make_results.py

wheel: $(VENV)/.installed $(WEB)  ## dist/*.whl with the page, built with the pinned hatchling
	$(BIN)/python -m build --wheel --no-isolation

constraints: $(VENV)/.installed  ## renew constraints.txt
	$(BIN)/python .ci/constraints.py $(INDEX)

clean:  ## remove what was built, the environment included
	rm -rf $(VENV) build dist site web/node_modules $(dir $(WEB)) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests docs -name __pycache__ -prune -exec rm -rf {} +

# The first interpreter of PYTHON that runs decides; pyenv's shims exist without running.
$(BIN)/python:
	@for python in $(PYTHON); do \
	    version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	        echo "error: expected Python 3.11 or newer; got $$python, version $$version;" \
	            "name another one: make PYTHON=/path/to/python3.11" >&2; exit 1; }; \
	    echo "creating $(VENV) with $$python"; \
	    "$$python" -m venv $(VENV) && exit 0; rm -rf $(VENV); exit 1; \
	done; \
	echo "error: expected Python 3.11 or newer; none of '$(PYTHON)' runs;" \
	    "name it: make PYTHON=/path/to/python3.11" >&2; exit 1

# The stamps are renewed when the dependencies change. The package itself is installed as a link to
# src, so a change of the code needs no new installation. `make demo` installs what a user needs to
# train, and no more; the tests and tools add their own packages to the same environment.
$(VENV)/.plain-installed: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	@touch $@

$(VENV)/.train-installed: $(VENV)/.plain-installed
	$(INSTALL) -e '.[train]'
	@touch $@

$(VENV)/.installed: $(VENV)/.train-installed
	$(INSTALL) -e '.[train,dev]'
	@touch $@

$(VENV)/.docs-installed: $(VENV)/.installed
	$(INSTALL) -e '.[train,dev,docs]'
	@touch $@
