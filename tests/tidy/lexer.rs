//! Just enough of Rust's lexical rules to look at code without its comments, strings and tests.
//!
//! It takes code that compiles. It knows no macros: what stands inside of one is looked at like any other code.

/// A word, a number, `::` or a single sign, with its line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == text
    }
}

/// The code without white space, comments and literals of text.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: source, line: 1, tokens: Vec::new() };
    while lexer.step() {}
    lexer.tokens
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    /// Takes one thing off the front; false at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else { return false };
        let length = if self.rest.starts_with("//") {
            self.rest.find('\n').unwrap_or(self.rest.len())
        } else if self.rest.starts_with("/*") {
            block_comment(self.rest)
        } else if let Some(length) = text_literal(self.rest) {
            length
        } else if first == '\'' {
            quote(self.rest)
        } else if first.is_alphanumeric() || first == '_' {
            let length = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
            self.push(length);
            length
        } else if self.rest.starts_with("::") {
            self.push(2);
            2
        } else {
            if !first.is_whitespace() {
                self.push(first.len_utf8());
            }
            first.len_utf8()
        };
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        true
    }

    fn push(&mut self, length: usize) {
        self.tokens.push(Token { text: self.rest[..length].to_owned(), line: self.line });
    }
}

/// Length of a block comment, which may hold others.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of a literal of text at the front: plain, raw, of bytes or of C.
fn text_literal(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""]
        .into_iter()
        .find(|prefix| text.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"')))?;
    let rest = &text[prefix.len()..];
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    if prefix.ends_with('r') {
        let end = format!("\"{}", "#".repeat(hashes));
        let begin = prefix.len() + hashes + 1;
        return Some(text[begin..].find(&end).map_or(text.len(), |at| begin + at + end.len()));
    }
    if hashes > 0 {
        return None;
    }
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(prefix.len() + at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// Length of a character literal, or of the quote of a lifetime.
fn quote(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let from = at + escaped.len_utf8();
            text[from..].find('\'').map_or(text.len(), |end| from + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// Code and lines that are not tests.
#[derive(Debug)]
pub(crate) struct Production {
    pub(crate) tokens: Vec<Token>,
    pub(crate) lines: usize,
}

/// Leaves out every item under `#[cfg(test)]`.
pub(crate) fn production(source: &str) -> Production {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let all = tokens(source);
    let mut kept = Vec::new();
    let mut lines = source.lines().count();
    let mut at = 0;
    while at < all.len() {
        let is_marked = all.len() - at > MARK.len() && all[at..].iter().zip(MARK).all(|(token, mark)| token.is(mark));
        if is_marked {
            let end = item_end(&all, at + MARK.len());
            let last = &all[end.min(all.len()) - 1];
            lines -= last.line + 1 - all[at].line;
            at = end;
        } else {
            kept.push(all[at].clone());
            at += 1;
        }
    }
    Production { tokens: kept, lines }
}

/// Index behind the item that begins at `from`: behind its block or its semicolon.
fn item_end(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        tokens(source).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_texts_are_left_out() {
        let source =
            "a // todo!\nb /* x /* y */ z */ c \"// \\\" no\" d r#\"a \" b\"# e b\"f\" 'g' '\\'' '\\u{1F600}' h";
        assert_eq!(words(source), ["a", "b", "c", "d", "e", "h"]);
    }

    #[test]
    fn lifetimes_are_not_character_literals() {
        assert_eq!(
            words("fn f<'a>(x: &'a str, c: char) { 'x' }").join(" "),
            "fn f < a > ( x : & a str , c : char ) { }"
        );
        assert_eq!(words("r#type br crate::a"), ["r", "#", "type", "br", "crate", "::", "a"]);
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let found = tokens("a\n/* \n */ b \"\n\n\" c");
        let lines: Vec<usize> = found.iter().map(|token| token.line).collect();
        assert_eq!(lines, [1, 3, 5]);
    }

    #[test]
    fn items_of_tests_are_left_out_with_their_lines() {
        let source = "a;\n#[cfg(test)]\nmod tests {\n fn b() { [1; 2] }\n}\n#[cfg(test)]\nmod more;\n#[cfg(test)] #[expect(x)] use c;\nd;\n";
        let found = production(source);
        let words: Vec<&str> = found.tokens.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(words, ["a", ";", "d", ";"]);
        assert_eq!(found.lines, 2);
    }
}
