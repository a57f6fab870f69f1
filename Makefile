# lunar-tune: `make demo` shows the whole loop, `make test` checks it. Both set up what they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
READY := $(VENV)/.ready

.PHONY: demo test slow real lint fix docs bench nano clean

demo: $(READY)  ## harvest the fixture logs, train, judge, promote; a second time there is nothing to do
	@bash fixtures/demo.sh $(BIN)

test: $(READY) lint  ## lint, types and every test that needs no GPU and no running Ollama
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not gpu and not ollama and not slow"

slow: $(READY)  ## the minutes-long checks as well
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not gpu and not ollama"

real: .venv-real/.ready  ## logs that the real libraries write (1.2 GB of them in .venv-real), read whole
	OMP_NUM_THREADS=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 .venv-real/bin/python -m pytest tests/real

.venv-real/.ready: pyproject.toml tests/real/requirements.txt
	$(PYTHON) -m venv .venv-real
	.venv-real/bin/pip install --quiet --requirement tests/real/requirements.txt --editable .
	touch $@

lint: $(READY)  ## ruff, mypy strict, and generated documentation up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/cog --check README.md

fix: $(READY)  ## let ruff repair and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## rewrite the generated parts of the README
	$(BIN)/cog -r README.md

nano: $(READY)  ## make the nano base again (about an hour)
	$(BIN)/python -m fixtures.make_nano

clean:  ## remove what make made
	rm -rf $(VENV) .venv-real .demo

# torch first and alone. The default Linux wheel brings several GB of CUDA libraries: without a GPU take the CPU build,
# from a local wheel if pip knows one, else from PyTorch's own index.
TORCH := torch==2.13.0
TORCH_CPU := $(TORCH)+cpu
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	if [ "$$(uname)" = Darwin ] || command -v nvidia-smi >/dev/null; then $(BIN)/pip install --quiet $(TORCH); \
	else $(BIN)/pip install --quiet $(TORCH_CPU) 2>/dev/null || $(BIN)/pip install --quiet --index-url $(TORCH_CPU_INDEX) $(TORCH_CPU); fi
	$(BIN)/pip install --quiet --editable '.[peft,mlx,llamacpp]' --group dev
	$(BIN)/pip install --quiet --no-deps trl==1.16.0
	touch $(READY)
