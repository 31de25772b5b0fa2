//! What a schema registry's client is made of: options as users write them.

use std::fmt;

use gpss_model::error::{Error, Result, SqlState};
use gpss_model::format::FormatSpec;

/// Where the registry is and who asks it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistryConfig {
    /// `http(s)://host:port`, several separated by commas.
    pub addresses: String,
    /// Path of a PEM file with the authorities to trust, instead of the system's.
    pub ca: Option<String>,
    /// Path of a PEM file with the client's certificate, and those up to an authority.
    pub cert: Option<String>,
    /// Path of a PEM file with the key of `cert`.
    pub key: Option<String>,
    pub min_tls: MinTls,
    /// For HTTP's basic authentication; goes before what an address has.
    pub user: Option<String>,
    pub password: Option<String>,
}

/// The lowest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinTls {
    #[default]
    V1_2,
    V1_3,
}

impl MinTls {
    /// As users write it. 1.0 and 1.1 are taken for 1.2: nobody should speak less any more, and
    /// configurations have them because 1.0 is GPSS's default.
    fn by_name(name: &str) -> Option<MinTls> {
        match name {
            "1.0" | "1.1" | "1.2" => Some(MinTls::V1_2),
            "1.3" => Some(MinTls::V1_3),
            _ => None,
        }
    }
}

impl RegistryConfig {
    /// The registry that the options of a format name; None when they name none.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` for an unknown version of TLS, a key without certificate, or the other
    /// way round.
    pub fn new(
        content: &FormatSpec,
        user: Option<&str>,
        password: Option<&str>,
    ) -> Result<Option<RegistryConfig>> {
        let owned = |text: &str| text.to_owned();
        let Some(addresses) = content.get("schema_registry").map(owned) else { return Ok(None) };
        let invalid = |message| Error::new(SqlState::INVALID_PARAMETER, message);
        let min_tls = match content.get("schema_min_tls_version") {
            Some(name) => MinTls::by_name(name).ok_or_else(|| {
                invalid("option \"schema_min_tls_version\" must be 1.0, 1.1, 1.2 or 1.3")
            })?,
            None => MinTls::default(),
        };
        let (cert, key) = (content.get("schema_cert"), content.get("schema_key"));
        if cert.is_some() != key.is_some() {
            return Err(invalid("options \"schema_cert\" and \"schema_key\" need each other"));
        }
        Ok(Some(RegistryConfig {
            addresses,
            ca: content.get("schema_ca").map(owned),
            cert: cert.map(owned),
            key: key.map(owned),
            min_tls,
            user: user.map(owned),
            password: password.map(owned),
        }))
    }
}

/// Without what must not be shown: addresses may hold a password.
impl fmt::Debug for RegistryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryConfig").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpss_model::format::Format;

    #[test]
    fn options_make_a_configuration() {
        let config = |options: &[(&str, &str)]| {
            let content = FormatSpec::with_options(Format::Avro, options.iter().copied()).unwrap();
            RegistryConfig::new(&content, Some("me"), Some("secret"))
        };
        assert_eq!(config(&[]).unwrap(), None);
        let full = config(&[
            ("schema_registry", "https://a"),
            ("schema_ca", "/ca"),
            ("schema_cert", "/cert"),
            ("schema_key", "/key"),
            ("schema_min_tls_version", "1.3"),
        ]);
        let full = full.unwrap().unwrap();
        assert_eq!((full.min_tls, full.ca.as_deref()), (MinTls::V1_3, Some("/ca")));
        assert!(!format!("{full:?}").contains("secret"));
        let old = [("schema_registry", "a"), ("schema_min_tls_version", "1.0")];
        assert_eq!(config(&old).unwrap().unwrap().min_tls, MinTls::V1_2);
        let error = config(&[("schema_registry", "a"), ("schema_cert", "/cert")]).unwrap_err();
        assert_eq!(error.sqlstate, SqlState::INVALID_PARAMETER);
    }
}
