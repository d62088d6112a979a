# The menu: every verb a person types. `make` prints it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# INVENTORY=file names the settings file for any verb.
export LETTABOX_INVENTORY := $(or $(INVENTORY),$(LETTABOX_INVENTORY))
# WAIT=seconds: how long a deploy waits for another one.
export LETTABOX_WAIT := $(or $(WAIT),$(LETTABOX_WAIT))
# HOST=name picks one of several hosts, YES=1 answers what a verb would ask.
HOST ?=
YES ?=
WAIT ?=
FILE ?=
SHA256 ?=
SERVICE ?=
FOLLOW ?= 1
TAIL ?= 100
FIX ?=
LOWER ?=
AGENT ?=
JSON ?=
START ?=
UPDATE ?=
PORT ?=
DIR ?=
ANYWAY ?=
UNDO ?=
DRY ?=

RUN := .venv/installed-run
TEST := .venv/installed-test
BENCH := .lab/bench-venv/installed
PYTHON := .venv/bin/python
PYINFRA := .venv/bin/pyinfra inventory deploy.py $(if $(HOST),--limit $(HOST))
# With -s the output is a value for a program: no line that names the host.
quiet := $(if $(findstring s,$(firstword -$(MAKEFLAGS))),--quiet)
remote = $(PYTHON) -m inventory.remote $(quiet) $(if $(HOST),--host $(HOST))
letta = $(remote) --group letta $(1) -- lettabox letta
studio = $(remote) --group letta $(1) -- lettabox studio
crew = $(remote) --group letta $(1) -- lettabox crew
crew_document = $(PYTHON) -m inventory.crew
comfyui = $(remote) --group gpu $(1) -- lettabox comfyui

.PHONY: help
help: ## print this menu
	@echo 'lettabox: make VERB [INVENTORY=file] [HOST=name] [YES=1]'; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(RUN) ## make the virtual environment .venv

$(RUN): requirements/run.txt
	@echo 'setting up .venv from requirements/run.txt' >&2  # stdout may be a value: make -s letta-password
	@python3 -m venv .venv
	@.venv/bin/pip install -qq --disable-pip-version-check --require-hashes -r requirements/run.txt >&2
	@touch $@

$(TEST): requirements/test.txt $(RUN)
	@echo 'adding requirements/test.txt to .venv' >&2
	@.venv/bin/pip install -qq --disable-pip-version-check --require-hashes -r requirements/test.txt >&2
	@touch $@

.PHONY: deploy
deploy: $(RUN) ## converge the hosts of the inventory (asks; YES=1 does not; WAIT=600 waits for another deploy)
	@$(remote)
	@if [ -z '$(YES)' ] && ! [ -t 0 ]; then \
		echo 'not deployed: it asks before it acts and there is no terminal; add YES=1' >&2; exit 4; fi
	@$(PYINFRA) $(if $(YES),-y)

.PHONY: plan
plan: $(RUN) ## show what a deploy would change, and change nothing
	@$(remote)
	@$(PYINFRA) --dry --diff

.PHONY: preflight
preflight: $(RUN) ## look for what would stop a deploy, and change nothing (make -s preflight JSON=1: one document)
	@$(PYTHON) -m deploys.preflight_alone $(if $(JSON),--json) $(if $(HOST),--limit $(HOST))

.PHONY: check
check: $(RUN) ## is Letta running, healthy, reachable on the box, the only one? (START=1 starts it; make -s check JSON=1)
	@$(remote) --group letta $(if $(JSON),,--ask) -- lettabox check $(if $(START),--start) $(if $(JSON),--json)

.PHONY: check-script
check-script: ## print the check for other projects, one file: make -s check-script > lettabox-check
	@python3 files/consumer/build.py

.PHONY: letta-start
letta-start: $(RUN) ## get missing images, start the Letta stack and wait until it is healthy
	@$(call letta) start

.PHONY: letta-stop
letta-stop: $(RUN) ## stop it, after saying whom that affects (asks; YES=1 does not)
	@$(call letta,--ask) stop $(if $(YES),--yes)

.PHONY: letta-restart
letta-restart: $(RUN) ## restart it and wait until it is healthy
	@$(call letta) restart

.PHONY: letta-status
letta-status: $(RUN) ## one screen: containers, version, agents, volumes, disk
	@$(call letta) status

