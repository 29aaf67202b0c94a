# Needs only Python 3.10+ and make; all else is installed into $(VENV).
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
MINI := data/mini
RUN := work_dirs/mini
BEST = $$(ls -t $(RUN)/best_*.pth | head -1)

export NO_ALBUMENTATIONS_UPDATE = 1

.PHONY: help demo test test-fast test-all parity check fmt clean

help:
	@echo "make demo       draw data, train a small detector, print its AP, write pictures"
	@echo "make test       all tests except those that take minutes"
	@echo "make test-fast  only tests that take less than five seconds"
	@echo "make test-all   all tests"
	@echo "make parity     table of the comparisons with the official implementations"
	@echo "make check      lint, types, spelling, fast tests"
	@echo "make fmt        format the code"

demo: $(VENV)/installed-demo
	$(PY) tools/make_mini_data.py --out $(MINI)
	$(PY) tools/train.py configs/picodet_lcnet_mini.py --work-dir $(RUN) --resume auto
	$(PY) tools/test.py configs/picodet_lcnet_mini.py $(BEST) --out $(RUN)/metrics.json
	$(PY) tools/predict.py configs/picodet_lcnet_mini.py $(BEST) \
		$(MINI)/detection/val --out-dir $(RUN)/pictures
	@echo "Trained detector: $(BEST); its metrics: $(RUN)/metrics.json"
	@echo "Pictures of validation scenes: $(RUN)/pictures"

# Two processes with one thread each: torch's threads do not speed up small tests.
PYTEST = OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 -q

test: $(VENV)/installed
	$(PYTEST) -m "not gpu and not long"

test-fast: $(VENV)/installed
	$(PYTEST) -m "not gpu and not long and not slow"

test-all: $(VENV)/installed
	$(PYTEST) -m "not gpu"

parity: $(VENV)/installed
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 -m golden -q --parity

check: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/codespell
	$(MAKE) test-fast

fmt: $(VENV)/installed
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# Stamp files: a changed dependency is installed, and an interrupted install is repeated.
$(VENV)/installed-demo: WANTED = .
$(VENV)/installed: WANTED = .[dev]
$(VENV)/installed-demo $(VENV)/installed: pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --upgrade pip
	$(PY) -m pip install -c constraints.txt -e '$(WANTED)'
	touch $@

clean:
	rm -rf $(VENV) build work_dirs
