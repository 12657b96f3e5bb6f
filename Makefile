# One command from a fresh clone: `make demo`. It needs python3 (3.11 or newer, with venv and headers), g++ and make.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help
# The installed package is what runs, whatever the caller has on the path.
unexport PYTHONPATH

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := $(shell find src -not -path '*__pycache__*' -not -name '*.so')

# A build of the package with other CMake options, beside the installed one: $(call variant,name,OPTION)
variant = rm -rf build/$(1)/site && $(PIP) install --quiet --no-deps --target build/$(1)/site \
	--config-settings=cmake.define.$(2)=ON --config-settings=build-dir=build/$(1)/cmake \
	--config-settings=install.strip=false .
# $(call say,text): one line on what takes a while; elapsed: seconds since the recipe line began
say = echo "==> $(1)"; SECONDS=0
elapsed = $${SECONDS} s

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'
	@echo "  variables: PYTHON=$(PYTHON) (interpreter for .venv), JOBS=$(JOBS) (test processes)"

.PHONY: demo
demo: $(VENV)/.package ## install, then train one network in several arithmetics side by side
	$(BIN)/slipstick compare

.PHONY: install
install: $(VENV)/.package ## create .venv with the package and everything that develops it

.PHONY: develop
develop: $(VENV)/.requirements ## editable install: sees changed Python at once, compiles only changed C++
	@$(PIP) install --quiet cmake ninja
	@$(call say,compiling and installing Slipstick in place: one to three minutes the first time); \
	$(PIP) install --quiet --no-build-isolation --no-deps --config-settings=editable.rebuild=false \
	--config-settings=build-dir=build/develop -e .; echo "    done in $(elapsed)"
	@rm -f $(VENV)/.package

.PHONY: test
test: $(VENV)/.package ## install, then run the tests against the installed package
	@$(BIN)/python -m pytest -n $(JOBS)

.PHONY: test-long
test-long: $(VENV)/.package ## tests of millions of vectors, samples and codes, which `make test` leaves out (an hour)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m long

.PHONY: operators
operators: $(VENV)/.package ## write docs/operators.md from PyTorch's databases of samples (ten minutes)
	@$(BIN)/python tests/aten/database/page.py

.PHONY: lint
lint: $(VENV)/.requirements ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: docs
docs: $(VENV)/.package ## build the site into build/site; a link that leads nowhere is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "==> build/site/index.html"

.PHONY: sanitize
sanitize: $(VENV)/.requirements ## kernel tests with AddressSanitizer and UndefinedBehaviorSanitizer
	@$(call say,compiling the kernels with sanitizers (a few minutes)); $(call variant,sanitize,SLIPSTICK_SANITIZE); echo "    built in $(elapsed)"
	@PYTHONPATH=build/sanitize/site ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	$(BIN)/python -m pytest -p no:cacheprovider tests/kernels

.PHONY: emulate-avx512
emulate-avx512: $(VENV)/.requirements ## kernel tests with the AVX-512 kernels emulated, on any x86-64 with AVX2
	@echo '#include <simde/x86/avx512.h>' | g++ -E -x c++ - > /dev/null 2>&1 || \
	{ echo "emulate-avx512: the SIMDe headers are missing; run: sudo apt install libsimde-dev" >&2; exit 1; }
	@$(call say,compiling the AVX-512 kernels through SIMDe (a few minutes)); $(call variant,emulate,SLIPSTICK_EMULATE_AVX512); echo "    built in $(elapsed)"
	@PYTHONPATH=build/emulate/site $(BIN)/python -m pytest -p no:cacheprovider -n $(JOBS) tests/kernels

.PHONY: clean
clean: ## remove builds and caches; keep .venv and runs
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis $(VENV)/.package
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## clean, and remove .venv
	rm -rf $(VENV)

.PHONY: machine
machine:
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON): not found; run: sudo apt install python3 python3-venv python3-dev, or make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "$(PYTHON) is $$($(PYTHON) -V): Slipstick needs 3.11 or newer; install one and run: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || \
	{ echo "$(PYTHON): the venv module is missing; run: sudo apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import pathlib, sys, sysconfig; sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())' || \
	{ echo "$(PYTHON): Python.h is missing; run: sudo apt install python3-dev" >&2; exit 1; }
	@command -v g++ > /dev/null || { echo "g++: not found; run: sudo apt install g++" >&2; exit 1; }

# The pinned requirements come first: the package alone asks for any torch and would fetch the newest, gigabytes large.
$(VENV)/.requirements: requirements-dev.txt | machine
	@$(call say,creating $(VENV)); $(PYTHON) -m venv $(VENV); echo "    done in $(elapsed)"
	@$(call say,installing requirements-dev.txt: PyTorch and friends; unpacking them is silent and takes a minute or three); \
	$(PIP) install -r requirements-dev.txt; echo "    done in $(elapsed)"
	@touch $@

$(VENV)/.package: $(VENV)/.requirements pyproject.toml CMakeLists.txt README.md LICENSE $(SOURCES) | machine
	@$(call say,compiling and installing Slipstick: one to three minutes); \
	$(PIP) install '.[train]' | grep --line-buffered -v '^Requirement already satisfied'; echo "    done in $(elapsed)"
	@touch $@
