//! Tells the service manager how the process is (`sd_notify(3)`): ready, reading settings again, stopping, alive.
//!
//! The protocol is a datagram of `NAME=value` lines to the socket that `NOTIFY_SOCKET` names. Without that variable
//! everything here does nothing. It drops a message that the manager does not take at once, and never waits.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Why the manager cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The variable does not hold the address of a local socket.
    #[error("NOTIFY_SOCKET={0} is not the address of a local socket")]
    Address(String),
    /// No socket could be made to send from.
    #[error("no socket for messages to the service manager")]
    Socket(#[source] io::Error),
}

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

/// The connection to the service manager. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    manager: Option<Arc<Manager>>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The manager that the environment names; it does nothing without `NOTIFY_SOCKET`.
    ///
    /// # Errors
    /// If the variable is wrong.
    pub fn new(environment: &BTreeMap<String, String>) -> Result<Self, NotifyError> {
        let Some(text) = environment.get("NOTIFY_SOCKET").filter(|text| !text.is_empty()) else {
            return Ok(Self::default());
        };
        let address = address(text).ok_or_else(|| NotifyError::Address(text.clone()))?;
        let socket = UnixDatagram::unbound().map_err(NotifyError::Socket)?;
        socket.set_nonblocking(true).map_err(NotifyError::Socket)?;
        let watchdog = watchdog(environment, std::process::id());
        Ok(Self { manager: Some(Arc::new(Manager { socket, address })), watchdog })
    }

    /// How often the manager expects a sign of life, if it does. Send it twice in that time.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The process serves; `status` is for people.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// The process reads its settings again, until [`Notifier::ready`].
    pub fn reloading(&self) {
        // systemd needs the time of the beginning, by the clock that does not jump (Type=notify-reload).
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading settings again"));
    }

    /// The process finishes its work in hand.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=finishing what is in hand");
    }

    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        if let Some(manager) = &self.manager
            && let Err(error) = manager.socket.send_to_addr(message.as_bytes(), &manager.address)
        {
            tracing::debug!(error = &error as &dyn std::error::Error, "the service manager takes no message");
        }
    }
}

/// A status is one line.
fn line(status: &str) -> String {
    status.replace(['\n', '\r'], " ")
}

/// The address of the manager's socket: a path, or an abstract name that begins with `@`.
fn address(text: &str) -> Option<SocketAddr> {
    if let Some(name) = text.strip_prefix('@') {
        return abstract_address(name);
    }
    text.starts_with('/').then(|| SocketAddr::from_pathname(text).ok())?
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &str) -> Option<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name).ok()
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &str) -> Option<SocketAddr> {
    None
}

/// The manager's timeout, unless it is meant for another process.
fn watchdog(environment: &BTreeMap<String, String>, own: u32) -> Option<Duration> {
    let number = |name: &str| environment.get(name).and_then(|text| text.parse::<u64>().ok());
    if environment.contains_key("WATCHDOG_PID") && number("WATCHDOG_PID") != Some(u64::from(own)) {
        return None;
    }
    number("WATCHDOG_USEC").filter(|micros| *micros > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn read(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn the_manager_hears_each_stage() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(&environment(&[("NOTIFY_SOCKET", path.to_str().unwrap())])).unwrap();
        notifier.ready("two\nlines");
        assert_eq!(read(&manager), "READY=1\nSTATUS=two lines");
        notifier.reloading();
        let text = read(&manager);
        let micros = text.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        assert!(text.starts_with("RELOADING=1\n") && micros.parse::<u64>().unwrap() > 0, "{text}");
        notifier.alive();
        assert_eq!(read(&manager), "WATCHDOG=1");
        notifier.stopping();
        assert!(read(&manager).starts_with("STOPPING=1\n"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_manager_may_have_an_abstract_socket() {
        let name = format!("colony-gateway-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&abstract_address(&name).unwrap()).unwrap();
        Notifier::new(&environment(&[("NOTIFY_SOCKET", &format!("@{name}"))])).unwrap().alive();
        assert_eq!(read(&manager), "WATCHDOG=1");
    }

    #[test]
    fn without_a_manager_nothing_happens_and_nonsense_is_refused() {
        let none = Notifier::new(&environment(&[("WATCHDOG_USEC", "1000000")])).unwrap();
        assert_eq!(none.watchdog(), None);
        none.ready("nobody hears this");
        assert!(matches!(Notifier::new(&environment(&[("NOTIFY_SOCKET", "vsock:2:1")])), Err(NotifyError::Address(_))));
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        let watch = |variables: &[(&str, &str)]| watchdog(&environment(variables), 7);
        assert_eq!(watch(&[("WATCHDOG_USEC", "30000000")]), Some(Duration::from_secs(30)));
        assert_eq!(watch(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "7")]), Some(Duration::from_secs(30)));
        assert_eq!(watch(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "8")]), None);
        assert_eq!(watch(&[("WATCHDOG_USEC", "0")]), None);
    }
}
