//! The options of servers and user mappings that are for schema registries, not for librdkafka.

/// Who asks a schema registry that wants to know (HTTP basic authentication).
pub const REGISTRY_USER: &str = "schema_registry_user";
pub const REGISTRY_PASSWORD: &str = "schema_registry_password";

/// Options of formats that a server may have too, for all its tables.
pub const OF_SERVERS: [&str; 5] =
    ["schema_registry", "schema_ca", "schema_cert", "schema_key", "schema_min_tls_version"];

/// Options of servers and user mappings that are not for librdkafka.
pub fn is_own(name: &str) -> bool {
    OF_SERVERS.contains(&name) || [REGISTRY_USER, REGISTRY_PASSWORD].contains(&name)
}
