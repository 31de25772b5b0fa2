//! The C symbols that PostgreSQL looks up by name; each hands over to the code it names.

use crate::{api, fdw, pg, worker};
use pgrx::pg_sys::{Datum, FunctionCallInfo, Pg_finfo_record};
use pgrx::prelude::*;

static V1: Pg_finfo_record = Pg_finfo_record { api_version: 1 };

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn gpss_launcher_main(_arg: Datum) {
    worker::launcher::main();
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn gpss_scheduler_main(arg: Datum) {
    worker::scheduler::main(arg);
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn gpss_loader_main(_arg: Datum) {
    worker::loader::main();
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn gpss_alert_main(arg: Datum) {
    worker::alert::main(arg);
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn gpss_agent_main(arg: Datum) {
    pg::agent::agent_main(arg);
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_gpss_fdw_handler() -> &'static Pg_finfo_record {
    &V1
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn gpss_fdw_handler(_fcinfo: FunctionCallInfo) -> Datum {
    pg::fdw::routine::<fdw::scan::KafkaScan>()
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_gpss_before_drop_extension() -> &'static Pg_finfo_record {
    &V1
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn gpss_before_drop_extension(fcinfo: FunctionCallInfo) -> Datum {
    if pg::event_trigger::drops_extension(fcinfo, "gpss") {
        api::control::stop_everything();
    }
    Datum::null()
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_gpss_gpfmt_gpss() -> &'static Pg_finfo_record {
    &V1
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn gpss_gpfmt_gpss(fcinfo: FunctionCallInfo) -> Datum {
    api::formats::gpfmt_gpss(fcinfo)
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_gpss_gpfmt_protobuf() -> &'static Pg_finfo_record {
    &V1
}

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn gpss_gpfmt_protobuf(fcinfo: FunctionCallInfo) -> Datum {
    api::formats::gpfmt_protobuf(fcinfo)
}
