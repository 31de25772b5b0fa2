//! `gpss.convert`: a load configuration of any version as one of version 3.

use super::answer;
use super::jobs::template_values;
use super::submit;
use crate::pg::call::{Json, Text};
use gpss_model::config;
use pgrx::prelude::*;

/// The load configuration in version 3, for a look or a file; `properties` fill its `{{templates}}`.
#[pg_extern(schema = "gpss", name = "convert", volatile, parallel_unsafe)]
fn convert(config: Text, properties: default!(Json, "'{}'")) -> Text {
    answer(|| {
        let config = submit::parse(&config, &template_values(properties)?)?;
        Ok(Text(config::write(&config)))
    })
}
