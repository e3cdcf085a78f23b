# What one needs to run, test and change the project: make, Python 3.11, and nothing else installed before.
#   make PYTHON=/path/to/python3.11   where python3.11 is not on the PATH

PYTHON ?= python3.11
CORES ?= all
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help install demo test bench lint audit lock clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 18

install: $(READY) ## make .venv, with exactly the tested versions

# torch comes first and by version alone: which build fits depends on the machine, so that no hash can be given.
$(READY): envs/requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --require-hashes -r envs/requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: $(READY) ## run config.yaml: a simulated cohort, from volumes to results/report/index.html
	$(BIN)/snakemake --workflow-profile workflow/profiles/local --cores $(CORES)
	@echo "The report: $(CURDIR)/results/report/index.html"

# A file of tests stays in one process, since some share a run that takes minutes.
test: $(READY) ## run all tests, a process a core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --dist loadfile --no-loadscope-reorder $(ARGS)

bench: $(READY) ## measure speed and memory: results/benchmark/speed.tsv, docs/speed.md; ARGS=--quick tries it out
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(READY) ## style, types, layers, workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

audit: $(READY) ## is what is installed what was locked, and nothing known to be malicious? needs no network
	$(BIN)/python envs/audit.py

# Versions of everything in pyproject.toml with its extras, with hashes; torch and what only its CUDA builds need
# are left out (see above). Delete the lock first to move all versions, otherwise only those that must move do.
lock: ## write envs/requirements.lock anew
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --all-extras --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file envs/requirements.lock pyproject.toml
	awk 'BEGIN { print "# Made by `make lock` from pyproject.toml. torch is left out: it is installed first, by version." } \
	  /^[^ ]/ { skip = /^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==|^# Made by/ } !skip' \
	  envs/requirements.lock > envs/requirements.new
	mv envs/requirements.new envs/requirements.lock

clean: ## delete the results and Snakemake's records, keep .venv
	rm -rf results .snakemake
