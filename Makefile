# `make check` is what CI runs. PYTHON picks the interpreter: make check PYTHON=.venv/bin/python
PYTHON ?= python

.PHONY: check lint types test slow bench

# On two cores, mypy fills the gaps that the tests' two workers leave.
check: lint
	$(MAKE) --no-print-directory --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) types test

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest -n 2 --dist loadfile

# What takes minutes, or needs a GPU (skipped with a reason where there is none).
slow:
	$(PYTHON) -m pytest -m "slow or gpu"

# Figures beside nudenet 3.4.2, in one run each.
bench:
	$(PYTHON) benchmarks/accuracy.py
	$(PYTHON) benchmarks/speed.py
