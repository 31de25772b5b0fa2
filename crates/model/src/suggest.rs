//! The nearest known name to a misspelt one, for hints.

/// Longer names are not compared: the cost grows with the square of the length.
const MAX_CHARS: usize = 128;

/// The known name that `name` most likely stands for; None when nothing is near.
///
/// Case does not count, so that `Topic` finds `TOPIC`. Near means: at most a third of the letters
/// (and always one) has to be changed. Of equally near names the first wins.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = letters(name)?;
    known
        .into_iter()
        .filter_map(|candidate| {
            let letters = letters(candidate)?;
            let allowed = name.len().max(letters.len()).div_ceil(3);
            let distance = distance(&name, &letters);
            (distance <= allowed && distance < name.len().max(1)).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A hint that names the nearest known name, in the words PostgreSQL uses; None when nothing is near.
pub fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, known).map(|near| format!("Perhaps you meant \"{near}\"."))
}

fn letters(name: &str) -> Option<Vec<char>> {
    let letters: Vec<char> =
        name.chars().take(MAX_CHARS + 1).flat_map(char::to_lowercase).collect();
    (letters.len() <= MAX_CHARS).then_some(letters)
}

/// Levenshtein's distance: letters to insert, delete or replace.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let cost = (diagonal + usize::from(x != y)).min(left + 1).min(*above + 1);
            diagonal = *above;
            *above = cost;
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_near_and_only_the_near() {
        let known = ["TOPIC", "BROKERS", "MAX_ROW", "MINIMAL_INTERVAL"];
        assert_eq!(nearest("TOPICS", known), Some("TOPIC"));
        assert_eq!(nearest("Topic", known), Some("TOPIC"));
        assert_eq!(nearest("MAXROW", known), Some("MAX_ROW"));
        assert_eq!(nearest("MINMAL_INTERVALL", known), Some("MINIMAL_INTERVAL"));
        assert_eq!(nearest("PASSWORD", known), None);
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest(&"T".repeat(10_000), known), None);
    }

    #[test]
    fn distance_counts_edits() {
        let d = |a: &str, b: &str| {
            distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>())
        };
        assert_eq!(d("kitten", "sitting"), 3);
        assert_eq!(d("", "abc"), 3);
        assert_eq!(d("abc", ""), 3);
        assert_eq!(d("größe", "grösse"), 2);
    }
}
