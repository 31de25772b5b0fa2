//! What a user should hear of a job that can be submitted and may yet not do what is wanted.

use super::columns;
use super::schemas::table_oid;
use crate::fdw::columns::Layout;
use crate::pg::caught::{self, Level};
use crate::pg::fdw::Table;
use crate::pg::tx::Tx;
use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::{Format, FormatSpec};
use gpss_model::job::JobSpec;

/// Tells the user all of it.
pub fn tell(tx: &Tx, spec: &JobSpec) -> Result<()> {
    for (level, remark) in all(tx, spec)? {
        caught::report(level, &remark);
    }
    Ok(())
}

/// Remarks, each with its weight.
pub fn all(tx: &Tx, spec: &JobSpec) -> Result<Vec<(Level, Error)>> {
    let mut remarks = columns::left_alone(tx, spec)?;
    let layout = Layout::of(&Table::load(table_oid(tx, &spec.source)?))?;
    if layout.contents.iter().flatten().any(lacks_schema) {
        let remark = Error::new(
            SqlState::WARNING,
            "format avro has no schema: only Avro container files can be read",
        )
        .hint(
            "Set SCHEMA_REGISTRY_ADDR or SCHEMA_PATH_ON_GPDB in AVRO_OPTION, or the foreign table's \
             option schema_registry, schema or schema_path.",
        );
        remarks.push((Level::Warning, remark));
    }
    Ok(remarks)
}

fn lacks_schema(content: &FormatSpec) -> bool {
    content.format == Format::Avro
        && !content.has_schema()
        && content.get("schema_registry").is_none()
}
