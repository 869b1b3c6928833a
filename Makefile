# `make demo` and `make test` do all their set-up: they create .venv and install into it on first use.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input
DEMO_STAMP := $(VENV)/.installed-train
STAMP := $(VENV)/.installed
WORKERS ?= 2
DEMO ?= demo

# One thread a test worker: two workers with as many threads as cores each only get in each other's way.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg

comma := ,
define install
@echo "Installing lambda-rl[$(1)] into $(VENV) (the first time takes a few minutes)"
@$(PIP) install --quiet --constraint constraints.txt --editable '.[$(1)]' || \
    { echo "could not install; is the package index reachable? The same command goes on." >&2; exit 1; }
endef

.PHONY: help venv demo test lint format bench gallery docs clean distclean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E "s/:.*## /\t/" | expand -t 12

venv: $(STAMP)  ## create .venv and install the project into it

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit("lambda-rl needs Python >= 3.10; %s is %s (set PYTHON=...)" % (sys.executable, sys.version.split()[0]) if sys.version_info < (3, 10) else 0)'
	@echo "Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# What the demo needs; the rest is for tests and lint, which are not everybody's.
$(DEMO_STAMP): pyproject.toml constraints.txt | $(PY)
	$(call install,train)
	@touch $@

$(STAMP): pyproject.toml constraints.txt | $(PY)
	$(call install,train$(comma)dev)
	@touch $@ $(DEMO_STAMP)

demo: $(DEMO_STAMP)  ## train a small agent, try the policy that ships on digits, compare the small one, write a report
	$(PY) scripts/train_agent.py --preset demo --name $(DEMO) --wandb offline --overwrite
	$(PY) scripts/generality.py --policy any-loop --tasks digits-noisy --seeds 3 --processes 2 --out runs/$(DEMO)/digits
	$(PY) scripts/compare.py --policy runs/$(DEMO)/policy.safetensors --suite demo-held-out \
	    --data table:teacher:20x8x20000:7 --out runs/$(DEMO)/compare --overwrite

test: $(STAMP)  ## run the tests
	$(TEST_ENV) $(PY) -m pytest -q --numprocesses $(WORKERS) --dist loadfile $(ARGS)

# mypy cannot see through the name mapping of an editable install, so the project is installed once more,
# as a wheel would be, into build/typed. Messages are shown with the paths of the checkout.
lint: $(STAMP)  ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	@rm -rf build/lib build/typed
	@$(PIP) install --quiet --no-deps --no-build-isolation --no-compile --target build/typed .
	MYPYPATH=build/typed $(PY) -m mypy --package lambda_rl | sed -E 's,^build/typed/lambda_rl/(envs|agents)/,\1/,; s,^build/typed/,,'

format: $(STAMP)  ## let ruff rewrite the sources
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

gallery: $(STAMP)  ## other people's loops with the default policy: runs what is missing, writes docs/gallery
	$(TEST_ENV) $(VENV)/bin/lambda-rl gallery --processes $(WORKERS) $(ARGS)

bench: $(STAMP)  ## time the inner trainer
	$(PY) scripts/benchmark.py $(ARGS)

docs: $(STAMP)  ## build the documentation into build/site, which opens from a disk
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "file://$(CURDIR)/build/site/index.html"

clean:  ## remove caches and build outputs
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## remove .venv too
	rm -rf $(VENV)
