//! The words of a `.proto` file.

/// One word; numbers as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name or keyword, without dots.
    Ident(&'a str),
    Number(&'a str),
    /// What stands between the quotes, escapes as they are written.
    Str(&'a str),
    Punct(u8),
    End,
}

#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text: text.strip_prefix('\u{feff}').unwrap_or(text), at: 0 }
    }

    /// The line that was read last, the first being 1.
    pub fn line(&self) -> usize {
        let read = self.text.as_bytes().get(..self.at).unwrap_or_default();
        1 + read.iter().filter(|b| **b == b'\n').count()
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    pub fn next(&mut self) -> Result<Token<'a>, String> {
        self.skip_blanks()?;
        let Some(first) = self.byte(0) else { return Ok(Token::End) };
        let start = self.at;
        if first.is_ascii_alphabetic() || first == b'_' {
            self.skip_while(|b| b.is_ascii_alphanumeric() || b == b'_');
            return Ok(Token::Ident(self.since(start)));
        }
        let digit_follows = self.byte(1).is_some_and(|b| b.is_ascii_digit());
        if first.is_ascii_digit() || (first == b'.' && digit_follows) {
            let mut before = 0;
            while let Some(byte) = self.byte(0) {
                let sign = matches!(byte, b'+' | b'-') && matches!(before, b'e' | b'E');
                if !(byte.is_ascii_alphanumeric() || byte == b'.' || sign) {
                    break;
                }
                before = byte;
                self.at += 1;
            }
            return Ok(Token::Number(self.since(start)));
        }
        if let b'"' | b'\'' = first {
            return self.string(first);
        }
        if !first.is_ascii_punctuation() {
            return Err("a character that means nothing here".to_owned());
        }
        self.at += 1;
        Ok(Token::Punct(first))
    }

    fn string(&mut self, quote: u8) -> Result<Token<'a>, String> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.byte(0) {
                None | Some(b'\n') => return Err("a string is not closed".to_owned()),
                Some(byte) if byte == quote => break,
                Some(b'\\') if self.byte(1).is_some_and(|b| b != b'\n') => self.at += 2,
                Some(_) => self.at += 1,
            }
        }
        let token = Token::Str(self.since(start));
        self.at += 1;
        Ok(token)
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn skip_while(&mut self, goes_on: impl Fn(u8) -> bool) {
        while self.byte(0).is_some_and(&goes_on) {
            self.at += 1;
        }
    }

    /// White space and comments.
    fn skip_blanks(&mut self) -> Result<(), String> {
        loop {
            self.skip_while(|b| b.is_ascii_whitespace() || b == 0x0b);
            match (self.byte(0), self.byte(1)) {
                (Some(b'/'), Some(b'/')) => self.skip_while(|b| b != b'\n'),
                (Some(b'/'), Some(b'*')) => {
                    let rest = self.text.get(self.at + 2..).unwrap_or_default();
                    let end = rest.find("*/").ok_or("a comment is not closed")?;
                    self.at += 2 + end + 2;
                }
                _ => return Ok(()),
            }
        }
    }
}
