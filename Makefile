# SPDX-License-Identifier: Apache-2.0
# make demo   venv, install, resnet50.onnx, the main job, the check of its result; a split that pays
# make live   a classifier behind a link that loses 30 % of all packets, and one that slows down
# make site   docs/ as a web site in build/site, every link checked
# make test   venv, install, the whole test suite
# make test-packaging  wheel and sdist installed elsewhere: oldest and newest releases, an ARM host
# make lock   requirements.lock and constraints-min.txt, made again
PYTHON ?= python3
VENV   ?= .venv
BUILD  ?= build
BIN    := $(VENV)/bin
FUZZ_SECONDS ?= 60
LOCK   := pyproject.toml --quiet --upgrade --python-version 3.11 --no-annotate
FUZZED := packets part_manifest
FUZZED_PYTHON := packets conversations manifests

.PHONY: demo live test test-packaging lock lint types bench fuzz docs site experiments clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/installed-fuzz: $(VENV)/installed-dev
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	touch $@

demo: $(VENV)/installed
	mkdir -p $(BUILD)
	$(BIN)/python -m splitc.zoo resnet50 $(BUILD)/resnet50.onnx
	cd $(BUILD) && $(abspath $(BIN))/splitc compile resnet50.onnx --cut auto --target rpi4
	cd $(BUILD) && $(abspath $(BIN))/splitc verify resnet50.splitc
	$(BIN)/python -m splitc.zoo alexnet $(BUILD)/alexnet.onnx
	cd $(BUILD) && $(abspath $(BIN))/splitc cuts alexnet.onnx --codec 'quantize-boundary(bits=4)' \
	  --target rpi4 --bandwidth 1Mbit --rtt 20ms --results server

$(VENV)/installed-live: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[parity,plot,serve,torch]'
	touch $@

live: $(VENV)/installed-live
	mkdir -p $(BUILD)
	$(BIN)/python examples/lossy_wifi.py $(BUILD)
	$(BIN)/python examples/falling_link.py $(BUILD)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

test-packaging: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m packaging tests/packaging

lock: $(VENV)/installed-dev
	$(BIN)/uv pip compile $(LOCK) --constraints constraints.txt --universal --generate-hashes \
	  --custom-compile-command 'make lock' -o requirements.lock
	$(BIN)/uv pip compile $(LOCK) --resolution lowest-direct \
	  --custom-compile-command 'make lock' -o constraints-min.txt

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/graph_scale.py
	$(BIN)/python benchmarks/cut_scale.py
	$(BIN)/python benchmarks/plan.py
	$(BIN)/python benchmarks/main_job.py
	$(BIN)/python benchmarks/board_models.py
	$(BIN)/python benchmarks/compile_time.py
	$(BIN)/python benchmarks/cpu_vs_peers.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/kernels.py --limit 40
	$(BIN)/python benchmarks/arm_inner_loops.py
	$(BIN)/python benchmarks/si_nr_theory.py
	$(BIN)/python benchmarks/serve.py
	$(BIN)/python benchmarks/whole_frame.py
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/switch.py

fuzz: $(FUZZED:%=fuzz-runner-%) $(FUZZED_PYTHON:%=fuzz-python-%)

fuzz-runner-%: $(VENV)/installed-dev
	$(BIN)/python -m tests.fuzz.runner $* --seconds $(FUZZ_SECONDS) --corpus $(BUILD)/fuzz/runner-$*

fuzz-python-%: $(VENV)/installed-fuzz
	$(BIN)/python -m tests.fuzz.python $* --seconds $(FUZZ_SECONDS) --corpus $(BUILD)/fuzz/$*

docs: $(VENV)/installed-dev
	$(BIN)/python benchmarks/operators.py

site: $(VENV)/installed-dev
	$(BIN)/python docs/site/build_site.py $(BUILD)/site

experiments: $(VENV)/installed-dev
	$(BIN)/python benchmarks/si_nr_cifar10.py
	$(BIN)/python benchmarks/loss_plan.py
	$(BIN)/python benchmarks/bottlenetpp_cifar.py

clean:
	rm -rf $(VENV) $(BUILD) dist .pytest_cache .hypothesis .ruff_cache
