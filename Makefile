# make            what there is
# make demo       the main job on the sample archive
# make test       the tests
#
# Only relative paths below, so that a folder with a space in its name is as good as any other.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The interpreter for the virtual environment; empty: the first fitting one is taken.
PYTHON ?=
# More arguments for pytest: make test ARGS='-k mbox -x'
ARGS ?=

RUN := .venv/bin/python
READY := .venv/.ready

.PHONY: help setup demo test pure lint lab soak bench fuzz samples docs lock clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)/  make \1\t\2/p' Makefile | expand -t 16

setup: $(READY)  ## make .venv with the locked packages (every other target does it by itself)

$(READY): pyproject.toml requirements.lock .ci/setup hatch_build.py $(wildcard mailpipe/native/*.pyx mailpipe/native/*.pxd)
	@PYTHON='$(PYTHON)' sh .ci/setup

demo: $(READY)  ## run samples/archive.mbox through samples/quickstart.toml into an SMTP server of its own
	@$(RUN) samples/scripts/demo.py

test: $(READY)  ## run the tests, the lab aside
	@$(RUN) -m pytest -q -n auto -m 'not lab' $(ARGS)

pure: $(READY)  ## run the tests of the message model without its compiled part
	@MAILPIPE_PURE=1 $(RUN) -m pytest -q -n auto tests/wire tests/codec tests/fields tests/parser tests/message tests/writer $(ARGS)

lint: $(READY)  ## ruff and mypy --strict
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy --strict

lab: $(READY)  ## run the tests against real servers (needs root and what .ci/setup-lab installs)
	@$(RUN) -m pytest -q -m lab tests/lab $(ARGS)

soak: $(READY)  ## kill -9 a thousand times on the way through the queue, then account for every message (minutes)
	@$(RUN) tests/soak/soak.py $(ARGS)

bench: $(READY)  ## measure mailpipe and its SMTP client beside their peers (ARGS='--real FOLDER' for real mail)
	@sh .ci/bench $(ARGS)

fuzz: $(READY)  ## look for messages that break an invariant, for minutes
	@HYPOTHESIS_PROFILE=fuzz $(RUN) -m pytest -q -n auto --timeout 1800 tests/message/test_lossless.py tests/message/test_edit.py tests/message/test_lines.py tests/native \
		tests/writer tests/codec tests/fields
	@$(RUN) -c 'import atheris' 2>/dev/null || $(RUN) -m pip install --quiet atheris || true
	@if $(RUN) -c 'import atheris' 2>/dev/null; then mkdir -p out/fuzz && $(RUN) tests/fuzz/fuzz_parse.py -max_total_time=300 -artifact_prefix=out/ out/fuzz samples/mail; \
	else echo 'fuzz       atheris has no build for this Python: its part is left out'; fi

samples: $(READY)  ## write the sample letters again, after editing samples/scripts/letters/
	@$(RUN) samples/scripts/make_archive.py

docs: $(READY)  ## write the reference in docs/ again, from the components themselves
	@$(RUN) .ci/components.py

lock:  ## resolve the dependencies again into requirements.lock (needs uv)
	@sh .ci/lock

clean:  ## remove what the other targets made
	rm -rf .venv out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find mailpipe plugins samples tests -name __pycache__ -type d -prune -exec rm -rf {} +
