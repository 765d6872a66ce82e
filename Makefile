# make demo    set up .venv, train the quick model on ShapesOW, track, score, draw
# make test    set up .venv, run the tests, a file at a time in each of TESTS_AT_ONCE processes of one thread
# make lint    ruff, mypy, codespell, import-linter
# make slow    the slower checks
# make browser the report and written videos in a real browser: Chromium or Chrome from the PATH, or CHROME_BIN=FILE
# make docs    the documentation as a site below output/site, with --strict: a broken link or anchor is an error
# make bench   memory and time of the three strategies on the quick model's tower
# make experiments    run what is missing of configs/experiments.yaml (hours; JOBS=2: two at once)
# make results        docs/results.md and its figures from what has been run
#
# DETECTRON2=main builds upstream Detectron2 instead of v0.6, in an environment of its own.
# VENV=DIR     uses that environment; one that already has Detectron2 only gets the plugin.

PYTHON ?= python3
DETECTRON2 ?= v0.6
VENV ?= $(if $(filter main,$(DETECTRON2)),.venv-main,.venv)
OUTPUT ?= output/demo
JOBS ?= 1
TESTS_AT_ONCE ?= auto
BENCH ?= output/benchmark.json
RUN = $(VENV)/bin/python
SPACE = $() $()
READY = $(VENV)/.effowt_d2_ready

.PHONY: demo lint test slow browser docs bench experiments results setup clean

setup: $(READY)

$(READY): requirements.txt pyproject.toml setup.py $(wildcard projects/*/pyproject.toml) tools/setup/setup.sh \
		tools/setup/install_detectron2.py tools/setup/detectron2.txt
	PYTHON=$(PYTHON) DETECTRON2=$(DETECTRON2) sh tools/setup/setup.sh $(VENV)
	touch $@

demo: $(READY)
	$(RUN) tools/run_demo.py --output $(OUTPUT)

test: $(READY)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n $(TESTS_AT_ONCE) --maxprocesses 8 --dist loadfile

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/codespell
	PYTHONPATH=$(subst $(SPACE),:,$(wildcard projects/*)) $(VENV)/bin/lint-imports --no-logo

slow: $(READY)
	$(RUN) -m pytest -q -m slow

browser: $(READY)
	$(RUN) -m pytest -q -rs -m browser tests/report tests/video

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

bench: $(READY)
	$(RUN) tools/benchmark.py --config-file configs/quick/shapes_ow_effowt.yaml --size 256 256 --json $(BENCH)

experiments: $(READY)
	$(RUN) tools/run_experiments.py --jobs $(JOBS)

results: $(READY)
	$(RUN) tools/make_results.py

clean:
	rm -rf .venv .venv-main build *.egg-info
