# Two commands on a fresh machine with Python 3.10 or newer, pip and make:
#   make demo   fine-tunes a tiny model until it breaks, with the doctor watching, then analyses its log
#   make test   runs every check
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := demo-run

#: transformers releases that the callback's tests pass on, besides the one in constraints.txt.
OLDER := 4.44.2 4.51.3 4.57.6
LIVE := tests/test_callback.py tests/test_probes.py tests/test_patient.py tests/test_distributed.py tests/test_tensorboard_live.py

#: A release of TensorBoard that the charts are looked at in, besides the one in constraints.txt.
TENSORBOARD := .venv-tensorboard-2.17.1

.PHONY: demo test check fast speed bench accuracy peers remedies cases docs messages site pictures versions sharded trackers fuzz clusters build pythons clean

demo: $(VENV)/.hf
	@rm -rf $(RUN)
	@echo "== A tiny model is fine-tuned in fp16 until it breaks, with LossDoctorCallback() watching"
	@$(BIN)/python examples/fp16_collapse.py $(RUN)
	@echo
	@echo "== Afterwards, from the log that it left: lossdoctor analyze $(RUN) --set gpu=\"RTX 3090\""
	@$(BIN)/lossdoctor analyze $(RUN) --set gpu="RTX 3090" --fail-on never

test: check $(TENSORBOARD)/.ready
	$(BIN)/python -m pytest -m "not slow" -n 2
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile

# What needs no training: style, types, layers.
check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fast: check
	$(BIN)/python -m pytest -m "not slow" -n 2

# What it costs: one table, for docs/evidence. About an hour; python benchmarks/speed.py --quick takes some minutes.
speed: $(VENV)/.dev
	$(BIN)/python benchmarks/speed.py --markdown docs/evidence/speed.md
bench: speed

# Simulated fine-tunes with faults of known onset: what is found, how late, and false alarms, beside rules in use elsewhere.
accuracy: $(VENV)/.dev
	$(BIN)/python benchmarks/accuracy.py --markdown docs/evidence/accuracy.md

# lossdoctor beside its peers, each in an environment of its own; FOLDERS are logs of yours, with labels or without. Half an hour.
peers: $(VENV)/.dev
	$(BIN)/python benchmarks/peers.py $(FOLDERS) --markdown docs/evidence/peers.md

# Broken fine-tunes, each trained again with the first remedy that is named: which of them are cured. Takes half an hour.
remedies: $(VENV)/.dev
	$(BIN)/python benchmarks/remedies.py --seeds 7 --markdown docs/evidence/remedies.md

# Writes the texts of tests/cases anew, for a reviewer to read.
cases: $(VENV)/.dev
	UPDATE_CASES=1 $(BIN)/python -m pytest tests/test_cases.py

# Writes the pages of docs/ anew from the docstrings.
docs: $(VENV)/.dev
	$(BIN)/python -m lossdoctor.explain docs

# Collects the texts that people are told, and brings the catalogues of lossdoctor/locale up to date.
messages: $(VENV)/.dev
	$(BIN)/python docs/messages.py

# The manual as a site, in build/site: a warning, a dead link or a dead anchor is an error.
site: $(VENV)/.dev
	$(BIN)/python -m sphinx -W --keep-going -q -d build/doctrees docs build/site
	@echo "build/site/index.html"

# Takes the pictures of docs/ anew, in a real browser.
pictures: $(VENV)/.dev
	$(BIN)/python docs/pictures.py

# What make test skips, since DeepSpeed is large: two processes that share a model by ZeRO.
sharded: $(VENV)/.dev
	DS_BUILD_OPS=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation setuptools deepspeed
	$(BIN)/python -m pytest tests/test_sharded.py tests/test_manual_live.py

# What make test skips as well, since six trackers are large: alerts in Weights & Biases, trackio, MLflow, Comet, ClearML, DVCLive.
trackers: .venv-trackers/.ready
	.venv-trackers/bin/python -m pytest -n 2 --dist loadgroup tests/test_trackers.py

