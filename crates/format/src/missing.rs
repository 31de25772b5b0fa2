//! What to say about a document that has none of the fields that a table's columns are named after.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

/// Fields and members that a reason names at most.
const NAMED: usize = 10;
/// Members of a document that are looked at.
const MAX_MEMBERS: usize = 1000;

/// Why a valid document that has no member of these names gives no row.
pub fn reason(document: &[u8], names: &[String]) -> String {
    let wanted = list(names);
    let kind = match document.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => return of_object(document, names, &wanted),
        Some(b'[') => {
            // The advice first: where reasons are cut, it is the names that are.
            return format!(
                "a JSON array has no fields; format jsonl makes a row of each element of the outermost array, \
                 json_array_elements over a column with source 'value' of any; wanted: {wanted}"
            );
        }
        Some(b'"') => "a JSON string",
        Some(b't' | b'f') => "a JSON boolean",
        Some(b'n') => "JSON null",
        _ => "a JSON number",
    };
    format!("{kind} has no fields, wanted: {wanted}")
}

fn of_object(document: &[u8], names: &[String], wanted: &str) -> String {
    let none = format!("none of the wanted fields is there: {wanted}");
    // Too deep for the reader: there is nothing to be told then.
    let Members(members) = serde_json::from_slice(document).unwrap_or_default();
    let lower: HashSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let by_case: Vec<String> =
        members.iter().filter(|member| lower.contains(&member.to_lowercase())).cloned().collect();
    match (by_case.as_slice(), members.as_slice()) {
        ([], []) => none,
        ([], members) => format!("{none}; there are: {}", list(members)),
        (by_case, _) => format!("{none}; {} differs in case", list(by_case)),
    }
}

fn list(names: &[String]) -> String {
    let mut quoted: Vec<String> =
        names.iter().take(NAMED).map(|name| format!("\"{name}\"")).collect();
    if names.len() > NAMED {
        quoted.push("...".to_owned());
    }
    quoted.join(", ")
}

/// The names of an object's members.
#[derive(Default)]
struct Members(Vec<String>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut names = vec![];
                while let Some(name) = map.next_key::<String>()? {
                    map.next_value::<IgnoredAny>()?;
                    if names.len() < MAX_MEMBERS {
                        names.push(name);
                    }
                }
                Ok(Members(names))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_what_is_wanted_and_what_is_there() {
        let names = ["username".to_owned(), "id".to_owned()];
        let said = |document: &str| reason(document.as_bytes(), &names);
        let none = "none of the wanted fields is there: \"username\", \"id\"";
        assert_eq!(said(" {}"), none);
        assert_eq!(said("{\"a\": [1], \"b\": {}}"), format!("{none}; there are: \"a\", \"b\""));
        assert_eq!(
            said("{\"x\": 1, \"userName\": 2}"),
            format!("{none}; \"userName\" differs in case")
        );
        assert_eq!(said(" null"), "JSON null has no fields, wanted: \"username\", \"id\"");
        assert_eq!(said("-1"), "a JSON number has no fields, wanted: \"username\", \"id\"");
        assert!(said("[{\"id\": 1}]").starts_with("a JSON array has no fields"));
    }

    #[test]
    fn a_deep_or_wide_document_costs_no_stack_and_little_memory() {
        let names = ["a".to_owned()];
        let deep = format!("{{\"x\": {}{}}}", "[".repeat(4_000), "]".repeat(4_000));
        assert!(reason(deep.as_bytes(), &names).starts_with("none of the wanted"));
        let wide: Vec<String> = (0..5_000).map(|n| format!("\"k{n}\": {n}")).collect();
        let wide = format!("{{{}}}", wide.join(", "));
        assert!(reason(wide.as_bytes(), &names).ends_with("\"k9\", ..."));
    }
}
