-- Has PostgreSQL's COPY say what each payload holds, for the formats csv and text:
--
--   psql -X -q -f generate.sql < cases.jsonl > expected.jsonl
--
-- A case is one JSON object per line: "format"; "options" of COPY as an object of strings; "columns",
-- the names of up to three columns, a, b and c; and "payload", or "hex" with the bytes of one that is
-- no JSON string. The result is the case with "rows", a list of lists of strings and nulls, or with
-- "error", COPY's message. The result of an earlier run can be the input of a later one.
--
-- The cases of tests/corpus/text are made by this script, too. Left out there: `\.` behind something
-- on its line, after which COPY goes on unless it reads from a client.
--
-- Needs PostgreSQL 15, a database with encoding UTF8, a superuser and a shell with base64 on the
-- server: the payload gets there as the output of a program, so that nothing looks into it on its
-- way. (psql would take `\.` for the end of the data.)
\encoding UTF8
\set ON_ERROR_STOP on

CREATE TEMP TABLE test_case (id bigserial, line text);
-- No byte of a line may mean anything to COPY.
\copy test_case (line) FROM pstdin WITH (FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01')

CREATE TEMP TABLE target_1 (a text);
CREATE TEMP TABLE target_2 (a text, b text);
CREATE TEMP TABLE target_3 (a text, b text, c text);

CREATE FUNCTION pg_temp.result(test_case json) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    target text := 'target_' || json_array_length(test_case -> 'columns');
    payload bytea := CASE WHEN test_case ->> 'hex' IS NOT NULL
        THEN decode(test_case ->> 'hex', 'hex')
        ELSE convert_to(test_case ->> 'payload', 'UTF8') END;
    program text := 'echo ' || translate(encode(payload, 'base64'), E'\n', '') || ' | base64 -d';
    options text;
    rows jsonb;
BEGIN
    SELECT string_agg(CASE WHEN key LIKE 'force%' THEN format('%s (%s)', key, value)
                           ELSE format('%s %L', key, value) END, ', ')
    INTO options
    FROM (SELECT 'format' AS key, test_case ->> 'format' AS value
          UNION ALL SELECT * FROM json_each_text(test_case -> 'options')) AS o;
    EXECUTE format('COPY %I FROM PROGRAM %L WITH (%s)', target, program, options);
    EXECUTE format(
        'SELECT coalesce(jsonb_agg((SELECT jsonb_agg(value) FROM json_each(to_json(t)))
                                   ORDER BY ctid), %L) FROM %I AS t',
        '[]', target) INTO rows;
    EXECUTE format('DELETE FROM %I', target);
    RETURN jsonb_build_object('rows', rows);
EXCEPTION WHEN OTHERS THEN
    RETURN jsonb_build_object('error', SQLERRM);
END $$;

COPY (
    SELECT (line::jsonb - 'rows' - 'error') || pg_temp.result(line::json) FROM test_case ORDER BY id
) TO STDOUT WITH (FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01');
