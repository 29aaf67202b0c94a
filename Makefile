# Needs only Python 3.10+ and make; everything else goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
MINI := data/mini
RUN := work_dirs/mini
BEST = $$(ls -t $(RUN)/best_*.pth | head -1)

export NO_ALBUMENTATIONS_UPDATE = 1

.PHONY: help demo test test-fast test-all parity check fmt clean

help:
	@echo "make demo       environment, drawn data, a trained detector, its AP and pictures"
	@echo "make test       all tests but those of minutes; make test-fast: those under five seconds;"
	@echo "                make test-all: those of minutes too"
	@echo "make parity     table of the comparisons with the official implementations"
	@echo "make check      lint, types, spelling, fast tests; make fmt: format"

demo: $(VENV)/installed-demo
	$(PY) tools/make_mini_data.py --out $(MINI)
	$(PY) tools/train.py configs/picodet_lcnet_mini.py --work-dir $(RUN) --resume auto
	$(PY) tools/test.py configs/picodet_lcnet_mini.py $(BEST) --out $(RUN)/metrics.json
	$(PY) tools/predict.py configs/picodet_lcnet_mini.py $(BEST) \
		$(MINI)/detection/val --out-dir $(RUN)/pictures
	@echo "A trained detector: $(BEST); its numbers: $(RUN)/metrics.json"
	@echo "Pictures of scenes it never saw: $(RUN)/pictures"

# Two processes of one thread each: torch's own threads gain nothing on tests this small.
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

# Stamps, so that a changed dependency is installed and an interrupted install is repeated.
$(VENV)/installed-demo: WANTED = .
$(VENV)/installed: WANTED = .[dev]
$(VENV)/installed-demo $(VENV)/installed: pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --upgrade pip
	$(PY) -m pip install -c constraints.txt -e '$(WANTED)'
	touch $@

clean:
	rm -rf $(VENV) build work_dirs
