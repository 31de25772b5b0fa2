#!/usr/bin/env bash
# postgres_fdw (PostgreSQL 15.10, 18.1) with synchronous_commit = off: a crash after COMMIT takes back the
# local half of a transaction and leaves the remote half.
#
# One expects of synchronous_commit = off that a crash loses the last transactions whole ("the server
# might lose recent transactions, but it will not be inconsistent"). postgres_fdw commits on the foreign
# server before the local commit record is written, in a session of its own, which does not know the local
# setting and flushes. So the foreign rows are durable while the local ones of the same transaction wait
# for the WAL writer. Whoever keeps a position beside rows in a foreign table, as a loader does, loads them
# twice; a transaction with synchronous_commit = on has both.
#
# Seen: off: local 0, foreign 1; on: local 1, foreign 1.
source "$(dirname "$0")/lib.sh"

python_with 'psycopg[binary]==3.2.13'
cat >"$folder/sql.py" <<'PYTHON'
import sys
import psycopg

folder, command = sys.argv[1:3]

def connect(database):
    return psycopg.connect(f"host={folder}/pg user=postgres dbname={database}", autocommit=True)

if command == "prepare":
    with connect("postgres") as local:
        local.execute("CREATE DATABASE remote")
        local.execute("CREATE TABLE position (n int)")
        local.execute("CREATE EXTENSION postgres_fdw")
        local.execute(
            f"CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{folder}/pg', dbname 'remote')"
        )
        local.execute("CREATE USER MAPPING FOR postgres SERVER s OPTIONS (user 'postgres')")
        local.execute("CREATE FOREIGN TABLE row_there (n int) SERVER s OPTIONS (table_name 'row')")
    with connect("remote") as remote:
        remote.execute("CREATE TABLE row (n int)")
    with connect("postgres") as local:
        local.execute("CHECKPOINT")
elif command == "write":
    with connect("postgres") as local:
        local.execute(f"SET synchronous_commit = {sys.argv[3]}")
        with local.transaction():
            local.execute("INSERT INTO row_there VALUES (1)")
            local.execute("INSERT INTO position VALUES (1)")
elif command == "count":
    with connect("postgres") as local, connect("remote") as remote:
        here = local.execute("SELECT count(*) FROM position").fetchone()[0]
        there = remote.execute("SELECT count(*) FROM row").fetchone()[0]
        print(f"local {here}, foreign {there}")
PYTHON

for version in 15.10.0 18.1.0; do
    for commit in off on; do
        rm -rf "$folder/pg" "$folder/pids"
        postgresql "$version"
        # The longest delay allowed makes the moment of the crash certain.
        start_postgresql wal_writer_delay=10s autovacuum=off
        "$python" "$folder/sql.py" "$folder" prepare
        "$python" "$folder/sql.py" "$folder" write "$commit"
        kill_postgresql
        start_postgresql
        seen=$("$python" "$folder/sql.py" "$folder" count)
        wanted='local 1, foreign 1'
        [[ $commit == on ]] || wanted='local 0, foreign 1'
        expect "PostgreSQL ${version%.0}, synchronous_commit = $commit" "$seen" "$wanted"
        kill_postgresql
    done
done
