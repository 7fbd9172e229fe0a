# Everything happens in .venv, made here from the lock (requirements/all.txt) with plain pip.
#
#   make demo PYTHON=python3.12     another interpreter (3.11 or newer)
#   make demo PIP_EXTRA="--find-links wheels"    more words for every pip install
#   make test ARGS="-k export -x"   words for pytest; for `demo` and `proof` likewise
#   make proof ARGS=--screen        one seed, fewer steps and images; writes no result
#   make demo V=1                   show what pip does
#   make proof PHOTOS=FOLDER        Caltech-101 that is there already, a folder a class
#   make demo TORCH_INDEX=URL       torch from a package index of your choice
#
# TORCH_INDEX is for an index of CPU-only torch wheels: on Linux the ones on PyPI bring CUDA,
# most of the 7 GB. The wheels of another index have other hashes, so torch and torchvision are
# then installed at the locked versions but unchecked, the CUDA packages (nvidia-*, cuda-*)
# are left out, and all the rest still comes by hash.

PYTHON ?= python3
PIP_EXTRA ?=
TORCH_INDEX ?=
ARGS ?=
PHOTOS ?=
UPGRADE ?=
V ?=

UV = 0.13.9
LOCK = requirements/all.txt
QUIET = $(if $(V),,-q)
PIP = .venv/bin/python -m pip --disable-pip-version-check
INSTALL = $(PIP) install $(QUIET) --no-deps $(PIP_EXTRA)
STAMP = .venv/.installed
ON_PHOTOS = $(if $(PHOTOS),--photos $(PHOTOS)) $(ARGS)
TORCH = ^(torch|torchvision)==
CUDA = ^(nvidia-|cuda-)
# What `make` needs free, in GB: the install and the wheels pip holds meanwhile.
ROOM = $(if $(and $(filter Linux,$(shell uname -s)),$(if $(TORCH_INDEX),,PyPI)),9,4)

# albumentations looks for updates over the network unless told not to.
export NO_ALBUMENTATIONS_UPDATE = 1

.PHONY: help install demo test proof lint lock clean
.DEFAULT_GOAL = help

help:
	@echo "make demo    install, then the whole line on 7,500 images; ends in runs/demo"
	@echo "make test    install, then the tests"
	@echo "make proof   install, then measure the published figures (hours)"
	@echo "make lint    install, then ruff, mypy and the import contracts"
	@echo "make lock    pin the dependencies anew (UPGRADE=--upgrade for newer versions)"
	@echo "make clean   remove .venv, caches and built packages; runs/ stays"
	@echo "Options: PYTHON, PIP_EXTRA, TORCH_INDEX, ARGS, V; see the top of the Makefile."

install: $(STAMP)

demo: $(STAMP)
	@.venv/bin/edgekd demo --out runs/demo $(ARGS)

test: $(STAMP)
	@.venv/bin/python -m pytest $(ARGS)

proof: $(STAMP)
	@.venv/bin/python -m benchmarks.demo $(ARGS)
	@.venv/bin/python -m benchmarks.target_forms fashion $(ARGS)
	@.venv/bin/python -m benchmarks.several_labels $(ARGS)
	@.venv/bin/python -m benchmarks.teacher_parts $(ON_PHOTOS)
	@for claim in names-held names-all five-labels; do \
		.venv/bin/python -m benchmarks.photos $$claim $(ON_PHOTOS) || exit; done
	@.venv/bin/python -m benchmarks.target_forms caltech $(ON_PHOTOS)
	@.venv/bin/python -m benchmarks.target_parts fashion $(ARGS)
	@.venv/bin/python -m benchmarks.target_parts caltech $(ON_PHOTOS)
	@.venv/bin/python -m benchmarks.captioner_speed $(ARGS)
	@.venv/bin/python -m benchmarks.faces $(ON_PHOTOS)
	@case "$(ARGS)" in *--screen*) exit;; esac; \
		for of in planted_faults attributes swaps thin_teacher million_rows; do \
		.venv/bin/python -m benchmarks.$$of || exit; done

lint: $(STAMP)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

# uv resolves for all platforms at once, which pip cannot. It keeps the versions already locked
# unless UPGRADE=--upgrade. The last line refuses a lock that names an index or a local file.
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/uv pip compile -q --universal \
	--generate-hashes --no-annotate $(UPGRADE)
lock: .venv/bin/pip
	@$(PIP) install $(QUIET) $(PIP_EXTRA) uv==$(UV)
	$(COMPILE) pyproject.toml --extra all --extra dev -c requirements/constraints.in \
		--excludes requirements/all-excludes.in -o $(LOCK)
	$(COMPILE) pyproject.toml -c $(LOCK) -o requirements/base.txt
	$(COMPILE) pyproject.toml --extra tflite-runtime --python-version 3.11 \
		--excludes requirements/tflite-runtime-excludes.in -o requirements/tflite-runtime.txt
	@! grep -nE '://|^-' $(LOCK) requirements/base.txt requirements/tflite-runtime.txt

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache .grimp_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip keeps all wheels of one go until its end, 3 GB of them in all: hence three.
$(STAMP): $(LOCK) pyproject.toml | .venv/bin/pip
	@echo "Installing edgekd and its $$(grep -c '==' $(LOCK)) locked packages into .venv: minutes," \
		"$(if $(TORCH_INDEX),torch from TORCH_INDEX,about 7 GB on Linux where torch brings CUDA)" >&2
	@awk '/^[^ #]/ { in_it = /$(CUDA)/ } in_it' $(LOCK) > .venv/cuda.txt
	@awk '/^[^ #]/ { in_it = /$(TORCH)/ } in_it' $(LOCK) > .venv/torch.txt
	@awk '/^[^ #]/ { in_it = !/$(CUDA)/ && !/$(TORCH)/ } in_it' $(LOCK) > .venv/rest.txt
ifeq ($(TORCH_INDEX),)
	@$(INSTALL) --require-hashes -r .venv/cuda.txt
	@$(INSTALL) --require-hashes -r .venv/torch.txt
else
	@$(INSTALL) --index-url $(TORCH_INDEX) $$(grep -oE '^[^ ;]+==[^ ;]+' .venv/torch.txt)
endif
	@$(INSTALL) --require-hashes -r .venv/rest.txt
	@$(INSTALL) --no-build-isolation -e .
	@touch $@

.venv/bin/pip:
	@command -v $(PYTHON) > /dev/null || { echo "error: $(PYTHON) not found; edgekd needs \
	Python 3.11 or newer (Debian: apt-get install python3 python3-venv)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: \
	$$($(PYTHON) -V 2>&1) is too old; edgekd needs 3.11 or newer, say PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { echo "error: $(PYTHON) cannot make \
	environments; install its venv module (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@free=$$(df -Pk . | awk 'NR == 2 { print int($$4 / 1e6) }'); [ "$$free" -ge $(ROOM) ] || { \
	echo "error: the install needs $(ROOM) GB free on the disk of $$PWD, found $$free GB; make room, \
	or work from a checkout on a larger disk" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
