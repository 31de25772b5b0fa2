# shellcheck shell=bash
# Sourced by every script here, in demo/ and in bench/: where things lie, and who runs the servers.

set -euo pipefail
umask 022

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build
# The only place that names a version of PostgreSQL. A server that is not installed yet is known by its path.
PG_CONFIG=${PG_CONFIG:-/usr/lib/postgresql/15/bin/pg_config}
pg_major=$({ "$PG_CONFIG" --version 2>/dev/null || printf '%s\n' "$PG_CONFIG"; } |
    sed -nE 's/^[^0-9]*([0-9]+).*/\1/p')
# What cargo compiles and tests: for that version, with the tests that need servers.
# shellcheck disable=SC2034 # for the scripts that source this
for_tests=(--no-default-features --features "pg$pg_major,e2e")

# A caller's settings for another server, and RUSTFLAGS (which replaces the linker flag of
# cargo-pgrx, whose schema section then gets lost), must not reach ours.
for variable in "${!PG@}"; do
    [[ $variable == PG_CONFIG ]] || unset "$variable"
done
unset variable RUSTFLAGS CARGO_ENCODED_RUSTFLAGS

say() { printf '%s\n' "$*"; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Until this script ends or the caller ends it: says every 20 seconds how long it has been and what came last
# in the log. Without a process for the waits, which would keep our output open.
tick() { # tick LOG
    local start=$SECONDS never
    exec {never}<> <(:)
    while read -rt 20 -u "$never" || kill -0 $$ 2>/dev/null; do
        say "  $((SECONDS - start)) s: $(tail -n 1 "$1" | tr -d '\r' | cut -c 1-100)"
    done
}

# patiently LOG COMMAND…: runs it with its output in the log.
patiently() {
    local log=$1 ticker status=0
    shift
    : >"$log"
    tick "$log" &
    ticker=$!
    "$@" >>"$log" 2>&1 || status=$?
    kill "$ticker" 2>/dev/null
    wait "$ticker" 2>/dev/null || true
    return $status
}

# PostgreSQL refuses to run as root; the distribution's package brings the user `postgres`.
if ((EUID == 0)); then
    server_user=postgres
else
    server_user=$(id -un)
fi

# Runs a command as the user that owns the servers, from a directory that he can enter.
as_server() (
    cd /
    if ((EUID == 0)); then
        exec runuser -u "$server_user" -- "$@"
    else
        exec "$@"
    fi
)

# Runs a command as root.
as_root() {
    if ((EUID == 0)); then
        "$@"
    else
        command -v sudo >/dev/null || die "needs root for: $*"
        sudo "$@"
    fi
}

# Sets run_dir: where servers, their data and their sockets lie. build/run, unless the servers' user
# cannot enter it (a checkout under /root) or a socket's path would pass the system's 107 bytes.
find_run_dir() {
    run_dir=$(realpath -m "${GPSS_RUN_DIR:-$build/run}")
    if [[ -z ${GPSS_RUN_DIR:-} ]] && { ((${#run_dir} > 70)) || ! as_server test -x "$root"; }; then
        run_dir=/tmp/gpss-$EUID-$(cksum <<<"$root" | cut -d' ' -f1)
    fi
    mkdir -p "$run_dir"
    [[ -O $run_dir && ! -L $run_dir ]] || die "$run_dir is not ours: set GPSS_RUN_DIR to another directory"
    as_server test -x "$run_dir" ||
        die "user $server_user cannot enter $run_dir: set GPSS_RUN_DIR to a directory that he can"
}

# private_pg PROFILE: sets pg_bin to the bin directory of our own copy of the server, so that
# installing a build needs no root and disturbs nobody else's server. PostgreSQL finds its library
# and share directories relative to its executable; so the copy keeps their relative places.
private_pg() {
    local copy=$run_dir/pg-$1 bin include version dir
    [[ -x $PG_CONFIG ]] || die "no $PG_CONFIG: set PG_CONFIG"
    bin=$("$PG_CONFIG" --bindir)
    include=$("$PG_CONFIG" --includedir-server)
    # With the extensions that have been added to it since.
    version="$("$PG_CONFIG" --version) $(stat -c %Y "$bin/postgres" "$("$PG_CONFIG" --sharedir)/extension")"
    # shellcheck disable=SC2034 # for the caller
    pg_bin=$copy$bin
    [[ $(cat "$copy/version" 2>/dev/null) == "$version" ]] && return
    rm -rf "$copy"
    for dir in "$bin" "$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)"; do
        mkdir -p "$copy$dir"
        cp -a "$dir/." "$copy$dir/"
    done
    mkdir -p "$copy${include%/*}"
    ln -s "$include" "$copy$include"
    chmod -R a+rX "$copy"
    printf '%s\n' "$version" >"$copy/version"
}

# use_pgrx_home PG_CONFIG: has pgrx build and test against this server, whatever ~/.pgrx says.
use_pgrx_home() {
    local pg_config=$1 config
    export PGRX_HOME
    PGRX_HOME=$build/pgrx/$(cksum <<<"$pg_config" | cut -d' ' -f1)
    config=$(printf '[configs]\npg%s = "%s"' "$pg_major" "$pg_config")
    mkdir -p "$PGRX_HOME"
    # Rewritten only when it differs: its time stamp decides whether pgrx is built anew.
    [[ $(cat "$PGRX_HOME/config.toml" 2>/dev/null) == "$config" ]] ||
        printf '%s\n' "$config" >"$PGRX_HOME/config.toml"
}

# wait_until SECONDS COMMAND…: polls; fails when the time is over.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# gone PID…: none of the processes is alive.
gone() {
    local pid
    for pid in "$@"; do
        # A zombie has ended; only its parent has not noticed yet.
        [[ ! -d /proc/$pid ]] || grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null || return 1
    done
}

# port_is_free PORT: nothing listens there on 127.0.0.1.
port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_ports COUNT: that many different ones, below those that the kernel gives to outgoing connections.
free_ports() {
    local port
    local -A ports=()
    while ((${#ports[@]} < $1)); do
        port=$((20000 + RANDOM % 12000))
        ! port_is_free "$port" || ports[$port]=1
    done
    printf '%s\n' "${!ports[*]}"
}

# certificate DIR NAME [ISSUER]: DIR/NAME.pem and DIR/NAME.key, for what certificates.cnf says under
# that name, signed by DIR's ISSUER or by itself.
certificate() {
    local dir=$1 name=$2 issuer=()
    [[ -z ${3:-} ]] || issuer=(-CA "$dir/$3.pem" -CAkey "$dir/$3.key")
    openssl req -x509 -config "$root/pg_test/certificates.cnf" -extensions "$name" \
        -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=gpss test $name" \
        "${issuer[@]}" -keyout "$dir/$name.key" -out "$dir/$name.pem" &>>"$dir/log" || {
        tail -20 "$dir/log" >&2
        die "making the $name's certificate failed"
    }
}
