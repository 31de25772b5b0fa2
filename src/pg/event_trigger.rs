//! What an event trigger function is told (event_trigger.h).

use std::ffi::CStr;

use pgrx::{PgList, pg_sys};

use crate::pg::compat;

/// Is this a call for `DROP EXTENSION` of, among others, `name`?
///
/// `call` is what PostgreSQL passed to the C function, alive during the call.
pub fn drops_extension(call: pg_sys::FunctionCallInfo, name: &str) -> bool {
    // SAFETY: event_trigger.h: a call by an event trigger has an EventTriggerData as its context;
    // parsenodes.h: the objects of DROP EXTENSION are String nodes.
    unsafe {
        let context = (*call).context;
        if !pgrx::is_a(context, pg_sys::NodeTag::T_EventTriggerData) {
            return false;
        }
        let statement = (*context.cast::<pg_sys::EventTriggerData>()).parsetree;
        if !pgrx::is_a(statement, pg_sys::NodeTag::T_DropStmt) {
            return false;
        }
        let drop = statement.cast::<pg_sys::DropStmt>();
        (*drop).removeType == pg_sys::ObjectType::OBJECT_EXTENSION
            && PgList::<pg_sys::Node>::from_pg((*drop).objects).iter_ptr().any(|node| {
                CStr::from_ptr(compat::string_value(node)).to_bytes() == name.as_bytes()
            })
    }
}
