//! The archive: a tar in an age file, written and read as a stream.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use age::{DecryptError, Decryptor, Encryptor, IdentityFile};

use super::files::{Digest, replace_private};
use super::{BackupError, FORMAT, INBOX, KEY_BYTES_MAX, KEYS, LEDGER, Manifest};

/// Name of the manifest in the archive.
const MANIFEST: &str = "manifest.json";

/// Largest manifest, in bytes.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024;

/// Most files in an archive.
const FILES_MAX: usize = 64;

/// Whom archives are encrypted for; at least one.
#[derive(Clone, Debug)]
pub struct Recipients(Vec<age::x25519::Recipient>);

impl Recipients {
    /// From texts as `age-keygen` prints them.
    ///
    /// # Errors
    /// When there is none, or one cannot be read.
    pub fn parse<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Self, BackupError> {
        let read = |text: &str| text.parse().map_err(|_| BackupError::Recipient { text: text.to_owned() });
        let recipients: Vec<_> = texts.map(read).collect::<Result<_, _>>()?;
        if recipients.is_empty() { Err(BackupError::NoRecipient) } else { Ok(Self(recipients)) }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What opens archives.
pub struct Identities(Vec<Box<dyn age::Identity + Send + Sync>>);

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} identities", self.0.len())
    }
}

impl Identities {
    /// From a file as `age-keygen -o` writes it.
    ///
    /// # Errors
    /// When it cannot be read or holds none.
    pub fn read(path: &Path) -> Result<Self, BackupError> {
        let none = || BackupError::Identity { path: path.to_owned() };
        let file = File::open(path).map_err(BackupError::file(path, "cannot be read"))?;
        let file = IdentityFile::from_buffer(BufReader::new(file.take(KEY_BYTES_MAX))).map_err(|_| none())?;
        let identities = file.into_identities().map_err(|_| none())?;
        if identities.is_empty() { Err(none()) } else { Ok(Self(identities)) }
    }
}

/// Writes the archive. Memory does not depend on the size of the files.
pub(super) fn write(
    out: &mut File,
    path: &Path,
    recipients: &Recipients,
    manifest: &Manifest,
    parts: &[(String, PathBuf)],
) -> Result<(), BackupError> {
    let failed = || BackupError::file(path, "cannot be written; is the disk full?");
    let encryptor = Encryptor::with_recipients(recipients.0.iter().map(|one| one as &dyn age::Recipient))
        .map_err(|_| BackupError::NoRecipient)?;
    let encrypted = encryptor.wrap_output(BufWriter::with_capacity(1 << 16, out)).map_err(failed())?;
    let mut tar = tar::Builder::new(encrypted);
    let text = serde_json::to_vec_pretty(manifest).map_err(io::Error::other).map_err(failed())?;
    tar.append_data(&mut header(text.len() as u64), MANIFEST, text.as_slice()).map_err(failed())?;
    for ((name, source), note) in parts.iter().zip(&manifest.files) {
        let file = File::open(source).map_err(BackupError::file(source, "cannot be read"))?;
        tar.append_data(&mut header(note.bytes), name, file.take(note.bytes)).map_err(failed())?;
    }
    let encrypted = tar.into_inner().map_err(failed())?;
    let mut buffered = encrypted.finish().map_err(failed())?;
    buffered.flush().map_err(failed())
}

fn header(bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    header
}

