# make demo: install, draw a data set, train, test, predict.  make test: install and run the tests.
# make lint: style and types.  Nothing but Python 3.11+ and make is needed.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
DEMO := demo
# Torch's threads spin while they wait for each other; asleep they leave the cores to the loader.
export OMP_WAIT_POLICY = PASSIVE

.PHONY: demo test test-fast test-gpu lint install

install: $(VENV)/.installed

$(VENV)/.installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

# cityscapesscripts comes without its dependencies: one of them is an outdated backport of "typing".
$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps cityscapesscripts
	touch $@

demo: $(VENV)/.installed
	rm -rf $(DEMO)/run $(DEMO)/scores $(DEMO)/images
	$(RUN) -m data.scenes --calm --root $(DEMO)/streets
	$(RUN) train.py --recipe dff-scenes --data-root $(DEMO)/streets --run-dir $(DEMO)/run \
		--workers 1
	$(RUN) test.py --checkpoint $(DEMO)/run/best.pth --data-root $(DEMO)/streets --split test \
		--workers 2 --out $(DEMO)/scores
	$(RUN) predict.py $(DEMO)/streets/leftImg8bit/test --checkpoint $(DEMO)/run/best.pth \
		--nms --side-by-side --page --out $(DEMO)/images
	@echo
	@echo "report:   $(DEMO)/scores/report.html"
	@echo "curves:   $(DEMO)/run/curves.png"
	@echo "images:   $(DEMO)/images"
	@echo "page:     $(DEMO)/images/index.html  (open it in a browser)"

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses 2 --dist loadfile

# Without the tests that take more than about ten seconds each.
test-fast: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses 2 --dist loadfile -m "not slow"

# For somebody who has one or more GPUs: ends in a table, and in gpu-check.json to send to us.
test-gpu: $(VENV)/.installed-dev
	$(RUN) tests/gpu_check.py --out gpu-check.json

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/basedpyright --project pyproject.toml --pythonpath $(RUN) --level error
	$(VENV)/bin/ruff format --check
