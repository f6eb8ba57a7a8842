# Everything runs in .venv and build/, which `make setup` creates; see tools/workspace.py.

PYTHON ?= python3
# One worker per core; PYTEST_WORKERS=0 runs the tests in one process.
PYTEST_WORKERS ?= 2

# Traffic of the demo, the tests and the benchmarks stays on this machine and in its own domain.
in_workspace = . build/env.sh && export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST \
	ROS_DOMAIN_ID=$$(($$$$ % 100 + 1)) &&

.PHONY: help setup demo test test-fast soak faults lint bench docs clean

help:
	@echo 'make setup  create .venv and the colcon workspace (other targets do this if needed)'
	@echo 'make demo   map a rendered town and localize a second drive in it'
	@echo 'make test   run the tests; make test-fast runs those without nodes and commands'
	@echo "make soak   test the nodes under fault injection, 10,000 images each; ARGS='--count 500'"
	@echo "make faults kill, damage and fuzz everything, and count what happens; ARGS=--long"
	@echo 'make lint   run ruff, mypy, import-linter and the search for import cycles'
	@echo 'make bench  run the benchmarks; ARGS=--quick for small maps only'
	@echo 'make docs   update docs/cli.md and build the documentation as a site in build/site'
	@echo 'make clean  remove all generated files'

setup:
	@$(PYTHON) tools/workspace.py

demo: setup
	@$(in_workspace) python -m demo

test: setup
	@$(in_workspace) python -m pytest -q -n $(PYTEST_WORKERS) --dist loadfile

test-fast: setup
	@$(in_workspace) python -m pytest -q -n $(PYTEST_WORKERS) --dist loadfile -m 'not slow' test/unit

soak: setup
	@$(in_workspace) python -m soak $(ARGS)

faults: setup
	@$(in_workspace) python -m faults $(ARGS)

lint: setup
	@$(in_workspace) python -m ruff check .
	@$(in_workspace) python -m mypy
	@$(in_workspace) lint-imports
	@$(in_workspace) python tools/import_cycles.py

bench: setup
	@$(in_workspace) python -m benchmarks $(ARGS)

docs: setup
	@$(in_workspace) python tools/cli_page.py
	@$(in_workspace) NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict --quiet
	@echo 'The documentation is in build/site/index.html; its search needs a server, such as'
	@echo 'python3 -m http.server -d build/site'

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
