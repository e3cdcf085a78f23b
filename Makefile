# What one needs to run, test and change the project: make, a Python from 3.11 to 3.14, and nothing else installed before.
#   make PYTHON=/path/to/python3.12   where another one is to be taken than the newest python3.x that is found; 3.14 is
#   the last choice, since one package (immutables) has no wheel for it yet and needs a C compiler

CORES ?= all
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
# The environment that is there stays with its Python, unless another one is named. What is found must also run: tools
# that manage Pythons leave commands that only say that theirs is not installed.
ifndef PYTHON
PYTHON := $(shell for python in $(BIN)/python python3.13 python3.12 python3.11 python3.14; do \
  $$python -c '' 2> /dev/null && echo $$python && break; done)
endif
READY := $(VENV)/.ready-$(if $(PYTHON),$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null))

.DEFAULT_GOAL := help
.PHONY: help install demo test docs bench lint audit lock clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 18

install: $(READY) ## make .venv, with exactly the tested versions

$(READY): envs/requirements.lock envs/cuda.lock envs/torch.txt envs/install.py pyproject.toml
	$(or $(PYTHON),$(error No python3.11 to python3.14 is found; name one: make PYTHON=/path/to/python3.12)) envs/install.py $(VENV)
	touch $@

demo: $(READY) ## run config.yaml and docs/examples/two_signs.yaml: simulated cohorts, from volumes to reports
	$(BIN)/snakemake --workflow-profile workflow/profiles/local --cores $(CORES)
	$(BIN)/snakemake --workflow-profile workflow/profiles/local --cores $(CORES) --configfile docs/examples/two_signs.yaml
	@echo "The reports: $(CURDIR)/results/report/index.html and, of a disease that a group comparison does not see,"
	@echo "             $(CURDIR)/results-two-signs/report/index.html"

# A file of tests stays in one process, since some share a run that takes minutes.
test: $(READY) ## run all tests, a process a core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --dist loadfile --no-loadscope-reorder $(ARGS)

docs: $(READY) ## build the documentation with its examples: build/site; a warning is an error; needs no network
	MPLBACKEND=agg OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -c docs -d build/doctrees . build/site
	@echo "The documentation: $(CURDIR)/build/site/index.html"

bench: $(READY) ## measure speed and memory: results/benchmark/speed.tsv, docs/speed.md; ARGS=--quick tries it out
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(READY) ## style, types, layers, workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow/Snakefile workflow/rules
	$(BIN)/snakemake --lint

audit: $(READY) ## is what is installed what was locked, and nothing known to be malicious? needs no network
	$(BIN)/python envs/audit.py

lock: $(READY) ## write the lock anew from pyproject.toml; needs a network
	$(BIN)/python envs/lock.py

clean: ## delete the results, the built documentation and Snakemake's records, keep .venv
	rm -rf results results-two-signs .snakemake build/site build/doctrees docs/built
