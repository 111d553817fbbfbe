# `make demo` draws digits, `make check` checks an edit, `make test` checks everything. Each sets itself up in .venv.
# `make check` leaves out the tests that are marked slow and those of tests/behaviour. `make test-full` adds each kind of
# generator in each size and form, the slow rules of all variants, and 300 combinations. `make test-faults` runs the long
# form of the fault bench, and records its figures. Two processes test, and each computes on one thread, as with two they
# compete for two cores. `make web-runtime` fetches what the browser tests run on; without it they are skipped.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MINUTES ?= 2
WORKERS ?= --numprocesses 2 --dist loadfile --no-loadscope-reorder
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS)
ORT_WEB := $(shell sed -n 's/^ORT_WEB = "\(.*\)"/\1/p' ganzoo/exporting/web/__init__.py)

.PHONY: demo lint check test test-full test-faults web-runtime docs clean

demo: $(VENV)/demo.installed
	rm -rf demo
	$(BIN)/ganzoo train --variant projection-gan --dataset auto --minutes $(MINUTES) --out demo/run
	$(BIN)/ganzoo export demo/run --onnx --out demo/projection-gan.onnx
	$(BIN)/ganzoo sample demo/projection-gan.onnx -n 100 --out demo/digits.png
	@echo
	@echo "Look at demo/digits.png: 100 digits that the exported generator drew, without torch."
	@echo "Try next: $(BIN)/ganzoo train --variant projection-gan --minutes 5, then $(BIN)/ganzoo sample --labels 0-9 -n 100"

lint: $(VENV)/dev.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint
	$(PYTEST) -m "not slow and not full and not faults" --ignore=tests/behaviour

test: lint
	$(PYTEST)

test-full: WORKERS := --numprocesses 2 --dist worksteal
test-full: $(VENV)/dev.installed
	$(PYTEST) -m "not faults"

test-faults: $(VENV)/dev.installed
	$(BIN)/python benchmarks/faults.py

web-runtime: build/onnxruntime-web-$(ORT_WEB).tgz

build/onnxruntime-web-%.tgz:
	mkdir -p build
	npm pack --silent --pack-destination build onnxruntime-web@$*

docs: $(VENV)/dev.installed
	$(BIN)/python docs/update_tables.py

clean:
	rm -rf $(VENV) demo build *.egg-info

$(VENV)/%.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@
