//! Which column a name means that a user has written: the one of exactly that name, else the one that
//! PostgreSQL would look for if the name stood in SQL without quotes.

/// A name as PostgreSQL reads it without quotes.
pub fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// The known name that is meant.
pub fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let exact = known.clone().find(|known| *known == name);
    exact.or_else(|| {
        let folded = folded(name);
        known.clone().find(|known| *known == folded)
    })
}

/// The first of the written names that means the known one; the exact name comes first.
pub fn meaning<'a>(known: &str, written: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let exact = written.clone().find(|name| *name == known);
    exact.or_else(|| written.clone().find(|name| folded(name) == known))
}

/// Names by which SQL without quotes asks for columns that it would not find: folded name and name.
/// Two columns that differ by their letters' case only have none: which is meant cannot be known.
pub fn unquoted<'a>(
    columns: impl Iterator<Item = &'a str> + Clone,
) -> impl Iterator<Item = (String, &'a str)> {
    let all = columns.clone();
    columns.filter_map(move |name| {
        let folded = folded(name);
        let alone = all.clone().filter(|other| self::folded(other) == folded).count() == 1;
        (alone && folded != name).then_some((folded, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_name_comes_first() {
        let known = ["id", "ID", "iucr", "Name"];
        let is = |name| meant(name, known.iter().copied());
        assert_eq!(
            [is("ID"), is("Id"), is("IUCR"), is("Name"), is("name"), is("x")],
            [Some("ID"), Some("id"), Some("iucr"), Some("Name"), None, None]
        );
        let written = ["IUCR", "Iucr", "Name"];
        let for_column = |column| meaning(column, written.iter().copied());
        assert_eq!(
            [for_column("iucr"), for_column("Iucr"), for_column("name"), for_column("NAME")],
            [Some("IUCR"), Some("Iucr"), Some("Name"), None]
        );
    }

    #[test]
    fn a_folded_name_has_to_be_of_one_column() {
        let columns = ["a", "B", "Cd", "cD", "E", "e"];
        let found: Vec<_> = unquoted(columns.into_iter()).collect();
        assert_eq!(found, [("b".to_owned(), "B")]);
    }
}
