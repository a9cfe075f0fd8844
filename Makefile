# Each command sets up .venv first if it is missing or out of date. Without make: python tools/environment.py lab
PYTHON ?= python3
INSIDE = $(PYTHON) tools/environment.py

.PHONY: lab test test-all lint doctor site lock

lab:  ## JupyterLab on the first page; make lab ARGS="--no-browser" passes options on
	@$(INSIDE) lab $(ARGS)

test:  ## the tests
	@$(INSIDE) test $(ARGS)

test-all:  ## the tests, then the slow ones and those in a real browser
	@$(INSIDE) test-all $(ARGS)

lint:  ## format and lint checks
	@$(INSIDE) lint

doctor:  ## checks this installation, for a bug report
	@$(INSIDE) doctor $(ARGS)

site:  ## the course as a web site in build/site; make site ARGS="--serve" serves it here
	@$(INSIDE) site $(ARGS)

lock:  ## resolves requirements.lock anew
	@$(INSIDE) run python tools/lock.py
