# Each target does all its own set-up. PYTHON may be any CPython 3.10-3.15.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# what the inline recorder's .so is made of; without a gcc it is left out
RECORDER = setup.py $(wildcard $(addprefix fsprobe/capture/backends/inline/injected/,*.[ch] */*.[ch] image.lds))
SYSTEM_PACKAGES = strace squashfs-tools squashfuse bubblewrap fuse3 fuse-overlayfs util-linux chromium chromium-driver \
  slurm-wlm munge mpich openmpi-bin qemu-system-x86 mmdebstrap cpio kmod e2fsprogs

.PHONY: demo test lint lint-style lint-types lint-imports check clean bench bench-all bench-quick zipapp share system-packages

demo: $(VENV)/.installed
	$(BIN)/fsprobe run --force -o demo.fsprobe -- $(BIN)/python -c "import pandas"
	@echo
	@echo "Again, or as JSON:  $(BIN)/fsprobe report demo.fsprobe --format json"
	@echo "Your own program:   $(BIN)/fsprobe run -- python train.py"

# for the archive pip is enough
$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: pyproject.toml $(RECORDER)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check .
	touch $@

$(VENV)/.test-installed: pyproject.toml $(RECORDER)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
	touch $@ $(VENV)/.installed

# all of fsprobe in one file
zipapp: $(VENV)/.python
	$(BIN)/python packaging/zipapp.py -o fsprobe.pyz

# what completes commands, and the man page, made again
share: $(VENV)/.installed
	$(BIN)/python -m fsprobe.cli.manual share

# as root on Debian or Ubuntu what is missing is installed; elsewhere the tests that need it say so
system-packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  missing=""; for package in $(SYSTEM_PACKAGES); do dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	  if [ -n "$$missing" ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi; \
	fi

lint: lint-style lint-types lint-imports

lint-style: $(VENV)/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-types: $(VENV)/.test-installed
	$(BIN)/python -m mypy

lint-imports: $(VENV)/.test-installed
	$(BIN)/lint-imports

# Two workers share the processors, the virtual machine first, because it takes longest. What is marked `alone` watches the
# machine or the clock so closely that nothing else may run meanwhile.
test:
	@$(MAKE) --no-print-directory -j 2 --output-sync=target system-packages lint
	@failed=0; \
	$(BIN)/python -m pytest --durations 15 -m "not alone" -n 2 --dist loadfile --no-loadscope-reorder \
	  tests/e2e/test_servers.py tests || failed=1; \
	$(BIN)/python -m pytest --durations 15 -m alone || failed=1; \
	exit $$failed

# what reports/ holds, made again, with fewer runs: under 30 minutes on two cores; and the quick ones, under 3
bench: system-packages $(VENV)/.test-installed
	$(BIN)/python -m benchmarks.all -o reports

# every report, in full, as long as it takes; TORCH=PYTHON names an interpreter that has torch, ALSO="PYTHON ..." others
# whose programs are compared inline
bench-all: system-packages $(VENV)/.test-installed
	$(BIN)/python -m benchmarks.all --everything $(if $(TORCH),--torch $(TORCH)) $(addprefix --also ,$(ALSO)) -o reports

bench-quick: system-packages $(VENV)/.test-installed
	$(BIN)/python -m benchmarks.all --quick -o build/bench-quick

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
