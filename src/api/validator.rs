//! The validator of the foreign data wrapper: called for each object that carries options.

use super::answer;
use crate::fdw::options::{OptionContext, Privileges, validate};
use crate::pg::call::Text;
use crate::pg::{caught, fdw};
use pgrx::pg_sys;
use pgrx::prelude::*;

/// Checks the options of a server, user mapping, foreign table or column of the wrapper `gpss`.
#[pg_extern(schema = "gpss", name = "fdw_validator")]
fn fdw_validator(options: Vec<Option<Text>>, catalog: pg_sys::Oid) {
    let place = match catalog {
        pg_sys::ForeignServerRelationId => OptionContext::Server,
        pg_sys::UserMappingRelationId => OptionContext::UserMapping,
        pg_sys::ForeignTableRelationId => OptionContext::Table,
        pg_sys::AttributeRelationId => OptionContext::Column,
        _ => OptionContext::Wrapper,
    };
    answer(|| {
        let options = fdw::options_from_array(options)?;
        for remark in validate(place, &options, Privileges::of_current_user())? {
            caught::notice(remark);
        }
        Ok(())
    });
}
