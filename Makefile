# allocsim: everything a user runs, each target alone on a machine with python3 and make.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TRACES ?= $(sort $(patsubst %/meta.json,%,$(wildcard traces/*/meta.json)))
OUT    ?= out
RUNS   ?= 5000
DB     := $(OUT)/results.duckdb
NEW_DB := $(OUT)/.results.duckdb.part
# The sides of make compare: several traces of one side are its repeats.
comma    := ,
space    := $(subst ,, )
COMPARED  = $(subst $(space),$(comma),$(strip $(A))) $(subst $(space),$(comma),$(strip $(B)))

KILLS  ?= 200
DISKS  ?= 40
EVENTS ?= 1e9

# Recordings for tests and benchmarks, where nobody says: those beside the repository, if there are.
RECORDINGS := $(wildcard ../shared/traces)
ifneq ($(RECORDINGS),)
  ALLOCSIM_RECORDINGS ?= $(abspath $(RECORDINGS))
  export ALLOCSIM_RECORDINGS
endif

# Tests start allocsim many times; compiled anew each time it takes three times as long. A worker has
# neighbouring tests, which share databases, until it must help another.
PYTEST = env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n auto --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help replay compare quick test style types lint docs bench validation fuzz torture soak build clean

help: ## Say what there is to make
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

replay: $(VENV)/.run ## Replay the shipped trace sets (or TRACES="A B") into a new out/results.duckdb, with a PDF report
	@mkdir -p $(OUT)
	@rm -f $(NEW_DB) $(NEW_DB).wal
	$(BIN)/allocsim replay --db $(NEW_DB) $(TRACES)
	@mv -f $(NEW_DB) $(DB)
	$(BIN)/allocsim report --force --db $(DB) -o $(OUT)/report.pdf
	@echo
	@echo 'Ask it: $(BIN)/allocsim sql "from policy_summary"'

compare: $(VENV)/.run ## Compare A="TRACE..." with B="TRACE..." into out/: text, PDF and HTML
	@test -n "$(A)" -a -n "$(B)" || { echo 'say make compare A=TRACE B=TRACE' >&2; exit 2; }
	@mkdir -p $(OUT)
	$(BIN)/allocsim compare --force $(COMPARED) \
	  -o $(OUT)/compare.txt -o $(OUT)/compare.pdf -o $(OUT)/compare.html
	@cat $(OUT)/compare.txt

quick: style types ## Check style and types, then run the tests that are not slow (a minute on two cores)
	$(PYTEST) -m 'not slow'

test: style types ## Check style and types, then run every test
	$(PYTEST)

style: $(VENV)/.dev ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## Check types
	$(BIN)/mypy

lint: $(VENV)/.dev ## Mend what ruff can mend, then check style and types
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

docs: $(VENV)/.dev ## Make the reference pages under docs/ anew from the code, and their examples
	$(BIN)/python -m pipeline.docs --examples

bench: $(VENV)/.dev ## Measure speed and memory; writes bench/RESULTS.md
	$(BIN)/python bench/run.py

validation: $(VENV)/.dev ## Compare the model with recordings at hand; writes bench/VALIDATION.md
	$(BIN)/python bench/validation.py

torture: $(VENV)/.dev ## Kill every command at any moment, and fill its disk (or KILLS=20 DISKS=5); takes hours
	$(BIN)/python bench/torture.py --kills $(KILLS) --disks $(DISKS)

soak: $(VENV)/.dev ## Time and memory of a synthetic trace of 1e9 events, 35 GB of disk (or EVENTS="1e7 1e8")
	$(BIN)/python bench/soak.py $(EVENTS)

fuzz: $(VENV)/.dev ## Read damaged inputs of every kind (hours; RUNS=N each, four times as many of the byte readers)
	$(BIN)/python -m tests.fuzz.run --runs $(RUNS) --save $(OUT)/fuzz

build: $(VENV)/.dev ## Build sdist and wheel into dist/, and try the wheel in an environment of its own
	@rm -rf dist
	$(BIN)/python -m build --outdir dist .
	.ci/try-wheel $(PYTHON) dist/*.whl

clean: ## Remove what runs have produced (not the environment)
	rm -rf $(OUT) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The environment: pinned versions, made once, made again when the pins change.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "allocsim needs Python 3.11 or newer; say make PYTHON=... to name one" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "python3 cannot make a virtual environment (on Debian: apt install python3-venv)" >&2; \
	    rm -rf $(VENV); exit 1; }

$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.run
