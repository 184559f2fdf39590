//! The archive: a tar in an age file, written and read as a stream.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::age::{Age, Complaint};
use super::files::{Digest, replace_private};
use super::keys::{Identities, Recipients};
use super::{BackupError, FORMAT, INBOX, KEY_BYTES_MAX, KEYS, LEDGER, Manifest};

/// Name of the manifest in the archive.
const MANIFEST: &str = "manifest.json";

/// Largest manifest, in bytes.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024;

/// Most files in an archive.
const FILES_MAX: usize = 64;

/// Writes the archive. Memory does not depend on the size of the files.
pub(super) fn write(
    age: &Age,
    out: &File,
    path: &Path,
    recipients: &Recipients,
    manifest: &Manifest,
    parts: &[(String, PathBuf)],
) -> Result<(), BackupError> {
    let mut encrypting = age.encrypt(recipients, out)?;
    let written = write_tar(&mut encrypting, manifest, parts);
    let why = |Complaint(why)| BackupError::Age { path: path.to_owned(), what: "encrypt", why };
    encrypting.finish(written).map_err(why)?.map_err(BackupError::file(path, "cannot be written; is the disk full?"))
}

fn write_tar(out: impl Write, manifest: &Manifest, parts: &[(String, PathBuf)]) -> io::Result<()> {
    let mut tar = tar::Builder::new(out);
    let text = serde_json::to_vec_pretty(manifest).map_err(io::Error::other)?;
    tar.append_data(&mut header(text.len() as u64), MANIFEST, text.as_slice())?;
    for ((name, source), note) in parts.iter().zip(&manifest.files) {
        tar.append_data(&mut header(note.bytes), name, File::open(source)?.take(note.bytes))?;
    }
    tar.finish()
}

fn header(bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    header
}

/// Opens an archive, writes each file where `place` says (`None`: the file is only checked), and checks everything. The
/// files are flushed. If this fails, the caller removes what was written.
pub(super) fn extract(
    age: &Age,
    path: &Path,
    identities: &Identities,
    place: impl FnOnce(&Manifest) -> Result<Vec<Option<PathBuf>>, BackupError>,
) -> Result<Manifest, BackupError> {
    // Opening it first gives a better error for an unreadable archive than `age` does.
    File::open(path).map_err(BackupError::file(path, "cannot be read"))?;
    let mut decrypting = age.decrypt(path, identities)?;
    let unpacked = unpack(&mut decrypting, path, place);
    let began = decrypting.gave_anything();
    // If an archive ends too early, the message of `age` is the cause.
    decrypting.finish().map_err(|complaint| not_opened(path, complaint, began))?;
    unpacked
}

fn unpack(
    plain: impl Read,
    path: &Path,
    place: impl FnOnce(&Manifest) -> Result<Vec<Option<PathBuf>>, BackupError>,
) -> Result<Manifest, BackupError> {
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
                    // A full disk is not a fault of the archive.
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
    // The format comes first, because the rest of a newer manifest is unknown here.
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

/// The error that `age` found. It is recognised only by its words; unknown ones are passed on.
fn not_opened(path: &Path, Complaint(why): Complaint, began: bool) -> BackupError {
    let path = path.to_owned();
    if why.contains("any of the recipients") {
        BackupError::WrongIdentity { path }
    } else if why.contains("unexpected intro") {
        BackupError::Foreign { path, why: "it is no age file".to_owned() }
    } else if began || why.contains("failed to read header") || why.contains("failed to decrypt") {
        BackupError::Damaged { path, why }
    } else {
        BackupError::Age { path, what: "decrypt", why }
    }
}
