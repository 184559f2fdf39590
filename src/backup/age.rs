//! The `age` program, which encrypts and decrypts archives: found on `PATH`, fed and read through pipes.
//!
//! Guarantees: nothing waits for the program without a bound; its end is awaited, and what it says on standard error becomes
//! the error; no secret is on its command line or in its environment. It does not outlive what started it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::BackupError;
use super::keys::{Identities, Recipients};

/// Longest wait for the program to accept bytes, to output some, or to end.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Most bytes that are read from its standard error.
const COMPLAINT_BYTES_MAX: u64 = 4096;

/// Where programs are searched for if the environment does not say.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin";

/// How many bytes are collected before they go through the pipe, which holds as many.
const BUFFER_BYTES: usize = 64 * 1024;

/// The program's path, and the environment it gets.
#[derive(Clone, Debug)]
pub struct Age {
    program: PathBuf,
    path: String,
    home: Option<String>,
    patience: Duration,
}

impl Age {
    /// Finds the program on `PATH`.
    ///
    /// # Errors
    /// [`BackupError::NoAge`]
    pub fn find(environment: &BTreeMap<String, String>) -> Result<Self, BackupError> {
        let path = environment.get("PATH").map_or(PATH_DEFAULT, String::as_str);
        let places = path.split(':').filter(|place| !place.is_empty()).map(|place| Path::new(place).join("age"));
        let program = places.into_iter().find(|program| program.is_file()).ok_or(BackupError::NoAge)?;
        let home = environment.get("HOME").cloned();
        Ok(Self { program, path: path.to_owned(), home, patience: PATIENCE })
    }

    /// Begins to encrypt into a file.
    pub(super) fn encrypt(&self, recipients: &Recipients, out: &File) -> Result<Encrypting, BackupError> {
        let mut command = self.command("--encrypt");
        for recipient in recipients.iter() {
            command.args(["--recipient", recipient]);
        }
        let started = out.try_clone().and_then(|out| {
            let mut running = Running::start(command.stdout(out), self.patience)?;
            let input = Pipe::new(running.child.stdin.take(), self.patience)?;
            Ok(Encrypting { input: BufWriter::with_capacity(BUFFER_BYTES, input), running })
        });
        started.map_err(cannot_start)
    }

    /// Begins to decrypt a file. The keys are passed on standard input.
    pub(super) fn decrypt(&self, archive: &Path, identities: &Identities) -> Result<Decrypting, BackupError> {
        let mut command = self.command("--decrypt");
        // So that a name that begins with a dash is not taken for an option.
        command.args(["--identity", "-"]).arg(Path::new(".").join(archive)).stdout(Stdio::piped());
        let started = Running::start(&mut command, self.patience).and_then(|mut running| {
            let mut input = Pipe::new(running.child.stdin.take(), self.patience)?;
            match input.write_all(identities.text().as_bytes()) {
                // If the program ends before it has read them, it says why.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                _ => drop(input),
            }
            let output = Pipe::new(running.child.stdout.take(), self.patience)?;
            Ok(Decrypting { output, running, bytes: 0, at_end: false, stalled: false })
        });
        started.map_err(cannot_start)
    }

    fn command(&self, mode: &str) -> Command {
        let mut command = Command::new(&self.program);
        // Its plugins need PATH and HOME. Everything else in the environment may be secret.
        command.arg(mode).env_clear().env("PATH", &self.path);
        if let Some(home) = &self.home {
            command.env("HOME", home);
        }
        command
    }
}

fn cannot_start(error: io::Error) -> BackupError {
    BackupError::AgeNotStarted(error)
}

/// Takes the bytes to encrypt.
pub(super) struct Encrypting {
    input: BufWriter<Pipe>,
    running: Running,
}

impl Write for Encrypting {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.input.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.input.flush()
    }
}

impl Encrypting {
    /// Waits until everything is encrypted and written. `written` tells whether all bytes were passed on. An error of the
    /// program counts first, because it is the cause.
    pub(super) fn finish(mut self, written: io::Result<()>) -> Result<io::Result<()>, Complaint> {
        let written = written.and_then(|()| self.input.flush());
        let stalled = matches!(&written, Err(error) if error.kind() == io::ErrorKind::TimedOut);
        // Dropped without another flush: the program waits for the end of its input.
        drop(self.input.into_parts());
        self.running.end(stalled)?;
        Ok(written)
    }
}

/// Returns the decrypted bytes, each part after its verification.
pub(super) struct Decrypting {
    output: Pipe,
    running: Running,
    bytes: u64,
    at_end: bool,
    stalled: bool,
}

impl Read for Decrypting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.output.read(buffer);
        match &result {
            Ok(read) => {
                self.bytes += *read as u64;
                self.at_end |= *read == 0 && !buffer.is_empty();
            }
            Err(error) => self.stalled |= error.kind() == io::ErrorKind::TimedOut,
        }
        result
    }
}

impl Decrypting {
    /// Whether anything could be decrypted.
    pub(super) fn gave_anything(&self) -> bool {
        self.bytes > 0
    }

    /// Returns the program's complaint if its output came to an end. Otherwise the program is stopped and not to blame.
    pub(super) fn finish(self) -> Result<(), Complaint> {
        if self.at_end || self.stalled { self.running.end(self.stalled) } else { Ok(()) }
    }
}

/// The message of the program when it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint(pub(super) String);

/// The running program. Dropping this ends it.
struct Running {
    child: Child,
    complaint: Pipe,
    patience: Duration,
}

impl Running {
    fn start(command: &mut Command, patience: Duration) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let complaint = Pipe::new(child.stderr.take(), patience)?;
        Ok(Self { child, complaint, patience })
    }

    /// Waits for its end. If it `stalled`, or does not end in time, it is killed.
    fn end(mut self, stalled: bool) -> Result<(), Complaint> {
        let mut said = Vec::new();
        // Standard error closes when the program ends.
        let ended = !stalled && (&mut self.complaint).take(COMPLAINT_BYTES_MAX).read_to_end(&mut said).is_ok();
        if !ended || said.len() as u64 == COMPLAINT_BYTES_MAX {
            // It may have ended just now.
            let _ = self.child.kill();
        }
        if !ended {
            return Err(Complaint(format!("it did nothing for {} seconds and was ended", self.patience.as_secs())));
        }
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Complaint(short(&said).unwrap_or_else(|| status.to_string()))),
            Err(error) => Err(Complaint(error.to_string())),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has already ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program's message in one line, without its name and without where to report bugs.
fn short(said: &[u8]) -> Option<String> {
    let said = String::from_utf8_lossy(said);
    let lines = said.lines().map(|line| line.trim_start_matches("age: ").trim_start_matches("error: ").trim());
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with("report unexpected")).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// Our end of a pipe. It fails as timed out after waiting for `patience`.
struct Pipe {
    end: File,
    patience: Timespec,
}

impl Pipe {
    fn new(end: Option<impl Into<OwnedFd>>, patience: Duration) -> io::Result<Self> {
        let end: OwnedFd = end.ok_or(io::ErrorKind::BrokenPipe)?.into();
        fcntl_setfl(&end, fcntl_getfl(&end)? | OFlags::NONBLOCK)?;
        let patience = Timespec::try_from(patience).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(Self { end: File::from(end), patience })
    }

    fn wait_for(&self, what: PollFlags) -> io::Result<()> {
        loop {
            match poll(&mut [PollFd::new(&self.end, what)], Some(&self.patience)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.end.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for(PollFlags::IN)?,
                result => return result,
            }
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            match self.end.write(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_for(PollFlags::OUT)?,
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
