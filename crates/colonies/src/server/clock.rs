//! The time that an embedded server goes by: the system's, or one that a test moves.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::Moment;

/// A source of the time. Its clones tell the same time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Moment + Send + Sync>);

impl Clock {
    /// The system's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system clock")]
    pub fn system() -> Self {
        Self::new(|| SystemTime::now().into())
    }

    /// A clock that returns what `now` returns. The server asks it at each request and each tick.
    pub fn new(now: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(super) fn now(&self) -> Moment {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}