.PHONY: letta-context
letta-context: $(RUN) ## show agents with a wrong context window (FIX=1 sets it; AGENT=name for one; LOWER=1)
	@$(call letta) context $(if $(FIX),--fix) $(if $(LOWER),--lower) $(if $(AGENT),--agent '$(AGENT)')

.PHONY: letta-logs
letta-logs: $(RUN) ## follow the logs (SERVICE=letta-server, TAIL=100, FOLLOW=0 to print and end)
	@$(call letta,--ask) logs --tail $(TAIL) $(if $(filter 1,$(FOLLOW)),--follow) $(SERVICE)

.PHONY: letta-providers
letta-providers: $(RUN) ## set up the declared model providers, read their models anew, say which cannot be reached
	@$(call letta) providers

.PHONY: letta-password
letta-password: $(RUN) ## print the server password (make -s letta-password prints just it)
	@$(call letta) password

.PHONY: comfyui-start
comfyui-start: $(RUN) ## start ComfyUI and wait until it is healthy
	@$(call comfyui) start

.PHONY: comfyui-stop
comfyui-stop: $(RUN) ## stop it (asks when jobs are lost; YES=1 does not)
	@$(call comfyui,--ask) stop $(if $(YES),--yes)

.PHONY: comfyui-restart
comfyui-restart: $(RUN) ## restart it and wait until it is healthy (asks when jobs are lost; YES=1 does not)
	@$(call comfyui,--ask) restart $(if $(YES),--yes)

.PHONY: comfyui-status
comfyui-status: $(RUN) ## one screen: health, version, device, queue, release, service
	@$(call comfyui) status

.PHONY: comfyui-logs
comfyui-logs: $(RUN) ## follow its log (TAIL=100, FOLLOW=0 to print and end)
	@$(call comfyui,--ask) logs --tail $(TAIL) $(if $(filter 1,$(FOLLOW)),--follow)

.PHONY: studio-start
studio-start: $(RUN) ## start the studio on the host of Letta and wait until it is healthy
	@$(call studio) start

.PHONY: studio-stop
studio-stop: $(RUN) ## stop it until the next start, deploy or boot; jobs stay in the queue
	@$(call studio) stop

.PHONY: studio-restart
studio-restart: $(RUN) ## restart it and wait until it is healthy
	@$(call studio) restart

.PHONY: studio-status
studio-status: $(RUN) ## one screen: health, boxes, queue, newest videos, addresses
	@$(call studio) status

.PHONY: studio-logs
studio-logs: $(RUN) ## follow its log (TAIL=100, FOLLOW=0 to print and end)
	@$(call studio,--ask) logs --tail $(TAIL) $(if $(filter 1,$(FOLLOW)),--follow)

.PHONY: studio-tools
studio-tools: $(RUN) ## put the agents' tools into Letta, and tell them where the studio is
	@$(call studio) tools

.PHONY: studio-token
studio-token: $(RUN) ## print the token that writing needs (make -s studio-token prints just it)
	@$(call studio) token

.PHONY: crew
crew: $(RUN) ## have the crew of inventory/crew.yml in Letta: create what is missing, change what differs
	@document="$$($(crew_document))"; echo "$$document" | $(call crew) apply

.PHONY: crew-plan
crew-plan: $(RUN) ## show what `make crew` would change, and change nothing
	@document="$$($(crew_document))"; echo "$$document" | $(call crew) plan

.PHONY: crew-status
crew-status: $(RUN) ## one screen: agents, blocks, the queue, whether embeddings work
	@$(call crew) status

.PHONY: crew-repair
crew-repair: $(RUN) ## bring the texts of the crew's blocks to their form, losing none (DRY=1 shows what is wrong)
	@$(call crew) repair $(if $(DRY),--dry-run)

.PHONY: crew-export
crew-export: $(RUN) ## write the crew to a new folder DIR= (WAIT=120 seconds for agents at work; ANYWAY=1 as they are)
	@$(PYTHON) -m inventory.crew_transfer export $(if $(HOST),--host $(HOST)) $(if $(WAIT),--wait $(WAIT)) \
		$(if $(ANYWAY),--anyway) '$(DIR)'

.PHONY: crew-import
crew-import: $(RUN) ## restore the crew in DIR= on a box that has none (UNDO=1: remove what one that was cut off left)
	@$(PYTHON) -m inventory.crew_transfer $(if $(UNDO),undo,import) $(if $(HOST),--host $(HOST)) '$(DIR)'

.PHONY: worker-status
worker-status: $(RUN) ## what of the studio runs on a GPU box, its worker above all (HOST=name)
	@$(remote) --group gpu -- lettabox studio status

