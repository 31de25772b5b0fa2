# Every target is a script that can be run alone; nothing is built or started outside build/ and
# target/, but for the packages that pg_test/prepare finds missing.

MESSAGES ?= 500000
export MESSAGES

.PHONY: help install test torture bench demo demo-down clean

help:
	@echo 'make demo        load a topic into a table on a private server and broker; leaves both running'
	@echo 'make demo-down   stop them'
	@echo 'make test        install what is missing, lint, run every test'
	@echo 'make torture     30 minutes and at least 300 faults under a running job; `make test` has a short run'
	@echo 'make bench       measure speed, latency and memory beside COPY, kcat and other products'
	@echo 'make install     install the release build into the PostgreSQL of PG_CONFIG'
	@echo 'make clean       stop the private servers and remove build/ and target/'

install:
	@pg_test/prepare build
	@pg_test/install system

test:
	@pg_test/prepare
	@pg_test/run-tests

torture:
	@pg_test/prepare
	@pg_test/torture

bench:
	@pg_test/prepare
	@bench/run

demo:
	@pg_test/prepare
	@demo/run

demo-down:
	@pg_test/cluster demo stop
	@pg_test/broker demo stop
	@echo 'the server and the broker of the demo are down; their data stays until the next demo'

clean:
	@pg_test/clean
