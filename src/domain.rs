//! Leaf types that every module may use: identifiers, time, back-off, limits.

pub mod backoff;
pub mod breaker;
pub mod causes;
pub mod clock;
pub mod counted;
pub mod disk;
pub mod held_files;
pub mod ids;
pub mod ledger_id;
pub mod limits;
pub mod named;
pub mod network;
pub mod outcome;
pub mod private;
pub mod renewable;
pub mod route;
pub mod secret;
pub mod text;
pub mod trace;
