//! C functions without the guard that pgrx puts around each call, where a call costs too much or cannot raise.

/// Declares C functions. That pgrx's bindings, which are made of the server's headers, declare the same is
/// checked when this is compiled.
macro_rules! unguarded {
    ($(fn $name:ident($($(#[$of:meta])* $arg:ident: $type:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        unsafe extern "C-unwind" {
            $(fn $name($($(#[$of])* $arg: $type),*) $(-> $result)?;)*
        }
        $(const _: unsafe fn($($(#[$of])* $type),*) $(-> $result)? = pg_sys::$name;)*
    };
}
pub(super) use unguarded;
