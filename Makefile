# `make demo` draws digits, `make check` checks an edit, `make test` checks everything. Each sets itself up in .venv.
# `make check` leaves out the tests that are marked slow and those of tests/behaviour. `make test-full` adds each kind of
# generator in each size and form, the slow rules of all variants, and 300 combinations. `make test-faults` runs the long
# form of the fault bench, and records its figures. Two processes test, and each computes on one thread, as with two they
# compete for two cores. `make web-runtime` fetches what the browser tests run on; without it they are skipped.
# `make test-lowest` and `make test-highest` test with the lowest and the newest versions of what ganzoo needs, beside the
# torch of .venv: TESTS="tests/runs" tests a part. `make fuzz SECONDS=60`, `make mutants` and `make audit` are seldom run.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MINUTES ?= 2
WORKERS ?= --numprocesses 2 --dist loadfile --no-loadscope-reorder
TESTS ?= tests
SECONDS ?= 60
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS)
ORT_WEB := $(shell sed -n 's/^ORT_WEB = "\(.*\)"/\1/p' ganzoo/exporting/web/__init__.py)

.PHONY: demo lint check test test-full test-faults test-lowest test-highest fuzz mutants audit web-runtime docs clean

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

# uv is asked for the lowest versions, as pip cannot. torch stays, for other builds of it are several gigabytes.
test-lowest: build/lowest.installed
test-highest: build/highest.installed
test-lowest test-highest: test-%:
	OMP_NUM_THREADS=1 build/$*/bin/python -m pytest -m "not slow and not full and not faults" $(TESTS)

build/%.installed: pyproject.toml $(VENV)/dev.installed
	$(PYTHON) -m venv --clear build/$*
	$(BIN)/python -m pip list --format=freeze | grep -E "^torch(vision)?==" > build/torch.txt
	build/$*/bin/python -m pip install --quiet uv
	UV_FIND_LINKS="$$PIP_FIND_LINKS" build/$*/bin/uv pip install --quiet --python build/$*/bin/python --constraint build/torch.txt \
		--resolution $(if $(filter lowest,$*),lowest-direct,highest) --editable ".[dev]"
	touch $@

fuzz: $(VENV)/dev.installed
	test -d build/atheris || $(BIN)/python -m pip install --quiet --target build/atheris atheris
	PYTHONPATH=build/atheris $(BIN)/python tests/faults/fuzz.py all --seconds $(SECONDS)

mutants: $(VENV)/dev.installed
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults/mutation.py

audit: $(VENV)/dev.installed
	test -x build/audit/bin/pip-audit || { $(PYTHON) -m venv build/audit && build/audit/bin/python -m pip install --quiet pip-audit; }
	$(BIN)/python -m pip list --format=freeze --exclude-editable | sed 's/+.*//' > build/audit/installed.txt
	timeout 120 build/audit/bin/pip-audit --strict --disable-pip --no-deps --timeout 15 --progress-spinner off \
		-r build/audit/installed.txt || { echo "make audit: a package is vulnerable, or the service that knows does not answer (see above)"; exit 1; }

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
