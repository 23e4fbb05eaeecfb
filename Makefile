# The way in. Needs Python 3.11 or later, pip and make; everything else is installed into .venv, from the hash-locked
# lists in requirements/. A stamp in .venv says that a list is installed, and is written only when it is.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# Taken as they were typed: a `$$` in a URL or a file name is not a variable of make. Read by sandbox/demo and tools/live.
override AUDIO := $(value AUDIO)
override URLS := $(value URLS)
override CONFIRM := $(value CONFIRM)
override PYTEST_ARGS := $(value PYTEST_ARGS)
override KEY_FILE := $(value KEY_FILE)
override BASE_URL := $(value BASE_URL)
override REGION := $(value REGION)
override WORKSPACE := $(value WORKSPACE)
override OUT := $(value OUT)
export AUDIO URLS CONFIRM PYTEST_ARGS KEY_FILE BASE_URL REGION WORKSPACE OUT

VENV := .venv
BIN := $(VENV)/bin
CODE := service sandbox tools tests benchmarks

upper = $(shell echo $(1) | tr a-z A-Z)
option = $(if $($(call upper,$(1))),--$(1) $($(call upper,$(1))))

.PHONY: help
help: ## say what there is
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r name text; do \
	  printf '  %-10s %s\n' "$$name" "$$text"; done

.PHONY: demo
demo: $(VENV)/.demo ## transcribe the bundled recordings end to end; AUDIO="a.wav b.mp3" takes your own
	@tools/demo.sh $(BIN)/python

.PHONY: test
test: $(VENV)/.dev ## run the tests that need nothing but Python, in some 3 minutes on 2 cores; PYTEST_ARGS="-k word" for some
	@tools/test.sh $(if $(PYTEST_ARGS),,--python-only)

.PHONY: test-all
test-all: $(VENV)/.dev tools ## install Java and Kafka and build Kubernetes if they are missing, then run every test; a skip is a failure
	@tools/install.sh cluster
	@tools/test.sh --no-skips

.PHONY: tools
tools: $(VENV)/.dev
	@tools/install.sh

.PHONY: cluster
cluster: $(VENV)/.dev tools ## prove the chart on a real Kubernetes control plane (Linux, root, Go); PYTEST_ARGS="-k word" for some
	@tools/install.sh cluster
	@eval "picked=($$PYTEST_ARGS)"; \
	  time $(BIN)/python -m pytest --no-skips --durations=0 --durations-min=1 tests/cluster "$${picked[@]}"

.PHONY: lint
lint: $(VENV)/.dev ## check style, types, import directions, sizes, the Dockerfile and the chart
	@tools/lint.sh

.PHONY: image
image: $(VENV)/.dev tools ## build the image on a stand-in base (root on Debian), measure it, and run it on Kafka and the simulator
	@$(BIN)/python -m tools.image $(if $(EXTRAS),--extras "$(EXTRAS)")
	@$(BIN)/python -m pytest -rP tests/image

.PHONY: image-test
image-test: $(VENV)/.dev tools ## build the image twice and compare, and run the unit tests under its Python, in some 10 minutes
	@$(BIN)/python -m tools.image.rebuild
	@$(BIN)/python -m tools.image.unit_tests

.PHONY: mutants
mutants: $(VENV)/.dev tools ## take each protection away and show that its test turns red
	@$(BIN)/python -m tools.mutants

.PHONY: chaos
chaos: $(VENV)/.dev ## crash workers for MINUTES=10 by a schedule from SEED=n; MODE=at_least_once BROKER=kafka NODES=1 COMPACT=0
	@$(BIN)/python -m tests.chaos $(foreach name,seed minutes mode broker nodes members burners compact,$(call option,$(name)))

.PHONY: kafka-matrix
kafka-matrix: $(VENV)/.dev tools ## run the contract suite and a storm of MINUTES=1 on each Kafka version; VERSIONS="3.9.1 4.4.0" for some
	@VERSIONS="$(VERSIONS)" MINUTES="$(MINUTES)" tools/kafka-matrix.sh

.PHONY: hostile
hostile: $(VENV)/.dev tools ## send N=4000 hostile inputs, half of them records, half answers, through a service on real Kafka; SEED=n
	@$(BIN)/python -m tests.hostile $(foreach name,n seed,$(call option,$(name)))

.PHONY: watch
watch: $(VENV)/.dev tools ## play every alert and panel on three replicas, real Kafka and Prometheus in some 25 minutes; OUT=folder draws
	@$(BIN)/python -m tests.watch $(if $(OUT),--out "$$OUT")

.PHONY: bench
bench: $(VENV)/.dev tools ## measure what a job and open jobs cost, and how late results are seen; some 10 minutes
	@$(BIN)/python -m benchmarks.overhead
	@$(BIN)/python -m benchmarks.inflight
	@$(BIN)/python -m benchmarks.poll

.PHONY: peers
peers: $(VENV)/.bench tools ## run the vendor's SDK and FastStream beside the service, with kills, in some 25 minutes
	@$(BIN)/python -m benchmarks.peers

.PHONY: live
live: $(VENV)/.demo ## ask the real provider what its documents leave open, for cents: KEY_FILE=path CONFIRM=yes OUT=table.md
	@$(BIN)/python -m tools.live

.PHONY: kafka
kafka: $(VENV)/.demo ## start real Apache Kafka on a free local port until Ctrl-C, and say how to look into a topic (needs Java 17 and Maven)
	@$(BIN)/python -m sandbox kafka

.PHONY: schemas
schemas: $(VENV)/.demo ## write schemas/ from the models
	@$(BIN)/python -m service.contract.schemas

.PHONY: docs
docs: $(VENV)/.dev ## write the pages of docs/, the dashboards and the alerts that come from the code
	@$(BIN)/python -m tools.generate_docs
	@$(BIN)/python -m tools.generate_monitoring
	@$(BIN)/python -m tools.generate_chart

.PHONY: lock
lock: ## resolve requirements/*.txt anew; UPGRADE=--upgrade takes the newest of everything
	@PYTHON="$$($(FIND_PYTHON))" tools/lock.sh $(UPGRADE)

.PHONY: clean
clean: ## remove .venv and what the tools left here
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* dist
	@find $(CODE) -name __pycache__ -prune -exec rm -rf {} +

# -- set-up ---------------------------------------------------------------------------------------------------------

FIND_PYTHON := tools/find-python.sh

$(VENV)/.python:
	@python="$$($(FIND_PYTHON))" && "$$python" -m venv --clear $(VENV) && touch $@

LISTS := requirements/runtime.txt requirements/demo.txt

$(VENV)/.demo: $(LISTS) $(VENV)/.python
	@tools/pip-install.sh $(LISTS) && touch $@

$(VENV)/.dev: $(LISTS) requirements/otel.txt requirements/dev.txt $(VENV)/.python
	@tools/pip-install.sh $(LISTS) requirements/otel.txt requirements/dev.txt && touch $(VENV)/.demo $@

$(VENV)/.bench: requirements/bench.txt $(VENV)/.dev
	@tools/pip-install.sh $(LISTS) requirements/otel.txt requirements/dev.txt requirements/bench.txt && touch $@
