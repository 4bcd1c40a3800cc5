# Everything happens in .venv: `make demo` and `make test` work on a bare machine with Python, a
# C++ compiler and make. The package is installed, not linked, so the tests exercise what a user
# gets; the build tree in build/ is kept, so only what changed is compiled again.
#
# A stamp in .venv stands for what is installed there, and each target names the least it needs:
# whoever wants to see the demo does not wait for PyTorch, which only the tests need.

PYTHON ?= python3
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count())")
export PIP_DISABLE_PIP_VERSION_CHECK := 1

VENV := .venv
BIN := $(VENV)/bin
# Most of what is installed is never imported; Python compiles what is, when it is.
PIP := $(BIN)/python -m pip install --quiet --no-compile
SOURCES := CMakeLists.txt pyproject.toml README.md $(shell find bindings cmake cpp python \
	third_party -type f -not -path '*/__pycache__/*' -not -name '.*')
CPP := $(shell find bindings cpp fuzz -name '*.cpp' -o -name '*.h')

# `format` repairs what `lint` finds fault with, as far as tools can.
.PHONY: demo test test-cores clients lint format docs install mutants asan tsan fuzz fuzz-core \
	fuzz-http load dials peers wheel clean
.DELETE_ON_ERROR:
.NOTPARALLEL: # two pips must not write one .venv at the same time; compiling is parallel anyway

demo: install
	$(BIN)/rewardshift demo

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest

# A core for each kind of processor takes as long to build as the native one; `make wheel` shares it.
PORTABLE := --no-build-isolation --no-deps --config-settings='build-dir=build/portable/{wheel_tag}' \
	--config-settings=cmake.define.REWARDSHIFT_CPU=portable

# The numeric tests on every core that this machine can run, training on all of PyTorch's.
test-cores: $(VENV)/test.stamp
	rm -rf build/cores
	$(PIP) --target build/cores . $(PORTABLE)
	$(BIN)/python tests/cores.py build/cores

# Clients that nobody here wrote, and llama.cpp's tests of its server, against ours; they are many
# packages, in an environment of their own.
CLIENTS := build/clients
clients: $(CLIENTS)/python.stamp $(CLIENTS)/node.stamp
	$(CLIENTS)/venv/bin/python -m pytest -c clients/pytest.ini clients
	$(CLIENTS)/venv/bin/python -m clients.llama_server

lint: install $(VENV)/lint.stamp
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --package rewardshift
	$(BIN)/mypy tools
	$(BIN)/clang-format --dry-run -Werror $(CPP)

format: $(VENV)/lint.stamp
	$(BIN)/ruff format --quiet
	$(BIN)/ruff check --quiet --fix
	$(BIN)/clang-format -i $(CPP)

docs: install $(VENV)/docs.stamp
	$(BIN)/python -m sphinx --builder html --fresh-env --nitpicky --fail-on-warning --quiet \
		docs build/docs

install: $(VENV)/install.stamp

mutants: $(VENV)/test.stamp
	$(BIN)/python -m tests.mutants

# The sanitizers' presets, the suite on them. tsan: what has threads (see CONTRIBUTING.md).
asan: $(VENV)/test.stamp
	tests/sanitizers/run asan-ubsan -m "not real_model"

tsan: $(VENV)/test.stamp
	tests/sanitizers/run tsan -m "not real_model" -k "thread or fork or ctrl_c or walk"

SECONDS_EACH ?= 60
fuzz-core: $(VENV)/build.stamp
	fuzz/run $(SECONDS_EACH)

# Ten thousand altered GGUF files, each loaded and run: the suite has a few hundred.
fuzz: $(VENV)/test.stamp
	$(BIN)/python tests/fuzz_gguf.py --n 10000

# A hundred thousand altered requests to the server, over a tiny model.
fuzz-http: $(VENV)/test.stamp
	$(BIN)/python tests/fuzz_http.py --n 100000

# Two hundred clients for five minutes, many of whom misbehave.
load: $(VENV)/test.stamp
	$(BIN)/python tests/load_http.py --clients 200 --seconds 300

# Trains the package's dials that are not there yet, chooses strengths, measures; hours, and resumable.
TARGETS ?= smollm2
dials: $(VENV)/test.stamp
	$(BIN)/python benchmarks/dials.py train calibrate choose measure time report --targets $(TARGETS)

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

# What builds.
$(VENV)/build.stamp: pyproject.toml
	@echo "Setting up .venv"
	$(PYTHON) -m venv $(VENV)
	$(PIP) 'pip>=25.1'
	$(PIP) --group build
	touch $@

# The package and what it needs to run.
$(VENV)/install.stamp: $(VENV)/build.stamp $(SOURCES)
	@echo "Building rewardshift (llama.cpp takes a few minutes the first time)"
	$(PIP) --no-build-isolation --config-settings=cmake.define.REWARDSHIFT_WERROR=ON '.[demo]'
	touch $@

# What the tests need besides. The package is there by now, in this very version, so pip only adds
# what its extras name; a changed source builds it anew, but brings nothing of this again.
$(VENV)/test.stamp: pyproject.toml | $(VENV)/install.stamp
	@echo "Installing what the tests need (PyTorch and its like: 1.4 GB)"
	$(PIP) --group torch 'rewardshift[test,train]'
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

# The wheel is of the build tree that the package was built in, so this compiles nothing again.
$(CLIENTS)/python.stamp: clients/requirements.txt clients/constraints.txt $(VENV)/install.stamp
	@echo "Installing the clients (900 MB)"
	$(PYTHON) -m venv $(CLIENTS)/venv
	rm -f $(CLIENTS)/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(CLIENTS) \
		--config-settings=cmake.define.REWARDSHIFT_WERROR=ON .
	$(CLIENTS)/venv/bin/python -m pip install --quiet --no-compile \
		--constraint clients/constraints.txt --requirement clients/requirements.txt \
		"$$(echo $(CLIENTS)/*.whl)[llm,serve]"
	$(CLIENTS)/venv/bin/python -m pip install --quiet --no-deps --force-reinstall $(CLIENTS)/*.whl
	touch $@

$(CLIENTS)/node.stamp: clients/node/package.json clients/node/package-lock.json
	mkdir -p $(CLIENTS)/node
	cp $^ $(CLIENTS)/node
	if command -v npm; then npm ci --prefix $(CLIENTS)/node --no-audit --no-fund; fi
	touch $@
