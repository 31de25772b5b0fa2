\set ECHO none
-- pg_temp.config(replaced, replacement): a GPSS load configuration of version 1 with one change.
CREATE FUNCTION pg_temp.config(replaced text DEFAULT '', replacement text DEFAULT '')
    RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    config text := 'DATABASE: regress
USER: postgres
KAFKA:
   INPUT:
      SOURCE:
         BROKERS: 127.0.0.1:1
         TOPIC: readings
      COLUMNS:
         - NAME: jdata
           TYPE: json
      FORMAT: json
      ERROR_LIMIT: 25
   OUTPUT:
      TABLE: readings
      MAPPING:
         - NAME: sensor
           EXPRESSION: (jdata->>''sensor'')::int
         - NAME: value
           EXPRESSION: (jdata->>''value'')::numeric
   COMMIT:
      MAX_ROW: 100
      MINIMAL_INTERVAL: 200
';
BEGIN
    ASSERT position(replaced IN config) > 0, 'the configuration lacks: ' || replaced;
    RETURN CASE replaced WHEN '' THEN config ELSE replace(config, replaced, replacement) END;
END $$;
\set ECHO all
