PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TEACHER := foundation/tasks/point_ctrl/assets/teacher/best_model.pt
DEMO := --max_iterations 320 agent.algorithm.phase1_iterations=20 \
	agent.algorithm.gradient_length=50 agent.algorithm.mini_batch_size=3200 \
	agent.algorithm.max_updates_per_iteration=60 agent.algorithm.learning_rate=5e-3 \
	agent.algorithm.learning_rate_schedule=cosine agent.algorithm.learning_rate_iterations=320

RSL_RL_VERSIONS := 5.4.1 5.5.1
OLD_RSL_RL_VERSIONS := 2.3.3 3.0.1 3.1.3 3.3.0 4.0.1
MJLAB := 1.6.0
ISAACLAB := 3.0.0
OLDEST_WARP := 1.17.0

.PRECIOUS: .venv-rsl-rl/%/.installed .venv-rsl-rl/old/%/.written
.PHONY: demo test golden test-slow test-faults test-rsl-rl test-old-checkpoints test-warp test-mjlab test-isaaclab test-installs check docs format bench bench-policy bench-mjlab bench-gymnasium bench-tracking teacher install

# An environment in which one package differs: everything else comes from the main one.
define only
$(PYTHON) -m venv $(@D)
$(@D)/bin/python -m pip install --quiet --no-deps $(1)
$(BIN)/python -c "import site; print('import site; site.addsitedir(%r)' % site.getsitepackages()[0])" \
	> $$($(@D)/bin/python -c "import site; print(site.getsitepackages()[0])")/main-environment.pth
touch $@
endef

install: $(INSTALLED)

# torch first: the pinned version has to be there before anything that depends on torch.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,docs]"
	touch $@

# Distil a student from the packaged teacher at reference scale, in fewer iterations, and compare the two.
demo: $(INSTALLED)
	$(BIN)/foundation train --task distillation --experiment_name demo $(DEMO)
	$(BIN)/foundation evaluate --teacher $(TEACHER) --student logs/rsl_rl/demo --json logs/rsl_rl/demo/result.json
	@echo "Results: logs/rsl_rl/demo"

# A process per core; the tests of a file share fixtures, so they stay together.
test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow and not faults" -n logical --dist loadfile

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

# Every number that training computes is the one that was kept; checksums of one kind of machine.
golden: $(INSTALLED)
	$(BIN)/python -m tests.golden.record

# Faults injected by the hundred, and a hundred thousand cases of broken input.
test-faults: $(INSTALLED)
	$(BIN)/python -m pytest -m faults --durations=0 tests/faults

# The plug-in's tests on both ends of the supported versions of rsl_rl, in two small environments.
test-rsl-rl: $(RSL_RL_VERSIONS:%=test-rsl-rl-%)

test-rsl-rl-%: .venv-rsl-rl/%/.installed
	RSL_RL_VERSION=$* .venv-rsl-rl/$*/bin/python -m pytest -m "not slow and not faults" -n logical --dist loadfile tests/distill

.venv-rsl-rl/%/.installed: $(INSTALLED)
	$(call only,rsl-rl-lib==$*)

# Checkpoints that earlier versions of rsl_rl write themselves, as teachers.
test-old-checkpoints: $(OLD_RSL_RL_VERSIONS:%=.venv-rsl-rl/old/%/.written)
	OLD_RSL_RL_CHECKPOINTS=$(CURDIR)/.venv-rsl-rl/checkpoints $(BIN)/python -m pytest -n logical \
		tests/distill/checkpoint/test_old_versions.py

.venv-rsl-rl/old/%/.written: $(INSTALLED) tests/support/old_rsl_rl.py
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(@D) rsl-rl-lib==$*
	PYTHONPATH=$(@D) $(BIN)/python -m tests.support.old_rsl_rl .venv-rsl-rl/checkpoints/$* > $(@D)/log.txt
	touch $@

