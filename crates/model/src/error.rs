//! The one error type of the crate: what PostgreSQL's `ereport` carries, as a plain value.
//! Pure: it knows no PostgreSQL call; `pg::caught` turns an ereport into it and it into an ereport.

use std::fmt;

/// Who has to act on an error; decides between an error row, a retry and a stopped job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// One message is at fault: classes 20 to 23, 2F, 44, 54, P0, codes of the user's own.
    Data,
    /// The surroundings are at fault and may mend by themselves, or by somebody who knows nothing of
    /// the job: classes 08, 28, 40, 53, 57, 58, 72, 55006, 55P03.
    Environment,
    /// Only the user can mend it: configuration, missing table, privilege.
    Config,
    /// We are at fault.
    Bug,
}

/// A five-character SQLSTATE as PostgreSQL prints it (errcodes.txt).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub [u8; 5]);

macro_rules! states {
    ($($name:ident = $code:literal),* $(,)?) => {
        impl SqlState { $(#[doc = $code] pub const $name: SqlState = SqlState::new($code);)* }
    };
}

states! {
    SUCCESS = "00000",
    WARNING = "01000",
    CONNECTION_FAILURE = "08006",
    FEATURE_NOT_SUPPORTED = "0A000",
    NULL_VALUE_NOT_ALLOWED = "22004",
    INVALID_TEXT = "22P02",
    INVALID_PARAMETER = "22023",
    INVALID_AUTHORIZATION = "28000",
    UNTRANSLATABLE_CHARACTER = "22P05",
    CHARACTER_NOT_IN_REPERTOIRE = "22021",
    NO_DATA = "02000",
    SERIALIZATION_FAILURE = "40001",
    SYNTAX_ERROR = "42601",
    INSUFFICIENT_PRIVILEGE = "42501",
    UNDEFINED_DATABASE = "3D000",
    UNDEFINED_OBJECT = "42704",
    UNDEFINED_TABLE = "42P01",
    UNDEFINED_COLUMN = "42703",
    DUPLICATE_OBJECT = "42710",
    WRONG_OBJECT_TYPE = "42809",
    DATATYPE_MISMATCH = "42804",
    UNDEFINED_FUNCTION = "42883",
    GROUPING_ERROR = "42803",
    WINDOWING_ERROR = "42P20",
    INSUFFICIENT_RESOURCES = "53000",
    NOT_IN_PREREQUISITE_STATE = "55000",
    QUERY_CANCELED = "57014",
    FDW_ERROR = "HV000",
    FDW_INVALID_OPTION_NAME = "HV00D",
    FDW_OPTION_NAME_NOT_FOUND = "HV00J",
    FDW_UNABLE_TO_ESTABLISH_CONNECTION = "HV00N",
    INTERNAL = "XX000",
}

impl SqlState {
    /// From the five ASCII characters; for constants (panics at compile time otherwise).
    pub const fn new(code: &str) -> Self {
        let b = code.as_bytes();
        assert!(b.len() == 5);
        SqlState([b[0], b[1], b[2], b[3], b[4]])
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }

    /// The class by PostgreSQL's first two characters.
    ///
    /// Class 42 is the user's to mend (missing table, wrong type, privilege); a duplicate key, a bad
    /// cast or a value beyond a limit is the message's, and so is a code that PostgreSQL does not
    /// know, because only somebody's RAISE can have made it. Credentials (28) expire and are renewed
    /// at the other side.
    pub fn class(&self) -> Class {
        match self.as_str() {
            // object_in_use, lock_not_available.
            "55006" | "55P03" => Class::Environment,
            // sequence_generator_limit_exceeded
            "2200H" => Class::Config,
            // read_only_sql_transaction: the server is a standby or was set read only.
            "25006" => Class::Environment,
            code => match &code[..2] {
                "08" | "28" | "40" | "53" | "57" | "58" | "72" => Class::Environment,
                "XX" => Class::Bug,
                "00" | "01" | "02" | "03" | "0A" | "0B" | "0F" | "0L" | "0P" | "0Z" | "24"
                | "25" | "26" | "27" | "2B" | "2D" | "34" | "3B" | "3D" | "3F" | "42" | "55"
                | "F0" | "HV" => Class::Config,
                _ => Class::Data,
            },
        }
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error in PostgreSQL's shape: primary message (lower case, no full stop), DETAIL, HINT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub sqlstate: SqlState,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub subject: Option<Box<Subject>>,
}

/// What in a table an error is about, where PostgreSQL says so (`errtablecol`, `errtableconstraint`
/// of relcache.c).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    pub schema: String,
    pub table: String,
    pub column: Option<String>,
    pub constraint: Option<String>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Error { sqlstate, message: message.into(), detail: None, hint: None, subject: None }
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn class(&self) -> Class {
        self.sqlstate.class()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_tells_who_has_to_act() {
        let class = |code| SqlState::new(code).class();
        for code in ["20000", "22P02", "23505", "2F005", "54000", "P0001", "G0001", "44000"] {
            assert_eq!(class(code), Class::Data, "{code}");
        }
        for code in [
            "53100", "53200", "53300", "53400", "40001", "40P01", "55P03", "55006", "57014",
            "58030", "08006", "25006", "28000", "28P01", "72000",
        ] {
            assert_eq!(class(code), Class::Environment, "{code}");
        }
        for code in ["2200H", "42P01", "42501", "0A000", "HV00D", "55000", "02000"] {
            assert_eq!(class(code), Class::Config, "{code}");
        }
        assert_eq!(class("XX000"), Class::Bug);
    }
}
