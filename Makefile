# Only relative paths here: make cannot handle a checkout's folder with a space in its name.

.DEFAULT_GOAL := help
.PHONY: help run check test bench audit fuzz setup lock clean

export PYTHON

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' Makefile

# With exec, make's child is the program itself, and with the death signal it ends even if make is
# killed. ARGS is for the shell: make run ARGS="--cameras 4 --data-dir 'my data'".
run: ## set up, start everything with two virtual cameras, record; Ctrl-C stops it (ARGS="..." is handed on)
	@scripts/setup run && exec setpriv --pdeathsig TERM -- .venv/bin/streamwarden demo $(ARGS)

check: ## set up, then lint, types and unit tests: for daily work
	@scripts/setup dev && exec .venv/bin/python scripts/check.py daily

test: ## set up, then lint, types and every test that this machine can run (ONLY="lint unit" for a part)
	@scripts/setup dev && exec .venv/bin/python scripts/check.py $(ONLY)

bench: ## run benchmarks/*.py and show their ratios (ONLY="hook" for one)
	@scripts/setup dev && exec .venv/bin/python scripts/bench.py $(ONLY)

audit: ## look up the known holes of every pinned part (ARGS="--data DIR" for a copy of osv.dev's exports)
	@scripts/setup dev && exec .venv/bin/python scripts/audit.py $(ARGS)

fuzz: ## try every reader of foreign bytes with odd input (ARGS="--seconds 600 mp4 rtsp")
	@scripts/setup dev && exec .venv/bin/python scripts/fuzz.py $(ARGS)

setup: ## make .venv for development, and stop there
	@scripts/setup dev

lock: ## resolve setup.py and requirements*.in anew into requirements*.lock (UPGRADE=1 for newer versions)
	@scripts/lock $(if $(UPGRADE),--upgrade)

clean: ## remove .venv and caches; recordings in .data stay
	@rm -rf .venv build dist .mypy_cache .ruff_cache .hypothesis src/streamwarden.egg-info
