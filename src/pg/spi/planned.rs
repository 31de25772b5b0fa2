//! The plan of a kept statement as of now, as `SPI_execute_plan` gets it.

use pgrx::{PgList, pg_sys};

/// Hands the statement, parsed and planned as of now, to `then`; None: it is more than one.
///
/// # Safety
/// `plan` is a kept plan, SPI is connected. Raises: what planning raises.
pub(super) unsafe fn planned<R>(
    plan: pg_sys::SPIPlanPtr,
    then: impl FnOnce(Option<(*mut pg_sys::CachedPlanSource, *mut pg_sys::CachedPlan)>) -> R,
) -> R {
    // SAFETY: plancache.c: the plan stays referenced by the resource owner until it is released
    // here or the transaction ends; SPI has made one source for the one statement of a plan.
    unsafe {
        pg_sys::CommandCounterIncrement();
        // As _SPI_execute_plan: the plan takes the locks, and the snapshot comes after them.
        let cached = pg_sys::SPI_plan_get_cached_plan(plan);
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let sources =
            PgList::<pg_sys::CachedPlanSource>::from_pg(pg_sys::SPI_plan_get_plan_sources(plan));
        let source = sources.get_ptr(0).filter(|_| !cached.is_null());
        let answer = then(source.map(|source| (source, cached)));
        if !cached.is_null() {
            pg_sys::ReleaseCachedPlan(cached, pg_sys::CurrentResourceOwner);
        }
        pg_sys::PopActiveSnapshot();
        pg_sys::CommandCounterIncrement();
        answer
    }
}
