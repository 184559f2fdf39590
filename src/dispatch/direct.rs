//! The direct route: this process runs the revenue pipeline and applies its verdicts. The same two calls as a bee makes.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::Work;
use crate::ledger::{BoxFuture, Ledger, LedgerError, Outcome};
use crate::revenue::validator::{Occasion, Validator};

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
    fn run(&self, events: Vec<(Bytes, Occasion)>) -> BoxFuture<'static, Result<Vec<Outcome>, LedgerError>> {
        let this = self.clone();
        Box::pin(async move {
            let verdicts = this.validator.decide(&events).await;
            this.ledger.apply(&verdicts).await
        })
    }
}
