# Each target does its own set-up: .venv, the locked packages, this project. Variables go to the scripts through the
# environment, where spaces and `<` need no quoting.
export MODEL BUDGET GOAL SHAPE OPTIONS PYTHON
BIN := .venv/bin

.PHONY: help tune test lint format bench bench-precision bench-loadgen bench-search sim-fidelity docs docs-check lock clean base dev sample-report
.DEFAULT_GOAL := help

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

tune: base ## tune BERT-base here, or MODEL=m.onnx [GOAL="min latency"] [SHAPE=sequence_length=128] [BUDGET=2m] [OPTIONS=--accept-noise]
	@scripts/tune

test: lint ## everything CI runs; the tests come last
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: dev ## ruff, mypy, and who may import whom
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: dev ## let ruff mend what it can
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

bench: dev ## the figures of README, measured on this machine
	@set -e; for figures in harness models grid; do $(BIN)/python bench/$$figures.py; done

bench-precision: dev ## int8 against the runtimes' own settings: MiniLM-L6 with trained weights, BERT-base, ResNet-50
	@$(BIN)/python bench/precision.py

bench-loadgen: dev ## the same point timed by infertune and by MLPerf LoadGen, interleaved
	@$(BIN)/python bench/loadgen.py

bench-search: dev ## how many trials each search strategy needs on recorded spaces, and auto without each of its ideas
	@set -e; for figures in search ablation limits whole_studies fronts thinking; do $(BIN)/python bench/$$figures.py; done

.PHONY: regret-plots
regret-plots: dev ## the regret curves in docs/strategies, from runs of every strategy (long, most of it gp)
	@rm -f runs/search.jsonl
	@$(BIN)/python bench/search.py bert resnet minilm card --noise 0.03 --seeds 20 -o runs/search.jsonl
	@$(BIN)/python bench/regrets.py runs/search.jsonl

.PHONY: bench-cloud-ai
bench-cloud-ai: dev ## infertune's search beside the vendor's, on a simulated Cloud AI 100 card
	@$(BIN)/python bench/cloud_ai.py

.PHONY: bench-protocol
bench-protocol: dev ## error rates of the measurement protocol over 300 simulated races (two minutes)
	@$(BIN)/python bench/protocol.py

.PHONY: bench-noise
bench-noise: dev ## flags and choices beside a program that takes one of two CPUs for half of the time (thirteen minutes)
	@$(BIN)/python bench/noise.py

.PHONY: notebooks
notebooks: dev ## execute the notebooks in examples/ and store what they print and draw
	@$(BIN)/python examples/refresh.py

sim-fidelity: dev ## how near the simulated Cloud AI 100 card comes to what was published, fitted or kept out
	@$(BIN)/python bench/sim/fidelity.py

docs: dev ## write the generated pages of docs/ and build the site into site/
	@for script in docs/generate_*.py; do $(BIN)/python $$script; done
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "site/index.html"

docs-check: dev ## pages are current, use our words, link somewhere; every command and snippet in them runs
	@$(BIN)/python -m pytest -q tests/test_docs.py tests/test_words.py tests/test_docs_snippets.py tests/test_site.py

sample-report: dev ## a real study of a small model here, and its reports in docs/sample/ [BUDGET=45s]
	@scripts/sample-report

lock: base ## resolve requirements/*.lock anew from pyproject.toml
	@$(BIN)/python requirements/lock.py

clean: ## remove .venv and caches; models/ and runs/ stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find src tests bench docs examples -name __pycache__ -type d -prune -exec rm -rf {} +

base:
	@scripts/setup base

dev:
	@scripts/setup dev
