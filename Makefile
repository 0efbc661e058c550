# Two commands matter: `make demo` runs the main job, `make test` passes the tests. Each does all the set-up itself.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The tests start hundreds of processes; without its compiled files each of them would compile the house anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-web demo-cluster country game fuzz test tests test-strange test-proof test-cluster test-agency test-faults test-web test-conformance test-compose test-connectors coverage check lint types layers bench bench-ab bench-growth bench-consents soak docs clean races

demo: $(VENV)/runtime
	@$(BIN)/unefois demo

# The citizens' pages, with nobody real behind them, until Ctrl-C.
demo-web: $(VENV)/runtime
	@$(BIN)/unefois demo --serve

# The same story on a real PostgreSQL and a real Kafka, which are started for it (Docker, or their packages and Java).
demo-cluster: $(VENV)/dev
	@$(BIN)/python -m tests.services.demo

test: check tests

# The tests alone, without looking at how the code is written.
tests: $(VENV)/dev
	$(BIN)/python -m pytest -n 3 -m "not proof" --durations=10 -rs

# The same in a strange place: another user, Python, language, zone and umask, a path with spaces, a clock near 0.
test-strange: $(VENV)/dev
	.ci/strange

# The long proofs, wherever they stand: what is marked `proof`, and again with more what `make test` does with less: a
# races of five hundred rounds, every byte mutated, a thousand examples of each property, a kill at each passage. What is
# marked `long` begins first, and each worker takes one test after the other: so all are busy to the end.
test-proof: $(VENV)/dev
	UNEFOIS_PROOF=1 UNEFOIS_RACE_ROUNDS=500 UNEFOIS_FAULTS=all $(BIN)/python -m pytest -n 3 --maxschedchunk 1 --durations=10 -rs \
		-m "proof or more or hypothesis"

# Real processes on three real Kafka nodes with TLS, SCRAM and access lists, and a real PostgreSQL.
test-cluster: $(VENV)/dev
	$(BIN)/python -m pytest -n 0 --durations=10 -rs tests/cluster

# The agency's wheel, built and installed alone, its sidecar and the examples in four languages, against a served broker;
# and foreign clients: programs in Go, JavaScript and Python on libraries that are not ours (tests/agency/foreign).
test-agency: $(VENV)/dev
	$(BIN)/python -m pytest -n 0 --durations=10 -rs tests/agency

# The conformance kit on programs that are careless in one way each, in every case; test-agency has the sound one.
test-conformance: $(VENV)/dev
	UNEFOIS_CONFORMANCE=1 $(BIN)/python -m pytest -n 2 --durations=10 -rs tests/conformance

# deploy/Dockerfile is built and deploy/compose.yaml is run, by podman, as root; on stand-ins for the base images.
test-compose: $(VENV)/dev
	$(BIN)/python -m pytest -n 0 --durations=10 -rs tests/compose

# Connectors against the real servers of their systems: MariaDB, OpenSSH.
test-connectors: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 --durations=10 -rs tests/systems

# The citizen's pages in a real Chromium, before a real server: access, keyboard, widths, languages, receipts. Budget: five minutes.
test-web: $(VENV)/dev
	UNEFOIS_REQUIRE=$(or $(UNEFOIS_REQUIRE),chromium) $(BIN)/python -m pytest -n 2 --dist loadfile --durations=10 -rs tests/web

# Tried by fire: a thousand kills, servers that die, a network that loses, a race (10,000 rounds, or UNEFOIS_RACE_ROUNDS).
test-faults: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 --dist loadgroup --durations=10 -rs tests/fire

# Ten thousand people for a year, and the picture of docs/country.md.
country: $(VENV)/runtime
	rm -f docs/images/country.svg
	$(BIN)/unefois simulate --seed 1 --people 10000 --days 365 --picture docs/images/country.svg

# The races alone, each 10,000 rounds on both databases: who revokes, objects, narrows or ends a rule, or takes back,
# against who asks for keys. Hours; UNEFOIS_RACE_ROUNDS says another number.
races: $(VENV)/dev
	UNEFOIS_PROOF=1 UNEFOIS_RACE_ROUNDS=$(or $(UNEFOIS_RACE_ROUNDS),10000) \
		UNEFOIS_RACE_EACH=$(or $(UNEFOIS_RACE_ROUNDS),10000) $(BIN)/python -m pytest -n 2 --durations=10 -rs \
		tests/faults/test_revocation_race.py tests/faults/test_rule_race.py tests/faults/test_retraction_race.py

