# shellcheck shell=bash disable=SC2034,SC2154 # what the parts use and bench/run sets
# Sourced by bench/run: statements, topics, jobs, samples and the rows of the table.

# The ten mapped columns: key of the message, which is the column's name, and type.
columns=(id:bigint time:bigint event:text user:text carrier:text
    session:text price:numeric share:float8 valid:boolean note:text)

# The same of the small messages of stream.rs.
small_columns='id bigint, sent_us bigint'
small_mapping="
         id: (jdata->>'id')::bigint
         sent_us: (jdata->>'sent_us')::bigint"

cluster() { "$root/pg_test/cluster" bench "$@"; }
broker() { "$root/pg_test/broker" bench "$@"; }
sql() { cluster psql -X -q -A -t -v ON_ERROR_STOP=1 -p "$port" -d postgres "$@"; }

# each FORMAT SEPARATOR: FORMAT for every column, with its name for KEY and its type for TYPE.
each() {
    local column text='' item
    for column in "${columns[@]}"; do
        item=${1//KEY/${column%%:*}}
        text+=${text:+$2}${item//TYPE/${column##*:}}
    done
    printf '%s' "$text"
}

# The mapping of the ten columns, for a configuration and for plain SQL.
config_mapping=$(each '
         - NAME: KEY
           EXPRESSION: (jdata->>'"'KEY'"')::TYPE' '')
sql_mapping=$(each "\"KEY\": \"(jdata->>'KEY')::TYPE\"" ', ')

# table NAME [COLUMNS]: makes one.
table() { sql -c "CREATE TABLE $1 (${2:-$(each '"KEY" TYPE' ', ')})"; }

# empty TABLE, and no checkpoint of what was before on the account of what comes next.
empty() { sql -c "TRUNCATE $1" -c CHECKPOINT; }

# seconds SQL: how long statements take in the server; their answers are thrown away.
seconds() {
    sql <<STATEMENTS
SELECT clock_timestamp() AS start \gset
\o /dev/null
$1;
\o
SELECT extract(epoch FROM clock_timestamp() - :'start'::timestamptz);
STATEMENTS
}

# The rows of a table whatever their order: their number and the sum of their hashes.
digest() { sql -c "SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM $1 AS t"; }

# same_rows TABLE…: each has the rows that INSERT … SELECT with ->> made of the messages.
same_rows() {
    local table found
    for table; do
        found=$(digest "$table")
        [[ $found == "$(<"$work/digest")" ]] ||
            die "the rows of $table (${found%|*} of $messages) differ from those of INSERT ... SELECT"
    done
}

# have_messages: makes, once, what most parts begin with: the topic `messages`; the table by_select, filled by
# INSERT … SELECT with ->> from a table of json, which is the sample `select`; the ready columns; their digest.
have_messages() {
    local i
    [[ ! -f $work/digest ]] || return 0
    say "making $messages messages"
    "$build/generate" "$messages" >"$work/messages.jsonl"
    broker create-topic messages
    fill messages <"$work/messages.jsonl"
    table by_select
    # Two control characters that no message contains make CSV take each line as one value.
    sql <<STATEMENTS
CREATE TABLE message (jdata json);
COPY message FROM '$work/messages.jsonl' (FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01');
VACUUM ANALYZE message;
CHECKPOINT;
STATEMENTS
    sample select seconds "INSERT INTO by_select SELECT $(each "(jdata->>'KEY')::TYPE" ', ') FROM message"
    sql -c 'DROP TABLE message' -c "COPY by_select TO '$work/ready.copy'"
    digest by_select >"$work/digest"
    say 'warming up: a broker that has just been started compiles its code while it answers, on the same cores'
    for ((i = 0; i < 20; i++)); do read_topic messages; done
    [[ $(<"$work/digest") == "$messages|"* ]] || die "by_select has not $messages rows"
}

# read_topic TOPIC: as many messages as there are in all.
read_topic() { kcat -C -q -b "$address" -t "$1" -o beginning -c "$messages" >/dev/null; }

has_rows() { [[ $(sql -c "SELECT count(*) FROM $1") == "$2" ]]; }

# fill TOPIC [PARTITION]: standard input, a message a line. What the kernel has still to write would be
# written while others are measured.
fill() {
    kcat -P -b "$address" -t "$1" -p "${2:--1}" \
        -X queue.buffering.max.messages=1000000 -X message.max.bytes=4000000
    sync
}

# submit JOB TOPIC [KEY=VALUE …]: a job from a GPSS configuration, into the table of its name; the ten
# columns, or those in the variable `mapping`; KEY=VALUE goes into COMMIT.
submit() {
    local job=$1 topic=$2 commit='' setting config
    shift 2
    for setting; do
        commit+="
      ${setting/=/: }"
    done
    config="DATABASE: postgres
USER: postgres
KAFKA:
   INPUT:
      SOURCE:
         BROKERS: $address
         TOPIC: $topic
      COLUMNS:
         - NAME: jdata
           TYPE: json
      FORMAT: json
      ERROR_LIMIT: ${error_limit:-10}
   OUTPUT:
      TABLE: $job
      MAPPING:${mapping:-$config_mapping}${commit:+
   COMMIT:$commit}
"
    sql -o /dev/null -v config="$config" -v job="$job" <<<"SELECT gpss.submit_job(:'job', :'config')"
}

# submit_sql JOB TOPIC COLUMNS MAPPING [, ARGUMENT …]: a job in plain SQL over a foreign table with these
# columns, into the table of its name.
submit_sql() {
    sql -o /dev/null <<STATEMENTS
CREATE FOREIGN TABLE $1_source ($3) SERVER kafka OPTIONS (topic '$2');
SELECT gpss.submit_job('$1', source => '$1_source', target => '$1', mapping => \$\${$4}\$\$ ${5:-});
STATEMENTS
}

# load_to_end JOB: seconds from start_job to the last commit.
load_to_end() {
    local status took
    IFS='|' read -r status took < <(
        sql <<STATEMENTS
SELECT clock_timestamp() AS start \gset
\o /dev/null
SELECT gpss.start_job('$1', quit_at_eof => true, reset => 'earliest');
\o
SELECT gpss.wait_job('$1', '10 min') AS status \gset
SELECT :'status', extract(epoch FROM max(end_time) - :'start'::timestamptz)
FROM gpss.batches WHERE job = '$1' AND end_time > :'start';
STATEMENTS
    )
    [[ $status == JOB_SUCCESS ]] || die "job $1 ended with $status"
    printf '%s\n' "$took"
}

# has_loaded JOB MESSAGES: that many are committed since the job was started last.
has_loaded() {
    [[ $(sql -c "SELECT coalesce(sum(messages), 0) >= $2 FROM gpss.batches WHERE job = '$1'
        AND end_time > (SELECT min(backend_start) FROM pg_stat_activity
            WHERE backend_type = 'gpss loader')") == t ]]
}

# load_and_wait JOB MESSAGES: loads that many from the beginning and leaves the job running.
load_and_wait() {
    sql -o /dev/null -c "SELECT gpss.start_job('$1', reset => 'earliest')"
    wait_until 600 has_loaded "$1" "$2" || die "job $1 has not loaded $2 messages in 10 minutes"
}

stop() { sql -o /dev/null -c "SELECT gpss.stop_job('$1')"; }

# The process ids of all loaders; the parts run one job at a time.
loaders() { sql -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'gpss loader'"; }

# CPU seconds that all loaders have used since they were started, with all of their threads.
loaders_cpu() {
    local pid
    for pid in $(loaders); do
        # The fields after the name, which may hold anything; utime and stime are fields 14 and 15.
        sed 's/.*) //' "/proc/$pid/stat"
    done | awk -v tick="$(getconf CLK_TCK)" '{ ticks += $12 + $13 } END { print ticks / tick }'
}

has_loader() { [[ -n $(loaders) ]]; }

# cpu_per_million JOB MESSAGES: the loaders' CPU seconds for a million of that many messages, read when they
# have loaded them all and wait for more.
cpu_per_million() {
    local cpu
    load_and_wait "$1" "$2"
    cpu=$(loaders_cpu)
    stop "$1"
    awk -v cpu="$cpu" -v n="$2" 'BEGIN { print cpu / n * 1e6 }'
}

# sample KEY COMMAND…: adds what the command answers to the samples of KEY.
sample() {
    local key=$1 answer
    shift
    answer=$("$@")
    printf '%s\n' "$answer" >>"$work/sample.$key"
}

# forget KEY…: their samples, which were taken in a round to warm up.
forget() {
    local key
    for key; do rm "$work/sample.$key"; done
}

# median KEY: of its samples; nothing without any.
median() {
    [[ ! -f $work/sample.$1 ]] ||
        sort -g "$work/sample.$1" | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}

# row KEY UNIT TEXT [AT_MOST [KEY/KEY]]: a row of the table, with the median of KEY's samples. AT_MOST is for
# the ratio of the two keys' medians; without these for the value itself.
row() {
    local key=$1 unit=$2 text=$3 wanted=${4:-} of=${5:-}
    printf '%s\t' "$key" "$text" "$(median "$key")" "$unit" "$wanted" "$of" \
        "$([[ -z $of ]] || median "${of%/*}")" "$([[ -z $of ]] || median "${of#*/}")" >>"$work/rows"
    paste -sd, "$work/sample.$key" >>"$work/rows"
}

# skip KEY TEXT WHY: a row that says why nothing was measured.
skip() { printf '%s\t%s\t%s\n' "$@" >>"$work/rows"; }