# The simulator on the oldest supported version of Warp.
test-warp: .venv-warp/.installed
	.venv-warp/bin/python -m pytest -m "not slow and not faults" -n logical --dist loadfile tests/sim tests/tasks

.venv-warp/.installed: $(INSTALLED)
	$(call only,warp-lang==$(OLDEST_WARP))

# The wheel in clean environments, and beside the published packages of its hosts.
test-installs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[installs]"
	INSTALLS=$(CURDIR)/.venv-installs $(BIN)/python -m pytest tests/test_installs.py

# mjlab's own published package, command line and runners; the plug-in beside it with no extras.
test-mjlab: .venv-mjlab/.installed
	$(BIN)/pyright --pythonpath .venv-mjlab/bin/python foundation/integrations/mjlab.py
	MUJOCO_GL=disabled OMP_NUM_THREADS=1 .venv-mjlab/bin/python -m pytest tests/integrations/test_mjlab.py

bench-mjlab: .venv-mjlab/.installed
	MUJOCO_GL=disabled OMP_NUM_THREADS=1 .venv-mjlab/bin/python benchmarks/mjlab_cartpole.py

# mjlab wants versions of its own; torch alone is the one that the main environment has.
.venv-mjlab/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(@D)
	grep "^torch==" constraints.txt > $(@D)/constraints.txt
	$(@D)/bin/python -m pip install --quiet --constraint $(@D)/constraints.txt torch
	$(@D)/bin/python -m pip install --quiet --constraint $(@D)/constraints.txt --editable . \
		mjlab==$(MJLAB) onnxruntime pytest pytest-timeout
	touch $@

# Isaac Lab's own published package and command line, with its task Isaac-Cartpole on its Newton backend.
test-isaaclab: $(INSTALLED) .venv-isaaclab/.installed
	$(BIN)/pyright --pythonpath .venv-isaaclab/bin/python foundation/integrations/isaaclab.py
	OMP_NUM_THREADS=1 .venv-isaaclab/bin/python -m pytest tests/integrations/test_isaaclab.py

# Isaac Lab takes Python 3.12 alone, also pyenv's, and versions of its own, torch's with CUDA among them: 8 GB.
.venv-isaaclab/.installed: pyproject.toml
	PYENV_VERSION=3.12 python3.12 -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable . isaaclab==$(ISAACLAB) leapp onnxruntime pytest pytest-timeout
	touch $@

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# The site of all pages and the API reference, in site/; a broken link is an error.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The CPU set of benchmarks, beside the peers that it measures against; the last step prints the table.
bench: .venv-bench/.installed
	set -e; for name in simulator tracking_cost time_to_student time_to_pendulum_student rollout update buffer run_costs; do \
		.venv-bench/bin/python benchmarks/$$name.py; done
	.venv-bench/bin/python benchmarks/report.py --page

# The foundation policy and RAPTOR's on the same flights; about 25 minutes.
bench-policy: .venv-bench/.installed
	.venv-bench/bin/python benchmarks/foundation_policy.py
	.venv-bench/bin/python benchmarks/foundation_policy.py --page

# Students without velocities on two MuJoCo tasks; about half an hour.
bench-gymnasium: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/gymnasium_students.py
	$(BIN)/python benchmarks/gymnasium_students.py --page

# Policies along paths; writes the tables and the picture of docs/TRACKING.md.
bench-tracking: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/tracking.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/tracking.py --breaks

# An environment of its own: torchrl wants an older tensordict than everything else.
.venv-bench/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(@D)
	sed "s/^tensordict==[^;]*/tensordict==0.14.3/" constraints.txt > $(@D)/constraints.txt
	$(@D)/bin/python -m pip install --quiet --constraint $(@D)/constraints.txt torch
	$(@D)/bin/python -m pip install --quiet --constraint $(@D)/constraints.txt --editable ".[bench]"
	touch $@

# Distil the packaged teacher from the expert again; about ten minutes.
teacher: $(INSTALLED)
	$(BIN)/python benchmarks/train_teacher.py --output $(dir $(TEACHER))
