//! The way of a request to the writer and back.
//!
//! A request is a value that knows what it does to the file. It travels with the place to answer to, and comes back to
//! whoever asked with what it came to: so it is freed where it was made (the writer would contend for that thread's heap, and
//! everybody waits for the writer), and what was refused can be offered again.

use tokio::sync::oneshot;

use super::file::InboxFile;
use crate::domain::clock::Timestamp;
use crate::inbox::error::InboxError;

/// What can be asked of the writer.
pub(super) trait Request: Send + 'static {
    /// What it comes to.
    type Done: Send + 'static;

    /// Changes the file, within one of the writer's transactions. Called again when that was rolled back because of
    /// another request.
    fn apply(&self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<Self::Done>;

    /// How much it writes.
    fn weight(&self) -> Weight {
        Weight::Little
    }

    /// Whether it must survive a power cut once it was answered. What need not is forgotten as a whole and in order: the
    /// file is then as it was before it, and nothing that came after it and must survive was answered.
    fn must_survive(&self) -> bool {
        true
    }
}

/// How much a request writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// An entry with a body of so many bytes, as it is stored.
    Append(usize),
    /// As much as a large entry, to learn whether the disk takes it.
    Probe,
    /// Rows that are there already.
    Little,
}

/// What the writer's queue holds.
pub(super) enum Message {
    Request(Box<dyn Queued>),
    /// The checkpoint thread has moved the bulk of the log; the rest is quick.
    FinishCheckpoint,
}

/// A request with the place to answer to, whatever it asks for.
pub(super) trait Queued: Send {
    /// Does what is asked and keeps what it came to.
    fn apply(&mut self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<()>;

    /// Tells what it came to. To be called after the commit.
    fn answer(self: Box<Self>);

    /// Tells why it came to nothing.
    fn refuse(self: Box<Self>, error: &InboxError);

    fn weight(&self) -> Weight;

    fn must_survive(&self) -> bool;
}

/// A request on its way to the writer or back.
pub(super) struct Asked<R: Request> {
    request: R,
    /// An error until it is done: a request that the writer drops reads as refused.
    done: Result<R::Done, InboxError>,
    reply: Option<oneshot::Sender<Box<Self>>>,
}

/// Where the answer comes.
pub(super) struct Pending<R: Request>(oneshot::Receiver<Box<Asked<R>>>);

impl<R: Request> Asked<R> {
    pub(super) fn new(request: R) -> (Box<Self>, Pending<R>) {
        let (reply, answer) = oneshot::channel();
        (Box::new(Self { request, done: Err(InboxError::Closed), reply: Some(reply) }), Pending(answer))
    }
}

impl<R: Request> Queued for Asked<R> {
    fn apply(&mut self, file: &mut InboxFile, now: Timestamp) -> rusqlite::Result<()> {
        self.done = Ok(self.request.apply(file, now)?);
        Ok(())
    }

    fn answer(mut self: Box<Self>) {
        if let Some(reply) = self.reply.take() {
            // Whoever asked may have gone; what is committed stays committed.
            drop(reply.send(self));
        }
    }

    fn refuse(mut self: Box<Self>, error: &InboxError) {
        self.done = Err(error.clone());
        self.answer();
    }

    fn weight(&self) -> Weight {
        self.request.weight()
    }

    fn must_survive(&self) -> bool {
        self.request.must_survive()
    }
}

impl<R: Request> Pending<R> {
    /// What the request came to.
    ///
    /// # Errors
    /// Why it came to nothing; [`InboxError::Closed`] when the writer has stopped.
    pub(super) async fn done(self) -> Result<R::Done, InboxError> {
        self.0.await.map_err(|_| InboxError::Closed)?.done
    }

    /// The same, with the request itself.
    ///
    /// # Errors
    /// [`InboxError::Closed`] when the writer has stopped and dropped it.
    pub(super) async fn returned(self) -> Result<(R, Result<R::Done, InboxError>), InboxError> {
        let asked = *self.0.await.map_err(|_| InboxError::Closed)?;
        Ok((asked.request, asked.done))
    }

    /// Whether the writer has answered.
    #[cfg(test)]
    pub(super) fn is_answered(&mut self) -> bool {
        self.0.try_recv().is_ok()
    }
}
