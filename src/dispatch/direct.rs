//! The direct route: this process runs the revenue pipeline and applies its verdicts. The same two calls as a bee makes.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::Work;
use crate::ledger::{BoxFuture, Ledger, LedgerError, Outcome, traced};
use crate::revenue::validator::{Occasion, Validator};
use crate::telemetry::trace::{Place, SpanKind};

/// Pipeline and ledger in one process.
#[derive(Clone, Debug)]
pub struct Direct {
    validator: Arc<Validator>,
    ledger: Arc<dyn Ledger>,
}

impl Direct {
    /// Of a pipeline and a ledger.
    pub fn new(validator: Arc<Validator>, ledger: Arc<dyn Ledger>) -> Self {
        Self { validator, ledger }
    }
}

impl Work for Direct {
    fn run(
        &self,
        events: Vec<(Bytes, Occasion)>,
        place: Place,
    ) -> BoxFuture<'static, Result<Vec<Outcome>, LedgerError>> {
        let this = self.clone();
        Box::pin(async move {
            let validate = place.begin("validate", SpanKind::Internal);
            let verdicts = this.validator.decide(&events).await;
            drop(validate);
            traced::apply(&*this.ledger, &verdicts, &place).await
        })
    }
}
