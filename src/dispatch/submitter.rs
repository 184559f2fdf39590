//! What jobs are submitted with.

use colonies::client::Member;

use crate::domain::renewable::Renewable;
use crate::job::Terms;
use crate::job::attestation::Signer;
use crate::job::sealing::Recipients;

/// Who submits jobs, how they are attested and sealed, and how they are to be run.
#[derive(Clone, Debug)]
pub struct Submitter {
    /// The user of the colony that submits. Replaced after a rotation of its key.
    pub member: Renewable<Member>,
    /// Attests jobs. Replaced likewise.
    pub signer: Renewable<Signer>,
    /// The bees to which jobs are sealed, if they are. Replaced likewise.
    pub recipients: Renewable<Option<Recipients>>,
    /// How jobs are to be run.
    pub terms: Terms,
}
