//! What jobs are submitted with.

use colonies::client::Member;

use crate::domain::renewable::Renewable;
use crate::job::Terms;
use crate::job::attestation::Signer;
use crate::job::sealing::Recipients;

/// Who submits jobs, how they are attested and sealed, and on what terms they run.
#[derive(Clone, Debug)]
pub struct Submitter {
    /// The colony's user that submits. Replaced after a rotation of its key.
    pub member: Renewable<Member>,
    /// Attests jobs. Also replaced after a rotation.
    pub signer: Renewable<Signer>,
    /// The bees to which jobs are sealed, if they are. Also replaced after a rotation.
    pub recipients: Renewable<Option<Recipients>>,
    /// The terms on which jobs run.
    pub terms: Terms,
}
