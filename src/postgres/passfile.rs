//! The password of a connection whose URL has none, from the file that PostgreSQL's own programs read (`~/.pgpass`).

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The fields of the file for a connection: host, port, database and user.
pub(super) type Wanted<'a> = [&'a str; 4];

/// The password that a file has for a connection. Ignores a file that others than its owner can read.
pub(super) fn password(file: &Path, wanted: Wanted<'_>) -> Option<String> {
    if std::fs::metadata(file).ok()?.mode() & 0o077 != 0 {
        tracing::warn!(file = %file.display(), "passwords are not taken from a file that others can read: chmod 600");
        return None;
    }
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| of_line(line, wanted))
}

/// The password of a line, if the line is for this connection. An asterisk matches everything.
fn of_line(line: &str, wanted: Wanted<'_>) -> Option<String> {
    let mut rest = line;
    for one in wanted {
        let (field, behind) = field(rest)?;
        if field != "*" && field != one {
            return None;
        }
        rest = behind;
    }
    Some(unescaped(rest)).filter(|password| !password.is_empty())
}

/// The first field, and the text after its colon.
fn field(text: &str) -> Option<(String, &str)> {
    let mut is_escaped = false;
    let end = text.find(|letter| {
        let is_end = letter == ':' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        is_end
    })?;
    Some((unescaped(&text[..end]), &text[end + 1..]))
}

/// The text without the backslashes that escape colons and backslashes.
fn unescaped(text: &str) -> String {
    let mut is_escaped = false;
    text.chars()
        .filter(|letter| {
            is_escaped = *letter == '\\' && !is_escaped;
            !is_escaped
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const WANTED: Wanted<'_> = ["db.example", "5432", "x", "ada"];

    #[test]
    fn the_first_line_that_is_for_a_connection_has_its_password() {
        for (line, password) in [
            ("db.example:5432:x:ada:secret", Some("secret")),
            ("*:*:*:ada:it\\:s\\\\so", Some("it:s\\so")),
            ("db\\.example:*:*:*:s", Some("s")),
            ("db.example:5432:x:ada:with:colons", Some("with:colons")),
            ("db.example:5432:y:ada:secret", None),
            ("db.example:5432:x", None),
            ("", None),
        ] {
            assert_eq!(of_line(line, WANTED).as_deref(), password, "{line}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pgpass");
        std::fs::write(&file, "# *:*:*:*:comment\nother:*:*:*:no\n*:*:*:*:yes\n").unwrap();
        for (mode, taken) in [(0o600, Some("yes")), (0o640, None)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(password(&file, WANTED).as_deref(), taken, "{mode:o}");
        }
        assert_eq!(password(&directory.path().join("none"), WANTED), None);
    }
}
