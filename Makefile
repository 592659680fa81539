# Each command makes what it needs by itself and asks nothing.
# uv comes from the machine or, where there is none, from a virtual environment in .uv/
UV := $(shell command -v uv || echo .uv/bin/uv)
WITH_UV = PATH="$(abspath $(dir $(UV))):$$PATH"
RUN = $(WITH_UV) uv run --quiet
DEMO = demo/my_ml_project
IN_DEMO = cd $(DEMO) && $(WITH_UV)
PYTHON_OF_DEMO = PROJECT=$(abspath $(DEMO)) $(WITH_UV) $(DEMO)/.venv/bin/python
MACHINERY = $(PYTHON_OF_DEMO) -m pytest $(CURDIR)/tests/machinery
CAMPAIGNS = $(addprefix $(CURDIR)/tests/machinery/test_,campaigns.py mlflow_outage.py)
ACCELERATOR ?= cpu

.PHONY: demo bake test extras machinery slow faults test-gpu check fix bench screenshots next lowest clean

demo: bake ## bake the defaults into demo/ and train experiment=mon_experience there
	$(IN_DEMO) uv run python src/train.py experiment=mon_experience

bake: $(UV) ## bake the defaults into demo/; its environment, logs and data stay
	cd $(DEMO) 2>/dev/null && rm -rf configs docs hydra_plugins src tests || true
	$(RUN) cookiecutter --no-input --default-config --overwrite-if-exists --output-dir demo .

test: $(UV) ## bake, and do in the baked projects what their READMEs say; not the slow tests
	$(RUN) pytest -n 2 -m "not demo and not environment and not slow"
	$(RUN) pytest -m demo
	$(MAKE) extras
	$(RUN) pytest -n 2 --dist loadscope -m "environment and not slow"
	$(MACHINERY) -n 2 -m "not slow"

extras: $(UV)
	$(IN_DEMO) uv sync --quiet --inexact --all-extras

machinery: bake extras ## the tests of src/runtime, in demo/
	$(MACHINERY) -n 2 -m "not slow"

slow: bake extras ## the tests that take minutes
	$(RUN) pytest -m slow
	$(MACHINERY) -m slow

faults: bake extras ## the campaigns: kills, outages, hostile files and answers; RUN_ARGS="--kills 30"
	$(PYTHON_OF_DEMO) tests/machinery/faults.py $(RUN_ARGS)
	$(PYTHON_OF_DEMO) -m pytest -s $(CAMPAIGNS)
	$(MACHINERY) -m slow -k twenty_kills
	$(RUN) pytest -m slow tests/test_answers.py

test-gpu: bake ## the tests of precision, compile and waiting, on this machine's GPU
	ACCELERATOR=gpu $(MACHINERY)/test_device.py

check: $(UV) ## lint, format, types, links in documents; the project as it lies; changes nothing
	$(RUN) ruff format --check --no-cache .
	$(RUN) ruff check --no-cache .
	$(RUN) ty check
	$(RUN) pytest -q tests/test_docs.py -k links

fix: $(UV) ## format, and fix what the linter can fix
	$(RUN) ruff format --no-cache .
	$(RUN) ruff check --no-cache --fix .

bench: bake ## measure the speed; RUN_ARGS="--only steps", ACCELERATOR=gpu
	$(RUN) cookiecutter --no-input --default-config --overwrite-if-exists \
		--output-dir demo/images . starting_point=images
	$(IN_DEMO) uv run --with matplotlib python ../../benchmarks/bench.py . \
		--images-project ../images/my_ml_project --accelerator $(ACCELERATOR) $(RUN_ARGS)

screenshots: bake extras ## take the pictures of docs/first-run.md; needs tmux and Chromium
	$(RUN) cookiecutter --no-input --default-config --overwrite-if-exists \
		--output-dir demo/images . starting_point=images
	$(DEMO)/.venv/bin/python docs/screenshots.py demo/images/my_ml_project

next: bake ## the baked project's tests, with the release candidates of Hydra and OmegaConf
	$(IN_DEMO) $(MAKE) next

lowest: bake ## the baked project's tests, with the oldest versions that it allows
	$(IN_DEMO) $(MAKE) lowest

clean: ## remove what these commands made
	rm -rf .uv .venv demo .pytest_cache .ruff_cache .hypothesis uv.lock

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/python -m pip install --quiet uv
