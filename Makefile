# fleetmeter: `make demo` shows it, `make test` checks it. Both set up what they need first, once.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# Where this is set (many images do), each of the hundreds of processes that a test run starts would compile all it loads.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
VENV_PYTHON := $(VENV)/bin/python
PACKAGES := schemas producers native/fleetmeter_native stream_jobs billing sql deploy
NATIVE := native/Cargo.toml native/Cargo.lock $(shell find native/src -name '*.rs' 2>/dev/null)
CARGO := cd native && cargo

# Stamps say what has been done and when; make compares them with the files they depend on.
VENV_READY := $(VENV)/.made
DEPENDENCIES_READY := $(VENV)/.dependencies-installed
BUILD_READY := $(VENV)/.fleetmeter-built
LITELLM := .litellm
LITELLM_READY := $(LITELLM)/.installed
FOCUS := .focus
FOCUS_READY := $(FOCUS)/.installed
KAFKA_CLASSES := .kafka-classes.jsa

.PHONY: demo test test-long test-litellm test-focus test-installs check format bench chaos chaos-deterministic setup lock clean help

demo: setup engines ## Simulate a fleet, count its events exactly, and show the reconciliation (about a minute)
	@$(VENV)/bin/fleetmeter demo

# Each process has a Kafka and a ClickHouse of its own (about 1 GB), hence the limit.
PYTEST_PARALLEL := $(VENV_PYTHON) -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

test: setup engines $(KAFKA_CLASSES) ## Run the tests and print their coverage (some minutes)
	@$(PYTEST_PARALLEL) -m "not long" --cov --cov-report=term:skip-covered --cov-fail-under=90 $(ARGS)

test-long: setup engines $(KAFKA_CLASSES) ## Run the tests that take long: golden runs in every format, growing and scaling under load, kills, ...
	@$(PYTEST_PARALLEL) -m long $(ARGS)

check: setup ## Lint, check formats and types, and test the native core
	@$(VENV_PYTHON) -m ruff check .
	@$(VENV_PYTHON) -m ruff format --check .
	@$(VENV_PYTHON) -m mypy $(PACKAGES)
	@$(CARGO) fmt --check
	@$(CARGO) clippy --quiet --locked --all-targets -- -D warnings
	@$(CARGO) test --quiet --locked

format: setup ## Format Python and Rust
	@$(VENV_PYTHON) -m ruff check --fix-only --quiet .
	@$(VENV_PYTHON) -m ruff format .
	@$(CARGO) fmt

bench: setup engines ## Print the throughput of the native core and of a worker end to end
	@$(VENV_PYTHON) tests/bench/run.py $(ARGS)

chaos: setup engines ## Break everything on purpose and show that nothing is lost or counted twice (SCHEDULES=20 SEED=s)
	@$(VENV_PYTHON) tests/chaos/run.py --schedules $(or $(SCHEDULES),20) $(if $(SEED),--seed $(SEED)) $(ARGS)

chaos-deterministic: setup ## Play interleavings of the commit in one process, without engines (SCHEDULES=2000 SEED=s)
	@$(VENV_PYTHON) tests/chaos/run_deterministic.py $(if $(SCHEDULES),--schedules $(SCHEDULES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

setup: $(BUILD_READY) ## Make .venv with the pinned dependencies and the native core (does nothing when all is current)

# litellm forbids openai 3, would bring some forty packages, and had malicious releases: it stays out of .venv, and is
# pinned by hash in a folder of its own, which is put on the path for these tests alone.
test-litellm: setup engines $(LITELLM_READY) ## Test the LiteLLM callback, and openai's older client, with the real packages
	@PYTHONPATH=$(LITELLM) $(VENV_PYTHON) -m pytest tests/producers/gateway/test_litellm_callback.py \
		tests/producers/gateway/test_openai_client.py tests/producers/test_adapter_pages.py \
		tests/end_to_end/test_producers_to_rows.py $(ARGS)

test-installs: setup ## Install the producer alone with each Python, and let it work (PYTHONS="python3.12 /opt/py313/bin/python")
	@$(VENV_PYTHON) tests/installs/run.py $(or $(PYTHONS),python3.11 python3.12 python3.13)

# The validator needs Python 3.12 and a numpy of its own: it is a program in an environment of its own, pinned by hash.
test-focus: setup engines $(FOCUS_READY) ## Check invoices, the demo's too, as FOCUS rows with the specification's public validator
	@$(VENV)/bin/fleetmeter demo --events 50000 --focus $(FOCUS)/demo.csv
	@$(VENV_PYTHON) -m pytest tests/billing/invoices/test_focus_validator.py tests/billing/invoices/test_focus_rows.py $(ARGS)

lock: ## Pin the dependencies again (needs uv: pipx install uv)
	@command -v uv >/dev/null || { echo "make lock needs uv. Get it with: pipx install uv" >&2; exit 1; }
	@uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
		--python-version 3.11 --extra dev pyproject.toml -o requirements/dev.lock $(ARGS)
	@uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
		--python-version 3.11 requirements/litellm.in -o requirements/litellm.lock $(ARGS)
	@uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
		--python-version 3.12 requirements/focus.in -o requirements/focus.lock $(ARGS)

clean: ## Remove the environment, build products and caches (never .fleetmeter, the data of `fleetmeter up`)
	@rm -rf $(VENV) $(LITELLM) $(FOCUS) native/target native/fleetmeter_native/_core*.so *.egg-info build dist htmlcov .coverage .coverage.* \
		.pytest_cache .mypy_cache .ruff_cache .hypothesis $(KAFKA_CLASSES)
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: engines
engines:
	@requirements/prerequisites.sh engines

$(VENV_READY):
	@requirements/prerequisites.sh build
	@echo "Making $(VENV) ..."
	@"$$(requirements/prerequisites.sh python)" -m venv --clear $(VENV)
	@touch $@

# --require-hashes covers everything that is downloaded; fleetmeter itself is built from this tree, without a download.
$(DEPENDENCIES_READY): requirements/dev.lock $(VENV_READY)
	@echo "Installing the pinned dependencies (once) ..."
	@$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@

# Brokers of the tests start with half of the processor time.
$(KAFKA_CLASSES): deploy/fleetmeter_local/kafka/pom.xml $(BUILD_READY)
	@$(VENV_PYTHON) tests/engines/kafka_classes.py $@

$(LITELLM_READY): requirements/litellm.lock $(VENV_READY)
	@echo "Installing litellm, pinned, into $(LITELLM) (once) ..."
	@rm -rf $(LITELLM)
	@$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --target $(LITELLM) -r requirements/litellm.lock
	@touch $@

$(FOCUS_READY): requirements/focus.lock
	@requirements/prerequisites.sh focus >/dev/null
	@echo "Installing the FOCUS validator, pinned, into $(FOCUS) (once) ..."
	@"$$(requirements/prerequisites.sh focus)" -m venv --clear $(FOCUS)
	@$(FOCUS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/focus.lock
	@touch $@

$(BUILD_READY): pyproject.toml $(NATIVE) $(DEPENDENCIES_READY)
	@requirements/prerequisites.sh build
	@echo "Building the native core (once, about a minute) ..."
	@$(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@# The extension is optional for producers, so that pip succeeds without it; here it has to be there.
	@$(VENV_PYTHON) -c 'import fleetmeter_native' || { echo "The native core was not built. See why with: cd native && cargo build --release" >&2; exit 1; }
	@touch $@
