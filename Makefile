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
.PHONY: demo test test-cores lint format docs install mutants asan tsan fuzz fuzz-core peers wheel \
	clean
.DELETE_ON_ERROR:

demo: install
	$(BIN)/python -m rewardshift.cli.demo

test: install
	$(BIN)/python -m pytest

# A core for each kind of processor takes as long to build as the native one; `make wheel` shares it.
PORTABLE := --no-build-isolation --no-deps --config-settings='build-dir=build/portable/{wheel_tag}' \
	--config-settings=cmake.define.REWARDSHIFT_CPU=portable

# The numeric tests on every core that this machine can run, training on all of PyTorch's.
test-cores: install
	rm -rf build/cores
	$(PIP) --target build/cores . $(PORTABLE)
	$(BIN)/python tests/cores.py build/cores

lint: install $(VENV)/lint.stamp
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --package rewardshift
	$(BIN)/clang-format --dry-run -Werror $(CPP)

format: $(VENV)/lint.stamp
	$(BIN)/ruff format --quiet
	$(BIN)/ruff check --quiet --fix
	$(BIN)/clang-format -i $(CPP)

docs: install $(VENV)/docs.stamp
	$(BIN)/python -m sphinx --builder html --fresh-env --nitpicky --fail-on-warning --quiet \
		docs build/docs

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

# Ten thousand altered GGUF files, each loaded and run: the suite has a few hundred.
fuzz: install
	$(BIN)/python tests/fuzz_gguf.py --n 10000

# llama.cpp's own programs, for benchmarks/peers.py.
peers: $(VENV)/build.stamp
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --preset peers
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build --preset peers

# A wheel and a source distribution that travel (Linux), in dist/.
wheel: install $(VENV)/wheel.stamp
	rm -rf dist build/unrepaired
	$(BIN)/python -m build --sdist --no-isolation
	$(BIN)/python -m pip wheel . --wheel-dir build/unrepaired $(PORTABLE)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist build/unrepaired/*.whl
	$(BIN)/python tools/check_wheel.py dist/*.whl

clean:
	rm -rf build dist $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(VENV)/build.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) 'pip>=25.1'
	$(PIP) --group build
	touch $@

$(VENV)/lint.stamp: $(VENV)/build.stamp
	$(PIP) --group lint
	touch $@

$(VENV)/docs.stamp: $(VENV)/build.stamp
	$(PIP) --group docs
	touch $@

$(VENV)/wheel.stamp: $(VENV)/build.stamp
	$(PIP) --group wheel
	touch $@

$(VENV)/install.stamp: $(VENV)/build.stamp $(SOURCES)
	@echo "Building rewardshift (llama.cpp takes a few minutes the first time)"
	$(PIP) --no-build-isolation --config-settings=cmake.define.REWARDSHIFT_WERROR=ON \
		--group torch '.[test,train]'
	touch $@
