//! Where a schema registry is, as users write it: `https://host:port/path`, several separated by
//! commas.

use gpss_model::error::{Error, Result, SqlState};

/// One address of a registry. What is shown of it never has the user and password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Scheme, host, port and path, without a slash at the end.
    pub url: String,
    pub tls: bool,
    /// User and password, when the address has them.
    pub login: Option<(String, String)>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url)
    }
}

/// Reads a list of addresses; http where the scheme is missing.
///
/// # Errors
/// `INVALID_PARAMETER`; the message has no more of an address than its place in the list, because
/// what is wrong with it may be its password.
pub(super) fn parse(list: &str) -> Result<Vec<Address>> {
    let mut addresses = Vec::new();
    for (index, text) in list.split(',').map(str::trim).enumerate() {
        let address = one(text).ok_or_else(|| {
            Error::new(
                SqlState::INVALID_PARAMETER,
                format!("address {} of the schema registry is not valid", index + 1),
            )
            .hint(
                "An address is http://host:port or https://host:port, perhaps with a path; several \
                 are separated by commas. In a user name or password write special characters as \
                 %XX.",
            )
        })?;
        addresses.push(address);
    }
    Ok(addresses)
}

/// A user and a password.
pub type Login = (String, String);

/// The list without users and passwords, and the one login that it has.
///
/// # Errors
/// `INVALID_PARAMETER`: as `parse`, and for different logins.
pub fn split_login(list: &str) -> Result<(String, Option<Login>)> {
    let addresses = parse(list)?;
    let mut logins: Vec<Login> = addresses.iter().filter_map(|a| a.login.clone()).collect();
    logins.dedup();
    if logins.len() > 1 {
        return Err(Error::new(
            SqlState::INVALID_PARAMETER,
            "the addresses of the schema registry have different users or passwords",
        ));
    }
    let urls: Vec<String> = addresses.into_iter().map(|address| address.url).collect();
    Ok((urls.join(","), logins.pop()))
}

fn one(text: &str) -> Option<Address> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => ("http".to_owned(), text),
    };
    let tls = match scheme.as_str() {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            (Some((decode(user)?, decode(password)?)), host)
        }
        None => (None, authority),
    };
    let name = match host.strip_prefix('[') {
        Some(v6) => {
            let (ip, port) = v6.split_once(']')?;
            ip.parse::<std::net::Ipv6Addr>().ok()?;
            check_port(port)?;
            ip
        }
        None => {
            let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            check_port(port)?;
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            name.chars().all(known).then_some(name)?
        }
    };
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '"' | '<' | '>' | '\\');
    if name.is_empty() || !path.chars().all(plain) {
        return None;
    }
    Some(Address { url: format!("{scheme}://{host}{}", path.trim_end_matches('/')), tls, login })
}

/// A port with its colon, or nothing.
fn check_port(port: &str) -> Option<()> {
    if port.is_empty() {
        return Some(());
    }
    port.strip_prefix(':')?.parse::<u16>().ok().filter(|&port| port > 0).map(drop)
}

/// Text with %XX for bytes.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Text as a part of a path, all but letters, digits and a few signs as %XX.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(list: &str) -> Vec<String> {
        parse(list).unwrap().into_iter().map(|address| address.url).collect()
    }

    #[test]
    fn addresses_are_read_as_users_write_them() {
        assert_eq!(
            urls(" http://a:8081 ,HTTPS://b.c/path/,d_e:1,[::1]:8081, https://[fe80::1]/x/y"),
            [
                "http://a:8081",
                "https://b.c/path",
                "http://d_e:1",
                "http://[::1]:8081",
                "https://[fe80::1]/x/y"
            ]
        );
        assert!(parse("https://a").unwrap()[0].tls);
    }

    #[test]
    fn a_login_is_taken_out_of_the_address() {
        let [address] = &parse("https://me:p%40ss%3a@h:1/x").unwrap()[..] else { panic!() };
        assert_eq!(address.url, "https://h:1/x");
        assert_eq!(address.login, Some(("me".to_owned(), "p@ss:".to_owned())));
        assert_eq!(format!("{address:?}"), "https://h:1/x");
        assert_eq!(
            parse("http://key@h").unwrap()[0].login,
            Some(("key".to_owned(), String::new()))
        );
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_shown() {
        for wrong in [
            "",
            "http://",
            "ftp://a",
            "http://a:0",
            "http://a:99999",
            "http://a:b",
            "http://a b",
            "http://u:%zz@a",
            "http://a/?x",
            "http://a/#x",
            "http://[::1",
            "http://[x]:1",
            "http://ä",
            "http://a\r\nX: y",
            "http://a/\nb",
            "http://u:secret@:1",
        ] {
            let error = parse(&format!("ok, {wrong}")).unwrap_err();
            assert_eq!(error.message, "address 2 of the schema registry is not valid", "{wrong}");
        }
    }

    #[test]
    fn subjects_are_encoded() {
        assert_eq!(encode("a/b ü?.-_~"), "a%2Fb%20%C3%BC%3F.-_~");
    }
}