.PHONY: worker-restart
worker-restart: $(RUN) ## restart that and wait until it is healthy (HOST=name); a render that runs is looked after
	@$(remote) --group gpu -- lettabox studio restart

.PHONY: worker-logs
worker-logs: $(RUN) ## follow the logs of that (HOST=name, TAIL=100, FOLLOW=0 to print and end)
	@$(remote) --group gpu --ask -- lettabox studio logs --tail $(TAIL) $(if $(filter 1,$(FOLLOW)),--follow)

.PHONY: gallery
gallery: $(RUN) ## open a way to the studio on this machine, say where, and keep it until Ctrl-C (PORT=8189)
	@$(PYTHON) -m inventory.gallery $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))

.PHONY: image-save
image-save: $(RUN) ## carry all images of the box to FILE=letta-images.tar.zst (or .tar.gz, .tar)
	@$(PYTHON) -m inventory.transfer save $(if $(HOST),--host $(HOST)) '$(FILE)'

.PHONY: image-load
image-load: $(RUN) ## check the images in FILE= and load them on the box (SHA256= as image-save printed it)
	@$(PYTHON) -m inventory.transfer load $(if $(HOST),--host $(HOST)) $(if $(SHA256),--sha256 $(SHA256)) '$(FILE)'

.PHONY: models-lock
models-lock: $(RUN) ## read revision, size and hash of the declared models from the hub, and keep them (UPDATE=1: anew)
	@$(PYTHON) -m inventory.models_lock $(if $(UPDATE),--update)

.PHONY: models-status
models-status: $(RUN) ## how far the download of the models is, and what is missing (make -s models-status JSON=1)
	@$(remote) --group gpu -- lettabox models status $(if $(JSON),--json)

.PHONY: verify
verify: $(RUN) ## check the live hosts from outside: testinfra, the real APIs, one tiny real clip
	@$(remote)
	@$(PYTHON) -m pytest -q tests/online $(if $(HOST),--host $(HOST))

.PHONY: demo
demo: $(RUN) ## a whole lettabox on this machine, in a throwaway box: lab, deploy, verify
	@$(PYTHON) -m tests.lab.demo

.PHONY: demo-down
demo-down: $(RUN) ## remove the demo's containers, network and volumes; the engine stays
	@$(PYTHON) -m tests.lab down

.PHONY: test
test: $(TEST) ## every test, from unit to lab (LETTABOX_TEST_SCALE=10 for long counts)
	@$(PYTHON) -m ruff check .
	@# Here, and not first in the tests, so that building the lab's images is seen to go on.
	@$(PYTHON) -m tests.lab up --name lettabox-test
	@$(PYTHON) -m pytest -n auto --durations=30 tests/unit
	@# Two labs side by side, each file in one of them and in order: most of the time a test waits for something.
	@$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=30 tests/lab

.PHONY: test-unit
test-unit: $(TEST) ## the tests that need no Docker
	@$(PYTHON) -m pytest -q -n auto tests/unit

.PHONY: test-long
test-long: ## every test with the full counts
	@LETTABOX_TEST_SCALE=10 $(MAKE) test

$(BENCH): requirements/bench.txt
	@echo 'setting up .lab/bench-venv from requirements/bench.txt' >&2
	@python3 -m venv .lab/bench-venv
	@.lab/bench-venv/bin/pip install -qq --disable-pip-version-check --require-hashes -r requirements/bench.txt >&2
	@touch $@

.PHONY: bench
bench: $(RUN) $(BENCH) ## measure deploys on lab boxes, beside Ansible; writes docs/benchmarks.md (LETTABOX_BENCH_RUNS=7)
	@$(PYTHON) -m tests.bench

.PHONY: bench-studio
bench-studio: $(TEST) ## measure the studio beside ffmpeg and nginx; writes docs/benchmarks_studio.md (LETTABOX_BENCH_RUNS=15)
	@$(PYTHON) -m tests.bench_studio

.PHONY: lock
lock: $(TEST) ## write requirements/*.txt anew from requirements/*.in
	@for name in run test box studio bench letta_base; do \
		.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
			--no-emit-index-url --no-emit-find-links --no-annotate \
			requirements/$$name.in -o requirements/$$name.txt; done
	@# A part of one program: what it asks for besides is not wanted.
	@.venv/bin/uv pip compile -q --no-deps --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --no-annotate \
		requirements/workflow_tools.in -o requirements/workflow_tools.txt
