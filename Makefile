PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TEACHER := foundation/tasks/point_ctrl/assets/teacher/best_model.pt
DEMO := --max_iterations 800 agent.algorithm.phase1_iterations=60

.PHONY: demo test test-slow check format bench teacher install

install: $(INSTALLED)

# torch first: the pinned version has to be there before anything that depends on torch.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

# Distil a student from the packaged teacher at reference scale, in fewer iterations, and compare the two.
demo: $(INSTALLED)
	$(BIN)/foundation train --task distillation --experiment_name demo $(DEMO)
	$(BIN)/foundation evaluate --teacher $(TEACHER) --student logs/rsl_rl/demo --json logs/rsl_rl/demo/result.json
	@echo "Results: logs/rsl_rl/demo"

test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED)
	$(BIN)/python benchmarks/env_throughput.py
	$(BIN)/python benchmarks/update_budget.py

# Train the packaged teacher anew; about ten minutes on two cores.
teacher: $(INSTALLED)
	$(BIN)/python benchmarks/train_teacher.py --seed 1 --output $(dir $(TEACHER))
