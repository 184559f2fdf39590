//! A question at the terminal whose answer is not shown there.

use std::io::{self, Stdin, Write as _, stdin};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// The terminal shows again what is typed when this is dropped.
struct Hidden {
    terminal: Stdin,
    before: Termios,
}

impl Hidden {
    fn begin() -> io::Result<Self> {
        let terminal = stdin();
        let before = tcgetattr(&terminal)?;
        let mut during = before.clone();
        during.local_modes.remove(LocalModes::ECHO);
        // Input typed before the question is not an answer to it.
        tcsetattr(&terminal, OptionalActions::Flush, &during)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// Asks on standard error and reads the answer from standard input, which must be a terminal.
pub(super) fn ask(question: &str) -> io::Result<String> {
    let hidden = Hidden::begin()?;
    let mut err = io::stderr();
    write!(err, "{question}")?;
    err.flush()?;
    let mut line = String::new();
    hidden.terminal.read_line(&mut line)?;
    // The line break was not shown either.
    writeln!(err)?;
    Ok(line)
}