/// Opens an archive, hands out where each file goes (`None`: nowhere, it is only checked), writes the files there and
/// checks all of it. The files are flushed. What was written stays when this fails; the caller removes it.
pub(super) fn extract(
    path: &Path,
    identities: &Identities,
    place: impl FnOnce(&Manifest) -> Result<Vec<Option<PathBuf>>, BackupError>,
) -> Result<Manifest, BackupError> {
    let file = File::open(path).map_err(BackupError::file(path, "cannot be read"))?;
    let decryptor = Decryptor::new_buffered(BufReader::new(file)).map_err(|error| not_opened(path, error))?;
    let keys = identities.0.iter().map(|one| &**one as &dyn age::Identity);
    let plain = decryptor.decrypt(keys).map_err(|error| not_opened(path, error))?;
    let damaged = |why: String| BackupError::Damaged { path: path.to_owned(), why };
    let unreadable = |error: io::Error| damaged(error.to_string());
    let mut tar = tar::Archive::new(plain);
    let mut entries = tar.entries().map_err(unreadable)?;
    let manifest = manifest(path, entries.next())?;
    let places = place(&manifest)?;
    for (note, place) in manifest.files.iter().zip(places) {
        let missing = || damaged(format!("{} is missing", note.name));
        let mut entry = entries.next().ok_or_else(missing)?.map_err(unreadable)?;
        if entry.path_bytes().as_ref() != note.name.as_bytes() || entry.size() != note.bytes {
            return Err(missing());
        }
        let found = match &place {
            None => copy(&mut entry, io::sink(), &note.name).map_err(unreadable)?.0,
            Some(place) => {
                let (found, file) = copy(&mut entry, replace_private(place)?, &note.name).map_err(|error| {
                    // A full disk is no fault of the archive.
                    match error.kind() {
                        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                            BackupError::file(place, "cannot be written")(error)
                        }
                        _ => unreadable(error),
                    }
                })?;
                file.sync_all().map_err(BackupError::file(place, "cannot be flushed to the disk"))?;
                found
            }
        };
        if found != *note {
            return Err(damaged(format!("{} is not what the manifest says", note.name)));
        }
    }
    if entries.next().is_some() {
        return Err(damaged("it holds more than the manifest says".to_owned()));
    }
    // The last bytes prove that nothing was cut off.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(unreadable)?;
    Ok(manifest)
}

fn copy<W: Write>(from: &mut impl Read, to: W, name: &str) -> io::Result<(super::FileNote, W)> {
    let mut digest = Digest::new(to);
    io::copy(from, &mut digest)?;
    Ok(digest.note(name))
}

fn manifest<R: Read>(path: &Path, entry: Option<io::Result<tar::Entry<'_, R>>>) -> Result<Manifest, BackupError> {
    let foreign = |why: &str| BackupError::Foreign { path: path.to_owned(), why: why.to_owned() };
    let damaged = |error: io::Error| BackupError::Damaged { path: path.to_owned(), why: error.to_string() };
    let mut entry = match entry {
        // age says so of every chunk that does not decrypt; tar says so of what is no tar.
        Some(Err(error)) if error.to_string().contains("decryption") => return Err(damaged(error)),
        Some(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(damaged(error)),
        None | Some(Err(_)) => return Err(foreign("what it encrypts is no archive")),
        Some(Ok(entry)) => entry,
    };
    if entry.path_bytes().as_ref() != MANIFEST.as_bytes() || entry.size() > MANIFEST_BYTES_MAX {
        return Err(foreign("it does not begin with a manifest"));
    }
    let mut text = Vec::new();
    entry.read_to_end(&mut text).map_err(damaged)?;
    let unreadable = |_| foreign("its manifest cannot be read");
    // The format comes first: what else is in a newer manifest is not known here.
    let any: serde_json::Value = serde_json::from_slice(&text).map_err(unreadable)?;
    let format = any.get("format").and_then(serde_json::Value::as_i64).unwrap_or(0);
    if format > i64::from(FORMAT) {
        let (path, known) = (path.to_owned(), i64::from(FORMAT));
        return Err(BackupError::Newer { path, what: "archive", found: format, known });
    }
    let manifest: Manifest = serde_json::from_value(any).map_err(unreadable)?;
    let known = |name: &str| {
        let key = name.strip_prefix(KEYS).unwrap_or_default();
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'.');
        name == INBOX || name == LEDGER || (is_key && !key.starts_with('.'))
    };
    let names: std::collections::BTreeSet<&str> = manifest.files.iter().map(|note| note.name.as_str()).collect();
    let fits = names.len() == manifest.files.len() && names.len() <= FILES_MAX && names.contains(INBOX);
    let keys_fit = manifest.files.iter().all(|note| !note.name.starts_with(KEYS) || note.bytes <= KEY_BYTES_MAX);
    if !fits || !keys_fit || !names.iter().all(|name| known(name)) {
        return Err(foreign("its manifest names files that no backup has"));
    }
    Ok(manifest)
}

fn not_opened(path: &Path, error: DecryptError) -> BackupError {
    let path = path.to_owned();
    match error {
        DecryptError::NoMatchingKeys => BackupError::WrongIdentity { path },
        DecryptError::InvalidHeader | DecryptError::UnknownFormat => {
            BackupError::Foreign { path, why: "it is no age file".to_owned() }
        }
        DecryptError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            BackupError::Damaged { path, why: "it ends in its first lines".to_owned() }
        }
        DecryptError::Io(source) => BackupError::File { path, what: "cannot be read", source },
        other => BackupError::Damaged { path, why: other.to_string() },
    }
}
