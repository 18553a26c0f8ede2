# `make demo` and `make test` do all their own set-up; nothing needs to be installed before.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
RUN := runs/demo
SONGS := runs/demo-music
DIGITS := runs/demo-digits

.PHONY: demo test check clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "seqvae needs Python 3.11 or later; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

# Train on sentences from Python's own documentation, then on songs composed here, and look at what
# was learnt.
demo: $(READY)
	rm -rf $(RUN) $(SONGS) $(DIGITS)
	$(BIN)/seqvae train demo --out $(RUN)
	@echo; echo "== sentences, and what comes back from 32 numbers"
	$(BIN)/seqvae reconstruct $(RUN) "Return the name of the file." "This method is not thread safe." "The default is to use the current directory."
	@echo; echo "== a walk between two sentences"
	$(BIN)/seqvae interpolate $(RUN) "Return the name of the file." "This method is not thread safe."
	@echo; echo "== sentences from nowhere: codes drawn from the prior"
	$(BIN)/seqvae sample $(RUN)
	@echo; echo "== what was measured"
	$(BIN)/seqvae evaluate $(RUN)
	@echo; echo "== songs: composed, learnt, and one morphed into another"
	$(BIN)/seqvae train demo-music --out $(SONGS)
	$(BIN)/seqvae interpolate $(SONGS) $(SONGS)/songs/song-00000.mid $(SONGS)/songs/song-00001.mid --out $(SONGS)/morph
	@echo; echo "== pictures: the same core on digits of 8 by 8 pixels, measured and drawn"
	$(BIN)/seqvae train digits --out $(DIGITS)
	$(BIN)/seqvae evaluate $(DIGITS) --fitted 50
	$(BIN)/seqvae draw $(DIGITS)
	@echo; echo "curves: $(RUN)/figures/curves.png   all figures: $(RUN)/report.json   card: $(RUN)/card.md"
	@echo "a song becomes another: $(SONGS)/morph/morph.mid   seen: $(SONGS)/morph/morph.png   told: $(SONGS)/morph/report.json"

test: $(READY)
	$(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist loadfile

# What CI checks beside the tests.
check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf .venv runs/demo runs/demo-music runs/demo-digits