# The game of the public ledger: a thousand rounds of each exchange between two citizens, half an hour of processor time.
game: $(VENV)/dev
	UNEFOIS_PROOF=1 UNEFOIS_GAME_ROUNDS=$(or $(UNEFOIS_GAME_ROUNDS),1000) $(BIN)/python -m pytest -n 2 --maxschedchunk 1 --durations=10 -rs tests/game

# Every door of a served broker and a witness, 10,000 requests that fit, do not fit, or lie: two minutes on two cores.
CASES ?= 10000
fuzz: $(VENV)/dev
	$(BIN)/python -m tests.fuzz --cases $(CASES) $(if $(SEED),--seed $(SEED))

# The tests of `make test` again, and which lines and branches they pass; contract and decision must stay above 95%.
coverage: $(VENV)/dev
	$(BIN)/python -m pytest -n 2 -m "not proof" --cov --cov-report=term:skip-covered
	$(BIN)/python -m coverage report --include='schemas/*,consent/*' --skip-covered --fail-under=95

check: lint types layers

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev
	$(BIN)/mypy

layers: $(VENV)/dev
	$(BIN)/lint-imports

# What the machine does in a second, beside its cryptography alone; `make bench-growth` takes half an hour or so.
bench: $(VENV)/dev
	$(BIN)/python -m tests.bench.bench
	$(BIN)/python -m tests.bench.api
	$(BIN)/python -m tests.bench.hooks
	$(BIN)/python -m tests.bench.pages

# The commit BASE and this checkout by turns in the same minutes: ratios with their spread, and each against itself.
ROUNDS ?= 5
bench-ab: $(VENV)/dev
	@test -n "$(BASE)" || { echo "Say which commit: make bench-ab BASE=<commit> [ROUNDS=5] [ONLY=flow,checks] [COUNT=100]"; exit 1; }
	$(BIN)/python -m tests.bench.ab $(BASE) --rounds $(ROUNDS) $(if $(ONLY),--only $(ONLY)) $(if $(COUNT),--count $(COUNT))

bench-growth: $(VENV)/dev
	$(BIN)/python -m tests.bench.bench --growth 1000,3000,10000,30000,100000 --plot docs/images/growth.svg

# The same with up to a million before, which PostgreSQL copies from the first thousand: 20 GB of disk, half an hour.
bench-million: $(VENV)/dev
	$(BIN)/python -m tests.bench.million --plot docs/images/million.svg

# The router's question for 500 citizens, with up to ten million grants on PostgreSQL: 10 GB of disk, a quarter of an hour.
bench-consents: $(VENV)/dev
	$(BIN)/python -m tests.bench.consents

# An API and a worker under a steady load for fifteen minutes: answers and memory by the minute, and the slope.
soak: $(VENV)/dev
	$(BIN)/python -m tests.bench.soak

# The site, which a broker serves below /docs/ and a wheel that is built afterwards takes along; below fr the agency pages are
# in French. A warning is an error, and so is a message without its French. What the pages show is run by the tests.
SITE := broker/web/public/site
SPHINX = $(BIN)/sphinx-build --fresh-env --fail-on-warning --quiet
docs: $(VENV)/docs
	rm -rf $(SITE)
	$(SPHINX) -d build/doctrees/gettext -b gettext docs build/gettext
	$(BIN)/python docs/_ext/translated.py build/gettext docs/locales/fr/LC_MESSAGES
	$(SPHINX) -d build/doctrees/en -b html docs $(SITE)
	$(SPHINX) -d build/doctrees/fr -b html -D language=fr docs $(SITE)/fr
	rm -f $(SITE)/.buildinfo $(SITE)/fr/.buildinfo
	@echo "$(SITE)/index.html"

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: install it, or say make PYTHON=/path/to/python3"; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

# Everything installed is pinned by hash; the project itself is installed from this checkout, without a download.
$(VENV)/runtime: requirements/runtime.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements/runtime.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(VENV)/runtime $@

$(VENV)/docs: requirements/docs.txt | $(VENV)/runtime
	$(PIP) install --require-hashes -r requirements/docs.txt
	@touch $@

clean:
	rm -rf $(VENV) build $(SITE) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