.venv-trackers/.ready: pyproject.toml constraints.txt
	@echo "== Installing six trackers into $(@D)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[hf]" \
		wandb trackio mlflow comet_ml clearml dvclive pytest pytest-timeout pytest-xdist
	@touch $@

# And the fuzzer, since it takes an hour: every reader with so many inputs. What fails is kept in fuzz/failures.
RUNS ?= 100000
fuzz: .venv-fuzz/.ready
	.venv-fuzz/bin/python fuzz/every.py $(RUNS) fuzz/failures

.venv-fuzz/.ready: pyproject.toml constraints.txt
	@echo "== Installing atheris into $(@D)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[tensorboard]" atheris
	@touch $@

# And many runs on small clusters of Dask and Ray, and by loky; and logs in a bucket of S3.
clusters: .venv-clusters/.ready
	RAY_USAGE_STATS_ENABLED=0 .venv-clusters/bin/python -m pytest tests/test_clusters.py tests/test_remote.py

.venv-clusters/.ready: pyproject.toml
	@echo "== Installing Dask, Ray, loky and s3fs into $(@D)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -e . "dask[distributed]" ray loky duckdb \
		s3fs "moto[server]" aiohttp huggingface_hub pytest pytest-timeout hypothesis
	@touch $@

# The live doctor's tests on older releases of transformers, each in an environment of its own: make transformers-4.44.2
versions: $(OLDER:%=transformers-%)

# Releases before 4.50 load random states in a way that torch 2.6 refuses by default; the variable is torch's own.
transformers-%: .venv-transformers-%/.ready
	TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 .venv-transformers-$*/bin/python -m pytest -n 2 --dist loadfile $(LIVE)

.venv-transformers-%/.ready: pyproject.toml constraints.txt
	@echo "== Installing transformers $* into $(@D)"
	@$(PYTHON) -m venv $(@D)
	@grep -vE "^(transformers|tokenizers|huggingface_hub)==" constraints.txt > $(@D)/constraints.txt
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c $(@D)/constraints.txt -e ".[hf,tensorboard]" \
		"transformers==$*" pytest pytest-timeout pytest-xdist hypothesis
	@touch $@

# What is released: a wheel and a source archive, with their metadata checked as the index checks them.
build: .venv-build/.ready
	rm -rf dist
	.venv-build/bin/python -m build
	.venv-build/bin/twine check --strict dist/*
	.venv-build/bin/check-wheel-contents dist/*.whl

.venv-build/.ready:
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check build twine check-wheel-contents
	@touch $@

# The built wheel on the Pythons that are at hand, without torch: make python-3.13, or PYTHON_3.13=/where/it/is make python-3.13.
# It is pytest rather than python -m pytest, so that the installed package is tested and not this folder.
PYTHONS := 3.10 3.11 3.12 3.13
pythons: $(PYTHONS:%=python-%)

python-%: build
	rm -rf .venv-python-$*
	$(or $(PYTHON_$*),python$*) -m venv .venv-python-$*
	.venv-python-$*/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl \
		pytest pytest-timeout pytest-xdist hypothesis jsonschema pandas tensorboard "setuptools<80"
	PYTHONSAFEPATH=1 .venv-python-$*/bin/pytest -n 2 -m "not slow"

.venv-tensorboard-%/.ready: pyproject.toml
	@echo "== Installing tensorboard $* into $(@D)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -e . "tensorboard==$*" "setuptools<80"
	@touch $@

.PRECIOUS: .venv-transformers-%/.ready .venv-tensorboard-%/.ready

$(VENV)/.base:
	@echo "== Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.hf: $(VENV)/.base pyproject.toml constraints.txt
	@echo "== Installing into $(VENV): torch is large, this takes a minute or more"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[hf]"
	@touch $@

$(VENV)/.dev: $(VENV)/.hf
	@echo "== Installing what the checks need"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[all,dev]"
	@touch $@

clean:
	rm -rf $(VENV) .venv-transformers-* .venv-tensorboard-* .venv-python-* .venv-build .venv-peers .venv-trackers .venv-fuzz .venv-clusters fuzz/failures $(RUN) build dist .pytest_cache .mypy_cache .ruff_cache \
		.hypothesis .benchmarks .import_linter_cache
