# Two commands do all set-up on a machine that has Python 3.11+ and make: `make quickstart`, `make test`.

PYTHON ?= python3
BIN := .venv/bin
SAMPLE := tests/data/sample
QUICKSTART := quickstart
EXTRAS := pipelines,trainer,paper,dev
# Threads that wait for each other by spinning starve a busy machine.
export OMP_NUM_THREADS ?= 1

.PHONY: help setup quickstart test lint types tests bench clean

help:
	@echo "make quickstart  environment, then the bundled sample becomes shards and 60 updates of training"
	@echo "make test        environment, lint, types, tests"
	@echo "make setup       environment only, in .venv, with every extra that the tests need"
	@echo "make bench       the measurements behind the numbers in the README"

setup: .venv/.ready

# uv installs the pinned set in seconds where pip takes minutes.
.venv/.ready: pyproject.toml deploy/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[$(EXTRAS)]' -c deploy/constraints.txt
	touch $@

quickstart: setup
	$(BIN)/beam run pipelines/ccnews.py --input '$(SAMPLE)/*.warc.gz' --output $(QUICKSTART)/news --overwrite
	$(BIN)/prep-shards vocabulary train --input $(QUICKSTART)/news --size 4096 --output $(QUICKSTART)/vocab.json
	$(BIN)/prep-shards encode --input $(QUICKSTART)/news --vocabulary $(QUICKSTART)/vocab.json \
		--held-out 0.05 --output $(QUICKSTART)/shards --overwrite
	$(BIN)/inspect-shards summary $(QUICKSTART)/shards
	$(BIN)/inspect-shards verify $(QUICKSTART)/shards
	rm -rf $(QUICKSTART)/run
	$(BIN)/torchrun --nproc-per-node=1 trainer/pretrain.py --recipe tiny --data $(QUICKSTART)/shards \
		--output $(QUICKSTART)/run --max-updates 60
	@echo
	@echo "made: documents $(QUICKSTART)/news, report $(QUICKSTART)/news/report.html,"
	@echo "      shards $(QUICKSTART)/shards, checkpoints and log.jsonl $(QUICKSTART)/run"

test: lint types tests

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy
	$(BIN)/mypy tests/benchmarks/*.py
	$(BIN)/mypy deploy/flink/local-cluster

tests: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

bench: setup
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[$(EXTRAS),bench]' -c deploy/constraints.txt
	failed=; for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file || failed="$$failed $$file"; done; \
	test -z "$$failed" || { echo "below a floor, or failed:$$failed"; exit 1; }

clean:
	rm -rf $(QUICKSTART) build dist *.egg-info
