CREATE TABLE mobile_log (
    package_name text,
    app_name     text,
    app_version  text,
    event        text,
    ts           bigint,  -- milliseconds since 1970
    carrier      text,
    network      text,
    model        text,
    city         text,
    download_url text
);
