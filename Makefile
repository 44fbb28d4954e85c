# make demo   make the environment, then run a real pool and watch a member fail and leave
# make explore  make the environment, then look for violations for half an hour: EXPLORE_SEEDS, EXPLORE_EXAMPLES
# make lab    make the environment, then run all scenarios on real agents; LAB_ARGS adds to `moot lab run`
# make test   make the environment, then run the whole suite
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# the suite's live tests wait far more than they compute, so more workers than cores pay
TEST_JOBS ?= 6
EXPLORE_SEEDS ?= 450
EXPLORE_EXAMPLES ?= 10000

# four runs at a time keep two cores half busy
LAB_JOBS ?= 4

.PHONY: demo test lab explore lint env lock clean docs

# the stamp is written last: an install that did not end is made anew, from nothing
env: $(VENV)/.stamp
$(VENV)/.stamp: pyproject.toml requirements.lock
	@version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); case "$$version" in \
	    3.11|3.12|3.13) ;; \
	    *) echo "moot needs Python 3.11 to 3.13, and $(PYTHON) is $${version:-not one};" \
	        "try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1 ;; \
	esac
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "$(PYTHON) lacks venv; on Debian the package python3-venv has it" >&2; exit 1; }
	@test -e $@ || { test ! -e $(VENV)/pyvenv.cfg || clear=--clear; set -x; $(PYTHON) -m venv $$clear $(VENV); }
	@rm -f $@
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

demo: env
	$(BIN)/moot demo

test: env
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal $(PYTEST_ARGS)

lab: env
	$(BIN)/moot lab run --all --jobs $(LAB_JOBS) $(LAB_ARGS)

# as much as a night has time for: every scenario under many seeds, and hypothesis with what nobody thought of
explore: env
	@status=0; \
	$(BIN)/moot sim explore --all --seeds $(EXPLORE_SEEDS) --keep-going --out explored || status=1; \
	MOOT_EXAMPLES=$(EXPLORE_EXAMPLES) $(BIN)/python -m pytest -q --timeout 0 tests/property/test_pool_machine.py || status=1; \
	exit $$status

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests bench

# make anew what is made in docs/: the reference of the HTTP API, that of the configuration
docs: env
	$(BIN)/python -m pytest -q tests/test_docs.py tests/api/test_reference.py -k is_made_of --rewrite

# resolve the versions that requirements.lock pins, for every supported Python at once
lock:
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --no-emit-index-url \
	    --no-emit-find-links --no-annotate --custom-compile-command "make lock" -o requirements.lock

clean:
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
