# The README's two commands. Everything is installed into .venv, on the first call and when pyproject.toml
# or the compiled code changes. One processor compiles the project's own code, for 50 s, while what it needs is fetched,
# and all compile the modules of Python, where pip would take one.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
EXTRAS := onnx balancing joblib slurm optuna docs dev
define REQUIREMENTS
import sys, tomllib
project = tomllib.load(open('pyproject.toml', 'rb'))['project']
print(*project['dependencies'], *sum(map(project['optional-dependencies'].get, sys.argv[1:]), []), sep='\n')
endef
export REQUIREMENTS
# one more than there are processors: some tests wait for processes that they started
WORKERS = $(shell $(PYTHON) -c 'import os; print(min(4, os.cpu_count() + 1))')

.PHONY: demo test check types style slow docs notebooks clean

demo: .venv/installed
	$(BIN)/python scripts/demo.py

# Plugins are named, as pytest reads the source of every package that brings one for its assertions: all of Hydra, of
# AnyIO and of Hypothesis, in each worker
test slow: export PYTEST_DISABLE_PLUGIN_AUTOLOAD = 1
test slow: export PYTEST_PLUGINS = xdist.plugin,pytest_timeout,_hypothesis_pytestplugin

test: .venv/installed
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: types style

types: .venv/installed
	$(BIN)/mypy

style: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

slow: .venv/for_slow
	$(BIN)/python -m pytest -m slow

# the site, into build/site; a warning is an error
docs: .venv/installed
	$(BIN)/sphinx-build -W --keep-going -q -c docs . build/site

# the tutorials as notebooks, into build/notebooks
notebooks: .venv/installed
	$(BIN)/python docs/write_notebooks.py

clean:
	rm -rf .venv build *.egg-info

.venv/installed: pyproject.toml $(wildcard */native/*.cpp */native/*.inl */*/native/*.cpp */*/native/*.inl compiled/*.h compiled/*.inl)
	$(PYTHON) -m venv .venv
	$(PIP) 'setuptools>=77'
	$(PIP) --no-deps --no-build-isolation -e . & compiling=$$!; \
	    $(BIN)/python -c "$$REQUIREMENTS" $(EXTRAS) > .venv/requirements.txt && \
	    $(PIP) --no-compile -r .venv/requirements.txt && wait $$compiling
	$(BIN)/python -W ignore -m compileall -qq -j 0 -x '/(tests?|testing|pip|mypyc?|fontTools|kornia|networkx|sqlalchemy)/' .venv/lib || true
	touch $@

.venv/for_slow: .venv/installed
	$(PIP) -e '.[ray,notebooks]'
	touch $@
