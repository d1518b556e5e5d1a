# make demo and make test do all the set-up they need.

PYTHON ?= $(firstword $(foreach version,3.11 3.12 3.13,$(shell command -v python$(version))) python3)
BIN := .venv/bin
SNAKEMAKE := $(BIN)/snakemake --cores all
UV_COMPILE := $(BIN)/uv pip compile --generate-hashes --no-header --quiet \
	--python-version 3.11 --python-platform x86_64-manylinux_2_28
# Libraries used only for comparison in the benchmarks go to a separate folder; if missing, their rows say so.
define BENCH
-[ -d .venv-bench ] || $(BIN)/pip install --quiet --no-deps --require-hashes --target .venv-bench --requirement bench/requirements.lock
PYTHONPATH=.venv-bench $(BIN)/python -m bench
endef

.PHONY: demo test lint format bench bench-results adoption docs lock clean

demo: .venv/installed ## run the whole pipeline on synthetic data
	$(SNAKEMAKE) --configfile config/demo.yaml
	@echo
	@cat results/demo/comparison/table.md

test: .venv/installed-dev ## run all tests, several files in parallel
	$(BIN)/pytest -n auto --dist loadfile

lint: .venv/installed-dev ## check code, rules and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/experiment.yml
	$(BIN)/mypy
	$(BIN)/snakemake --lint --configfile config/demo.yaml

format: .venv/installed-dev ## format code and rules
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

bench: .venv/installed ## run the benchmarks against their bounds and common alternatives
	$(BENCH)

bench-results: .venv/installed ## the same, and save the results in bench/RESULTS.md
	$(BENCH) --write

adoption: .venv/installed ## after a change of code that leaves artifacts the same: write the hashes that `ich adopt` knows
	$(BIN)/python -c 'from ich.base.adoption import write_release; write_release(".")'

docs: .venv/installed ## regenerate the generated pages and the picture of the rule graph
	$(BIN)/python -m ich.config
	$(BIN)/snakemake --configfile config/demo.yaml --rulegraph dot | dot -Tsvg > docs/rulegraph.svg

lock: .venv/installed-dev ## pin the newest versions that pyproject.toml allows
	$(BIN)/pip install --quiet uv
	$(UV_COMPILE) pyproject.toml --output-file requirements.lock
	$(UV_COMPILE) pyproject.toml --output-file requirements-dev.lock --group dev --constraint requirements.lock
	$(UV_COMPILE) --group bench --no-deps --output-file bench/requirements.lock
	sed -i '/^      - /d' envs/ich.yaml
	sed -n 's/^\([a-z0-9_.-]*==[^ ]*\).*/      - \1/p' requirements.lock >> envs/ich.yaml

clean: ## remove the demo's data and results
	rm -rf results/demo data/demo

.venv/installed: requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	touch $@

.venv/installed-dev: requirements-dev.lock .venv/installed
	$(BIN)/pip install --quiet --require-hashes --requirement requirements-dev.lock
	touch $@
