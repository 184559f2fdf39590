//! A thread of the inbox that breaks, on a fault of the gateway, ends the process.
//!
//! Without its writer the inbox takes nothing and gives nothing, and nothing else of the process would notice: it would refuse every
//! webhook until a person restarts it. After a restart, work goes on from what is durable.

use tokio::sync::watch;

/// Why the process has to end.
const BROKEN: &str =
    "a thread of the inbox broke, which is a fault of the gateway; a restart goes on with what is stored";

/// Says so if it is dropped while its thread breaks.
struct Guard(watch::Sender<Option<String>>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.send_if_modified(|fatal| {
                let is_news = fatal.is_none();
                fatal.get_or_insert_with(|| BROKEN.to_owned());
                is_news
            });
        }
    }
}

/// The body of a thread whose end by a panic is fatal.
pub(super) fn watched<F: FnOnce()>(fatal: &watch::Sender<Option<String>>, body: F) -> impl FnOnce() + use<F> {
    let guard = Guard(fatal.clone());
    move || {
        let _guard = guard;
        body();
    }
}
