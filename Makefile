# Every target makes its own environment: a machine with Python 3.11 to 3.13 is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
IN_TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo live test test-gpu check package quick soak soak-live chaos kills mutants bench clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		|| { echo "Sekisho needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 demo"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## the main job, in this process, with no broker: payments in, decisions and alerts out
	$(BIN)/python -m sekisho demo

live: $(READY)  ## the live path on a real broker (needs Java and Maven): workers, a kill, a takeover, the proof
	$(BIN)/python -m sekisho live

test: $(READY)  ## all tests, in two processes
	$(BIN)/python -m pytest $(IN_TWO)

test-gpu: $(READY)  ## the GPU's tests, on a machine that has one (installs sekisho[gpu])
	$(BIN)/python -m pip install --quiet --editable '.[gpu]'
	SEKISHO_REQUIRE_GPU=1 $(BIN)/python -m pytest tests/features/test_gpu.py tests/features/test_windows.py tests/sekisho/test_backends.py

quick: $(READY)  ## the tests to run before each commit
	$(BIN)/python -m pytest -x $(IN_TWO) --ignore=tests/laws

check: $(READY)  ## what continuous integration runs: style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

package: $(READY)  ## wheel and sdist, and the wheel run on each Python that is here, with the source out of reach
	SEKISHO_REQUIRE_PACKAGE=1 $(BIN)/python -m pytest -rs tests/test_packaging.py

soak: $(READY)  ## ten thousand random packs and streams against DuckDB and the specification, a million schedules
	$(BIN)/python -m pytest -m soak
	SEKISHO_SCHEDULES=500000 $(BIN)/python -m pytest -k schedule tests/streams/test_simulation.py

soak-live: $(READY)  ## a half year in 15 minutes on a real broker: the worker's rows, memory and descriptors come to rest
	$(BIN)/python -m bench.soak

kills: $(READY)  ## kills a worker that delivers fifty times, on a real broker: no alert lost, no gap
	SEKISHO_WEBHOOK_KILLS=50 $(BIN)/python -m pytest -s tests/streams/webhooks/test_webhook_worker.py -k killed

chaos: $(READY)  ## 200 kills, 30 zombies and 20 broker crashes on a real broker (Java and Maven), about 15 minutes
	SEKISHO_REQUIRE_KAFKA=1 SEKISHO_CHAOS=200,30,20 $(BIN)/python -m pytest -s tests/streams/test_chaos.py

mutants: $(READY)  ## breaks the engine in a hundred places; every break must be noticed
	$(BIN)/python -m bench.mutants

bench: $(READY)  ## the standard workload: every stage, the whole, and the peers; BENCH=--small is quicker
	$(BIN)/python -m pip install --quiet --requirement bench/requirements.txt
	$(BIN)/python -m bench --write $(BENCH)

clean:  ## removes the environment and what was built
	rm -rf $(VENV) dist out
