# make demo    set up .venv, train the quick model on ShapesOW, track, score, draw
# make test    set up .venv, run the tests
# make slow    the slower checks
# make bench   memory and time of the three strategies on the quick model's tower
#
# DETECTRON2=main builds upstream Detectron2 instead of v0.6, in an environment of its own.
# VENV=DIR     uses that environment; one that already has Detectron2 only gets the plugin.

PYTHON ?= python3
DETECTRON2 ?= v0.6
VENV ?= $(if $(filter main,$(DETECTRON2)),.venv-main,.venv)
OUTPUT ?= output/demo
RUN = $(VENV)/bin/python
READY = $(VENV)/.effowt_d2_ready

.PHONY: demo test slow bench setup clean

setup: $(READY)

$(READY): requirements.txt setup.py tools/setup/setup.sh tools/setup/install_detectron2.py tools/setup/detectron2.txt
	PYTHON=$(PYTHON) DETECTRON2=$(DETECTRON2) sh tools/setup/setup.sh $(VENV)
	touch $@

demo: $(READY)
	$(RUN) tools/run_demo.py --output $(OUTPUT)

test: $(READY)
	$(RUN) -m pytest -q

slow: $(READY)
	$(RUN) -m pytest -q -m slow

bench: $(READY)
	$(RUN) tools/benchmark.py --config-file configs/quick/shapes_ow_effowt.yaml --size 256 256

clean:
	rm -rf .venv .venv-main build *.egg-info
