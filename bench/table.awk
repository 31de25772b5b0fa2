# Prints the rows that bench/lib.sh wrote as a table, and writes all figures to the file `json`.

BEGIN {
    FS = "\t"
    line("", "what", "", "ratio", "", "at most", "reached")
    printf "{\n\"messages\": %d,\n\"figures\": {", messages > json
}

{ printf "%s\n\"%s\": {\"what\": \"%s\", ", NR == 1 ? "" : ",", $1, $2 > json }

NF == 3 {
    line($1, $2, "", "", "", "", "skipped: " $3)
    printf "\"skipped\": \"%s\"}", $3 > json
    next
}

{
    key = $1; text = $2; value = $3; unit = $4; wanted = $5; of = $6; over = $7; under = $8; samples = $9
    # A ratio to what this run has not measured is unknown.
    known = of == "" || over != "" && under > 0
    ratio = of != "" && known ? over / under : ""
    # With few messages the start of a process is most of what is measured.
    reached = wanted == "" || !known || messages < 100000 ? "" : (of == "" ? value : ratio) <= wanted + 0 ? "yes" : "no"
    line(key, text, number(value) " " unit, of, number(ratio),
        wanted (of == "" && wanted != "" ? " " unit : ""), reached)
    printf "\"unit\": \"%s\", \"median\": %s, \"samples\": [%s]", unit, value, samples > json
    if (ratio != "")
        printf ", \"ratio\": \"%s\", \"is\": %.4f", of, ratio > json
    if (wanted != "")
        printf ", \"at_most\": %s", wanted > json
    if (reached != "")
        printf ", \"reached\": %s", reached == "yes" ? "true" : "false" > json
    printf "}" > json
}

END { print "\n}\n}" > json }

function number(value) {
    return value == "" ? "" : sprintf(value >= 1000 ? "%.0f" : value >= 10 ? "%.1f" : "%.3f", value)
}

function line(key, text, value, of, ratio, wanted, reached) {
    printf "%-13s %-62s %12s  %-24s %7s %8s  %s\n", key, text, value, of, ratio, wanted, reached
}
