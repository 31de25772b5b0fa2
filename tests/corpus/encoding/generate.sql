-- Has PostgreSQL say what bytes mean in its encodings:
--
--   psql -X -q -At -f generate.sql > expected.jsonl
--
-- For an encoding of one byte per character, a line with "characters": what the bytes 128 to 255
-- stand for, null for nothing. For others, lines with "text" and "hex", the text in that encoding.
-- Needs PostgreSQL 15 and a database with encoding UTF8.
\encoding UTF8
\set ON_ERROR_STOP on

CREATE FUNCTION pg_temp.character(byte integer, encoding name) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN convert_from(set_byte('\x00', 0, byte), encoding);
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;

SELECT jsonb_build_object(
    'encoding', encoding,
    'characters', (SELECT jsonb_agg(pg_temp.character(byte, encoding::name) ORDER BY byte)
                   FROM generate_series(128, 255) AS byte))
FROM unnest('{LATIN1,LATIN2,LATIN3,LATIN4,LATIN5,LATIN6,LATIN7,LATIN8,LATIN9,LATIN10,
    ISO_8859_5,ISO_8859_6,ISO_8859_7,ISO_8859_8,KOI8R,KOI8U,WIN866,WIN874,WIN1250,WIN1251,WIN1252,
    WIN1253,WIN1254,WIN1255,WIN1256,WIN1257,WIN1258}'::text[]) AS encoding;

SELECT jsonb_build_object(
    'encoding', encoding,
    'text', text,
    'hex', encode(convert_to(text, encoding::name), 'hex'))
FROM (VALUES
    ('SJIS', '日本語のテキスト、ｶﾅ。表ソ十'),
    ('EUC_JP', '日本語のテキスト、ｶﾅ。丂'),
    ('EUC_KR', '한국어 텍스트 漢字'),
    ('UHC', '한국어 텍스트 뷁똠'),
    ('EUC_CN', '简体中文文本，测试。'),
    ('GBK', '简体中文文本，測試繁體。'),
    ('GB18030', '简体中文文本，𠀀測試é。'),
    ('BIG5', '繁體中文測試，許功蓋。')) AS t (encoding, text);
