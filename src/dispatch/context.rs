//! What the parts of a gateway work with: one set for a process. Clones share it.

use super::switch::RouteSwitch;
use crate::domain::route::RouteInForce;
use crate::inbox::Inbox;
use crate::telemetry::instruments::Instruments;

#[derive(Clone, Debug)]
pub struct Context {
    pub inbox: Inbox,
    /// The route that the operator wants.
    pub switch: RouteSwitch,
    /// The route that entries take.
    pub in_force: RouteInForce,
    pub instruments: Instruments,
}
