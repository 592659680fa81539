# Each command makes what it needs by itself, and asks nothing.
# uv comes from the machine or, where there is none, from a virtual environment in .uv/
UV := $(shell command -v uv || echo .uv/bin/uv)
UV_PATH = PATH="$(abspath $(dir $(UV))):$$PATH"
SLUG = my_ml_project
ACCELERATOR ?= cpu

.PHONY: demo test lowest next check fix bench clean

demo: $(UV) ## bake the defaults into demo/ and train experiment=mon_experience there
	$(UV) run --quiet cookiecutter --no-input --overwrite-if-exists --output-dir demo .
	cd demo/$(SLUG) && $(UV_PATH) uv run python src/train.py experiment=mon_experience

test: $(UV) ## bake, and do in the baked project what its README says
	$(UV_PATH) uv run --quiet pytest

check: $(UV) ## lint, format, types, links in documents; the project as it lies; changes nothing
	$(UV) run --quiet ruff format --check --no-cache .
	$(UV) run --quiet ruff check --no-cache .
	$(UV) run --quiet ty check
	$(UV) run --quiet pytest -q tests/test_docs.py -k links

lowest: $(UV) ## the baked project's tests, on the oldest versions that it allows
	$(UV) run --quiet cookiecutter --no-input --overwrite-if-exists --output-dir demo .
	cd demo/$(SLUG) && $(UV_PATH) $(MAKE) lowest

next: $(UV) ## the baked project's tests, on the pre-releases of Hydra and OmegaConf
	$(UV) run --quiet cookiecutter --no-input --overwrite-if-exists --output-dir demo .
	cd demo/$(SLUG) && $(UV_PATH) $(MAKE) test-next

fix: $(UV) ## format, and mend what can be mended
	$(UV) run --quiet ruff format --no-cache .
	$(UV) run --quiet ruff check --no-cache --fix .

bench: $(UV) ## measure the speed; RUN_ARGS="--only steps", ACCELERATOR=gpu
	$(UV) run --quiet cookiecutter --no-input --overwrite-if-exists --output-dir demo .
	cd demo/$(SLUG) && $(UV_PATH) uv run --with matplotlib \
		python ../../benchmarks/bench.py . --accelerator $(ACCELERATOR) $(RUN_ARGS)

clean: ## remove what these commands made
	rm -rf .uv .venv demo .pytest_cache .hypothesis uv.lock

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/python -m pip install --quiet uv
