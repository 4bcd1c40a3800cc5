# Everything happens in .venv: `make test` works on a bare machine with Python, a C++ compiler
# and make. The package is installed, not linked, so the tests exercise what a user gets; the
# build tree in build/ is kept, so only what changed is compiled again.

PYTHON ?= python3
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count())")
export PIP_DISABLE_PIP_VERSION_CHECK := 1

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet
SOURCES := CMakeLists.txt pyproject.toml README.md $(shell find bindings cmake cpp python \
	third_party -type f -not -path '*/__pycache__/*' -not -name '.*')
CPP := $(shell find bindings cpp fuzz -name '*.cpp' -o -name '*.h')

# `format` repairs what `lint` finds fault with, as far as tools can.
.PHONY: demo test lint format install mutants asan tsan fuzz-core clean
.DELETE_ON_ERROR:

demo: install
	$(BIN)/python -m rewardshift.demo

test: install
	$(BIN)/python -m pytest

lint: install $(VENV)/lint.stamp
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --package rewardshift
	$(BIN)/clang-format --dry-run -Werror $(CPP)

format: $(VENV)/lint.stamp
	$(BIN)/ruff format --quiet
	$(BIN)/ruff check --quiet --fix
	$(BIN)/clang-format -i $(CPP)

install: $(VENV)/install.stamp

mutants: install
	$(BIN)/python tests/mutants.py

# The sanitizers' presets, the suite on them. tsan: what has threads (see CONTRIBUTING.md).
asan: install
	tests/sanitizers/run asan-ubsan -m "not real_model"

tsan: install
	tests/sanitizers/run tsan -m "not real_model" -k "thread or fork or ctrl_c or walk"

SECONDS_EACH ?= 60
fuzz-core: install
	fuzz/run $(SECONDS_EACH)

clean:
	rm -rf build $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(VENV)/build.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) 'pip>=25.1'
	$(PIP) --group build
	touch $@

$(VENV)/lint.stamp: $(VENV)/build.stamp
	$(PIP) --group lint
	touch $@

$(VENV)/install.stamp: $(VENV)/build.stamp $(SOURCES)
	@echo "Building rewardshift (llama.cpp takes a few minutes the first time)"
	$(PIP) --no-build-isolation --config-settings=cmake.define.REWARDSHIFT_WERROR=ON '.[test]'
	touch $@
