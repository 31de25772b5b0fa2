-- Has PostgreSQL say what json_in and the field operators make of each document:
--
--   psql -X -q -f generate.sql < documents.jsonl > expected.jsonl
--
-- Documents come one per line, each written as a JSON string. The first line of the result holds
-- the fields asked for, each a chain of operators [operator, argument]; then one line per document:
-- whether json_in accepts it, and for each field the text, null, or {"error": SQLSTATE}.
-- Needs PostgreSQL 15 and a database with encoding UTF8.
\encoding UTF8
\set ON_ERROR_STOP on

CREATE TEMP TABLE document (id bigserial, line text);
-- No byte of a line may mean anything to COPY.
\copy document (line) FROM pstdin WITH (FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01')

CREATE TEMP TABLE field (id serial, operators json);
INSERT INTO field (operators) VALUES
    ('[["->", "a"]]'),
    ('[["->>", "a"]]'),
    ('[["->>", "b"]]'),
    ('[["->>", ""]]'),
    ('[["->>", "0"]]'),
    ('[["->>", "é😀"]]'),
    ('[["->", "a"], ["->", "b"]]'),
    ('[["->", "a"], ["->>", "b"]]'),
    ('[["->", "a"], ["->", "b"], ["->>", "c"]]'),
    ('[["#>", []]]'),
    ('[["#>>", []]]'),
    ('[["#>", ["a"]]]'),
    ('[["#>>", ["a"]]]'),
    ('[["#>", ["a", "b"]]]'),
    ('[["#>>", ["a", "b"]]]'),
    ('[["#>>", ["a", "b", "c"]]]'),
    ('[["#>>", ["a", ""]]]'),
    ('[["#>>", ["0"]]]'),
    ('[["#>>", ["a", "0"]]]'),
    ('[["#>", ["a", "-1"]]]'),
    ('[["#>>", ["a", " +1"]]]'),
    ('[["#>>", ["a", "1x"]]]'),
    ('[["#>>", ["a", "1 "]]]'),
    ('[["#>>", ["a", "0", "b"]]]'),
    ('[["#>>", ["a", "b", "0"]]]'),
    ('[["->", "a"], ["#>>", ["b"]]]'),
    ('[["->", "a"], ["#>>", []]]'),
    ('[["#>", ["a"]], ["->>", "b"]]'),
    ('[["#>", ["a", "b"]], ["->>", "c"]]');

CREATE FUNCTION pg_temp.accepted(document text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
    PERFORM document::json;
    RETURN true;
EXCEPTION WHEN invalid_text_representation THEN
    RETURN false;
END $$;

CREATE FUNCTION pg_temp.result(document text, operators json) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    value text := document;
    operator json;
    path text[];
BEGIN
    FOR operator IN SELECT json_array_elements(operators) LOOP
        IF operator ->> 0 LIKE '#%' THEN
            path := ARRAY(SELECT json_array_elements_text(operator -> 1));
        END IF;
        value := CASE operator ->> 0
            WHEN '->' THEN (value::json -> (operator ->> 1))::text
            WHEN '->>' THEN value::json ->> (operator ->> 1)
            WHEN '#>' THEN (value::json #> path)::text
            WHEN '#>>' THEN value::json #>> path
        END;
    END LOOP;
    RETURN to_json(value);
EXCEPTION WHEN data_exception THEN
    RETURN json_build_object('error', SQLSTATE);
END $$;

-- Not SELECT: psql leaves out of a result what it takes for no character, such as U+10FFFF.
COPY (
    SELECT json_build_object('fields', json_agg(operators ORDER BY id)) FROM field
) TO STDOUT WITH (FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01');

COPY (
    SELECT json_build_object(
        'document', text,
        'accepted', accepted,
        'results', CASE WHEN accepted
            THEN (SELECT json_agg(pg_temp.result(text, operators) ORDER BY id) FROM field) END)
    FROM (SELECT id, line::json #>> '{}' AS text FROM document) AS d,
         pg_temp.accepted(text) AS accepted
    ORDER BY d.id
) TO STDOUT WITH (FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01');
