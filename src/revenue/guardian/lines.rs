//! The rules in force as lines that people read.

use serde::Serialize;

use super::rules::Rules;
use crate::revenue::rows::{Action, Severity};

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleLine {
    pub id: String,
    /// Whether it comes from the operator's file, and is not a built-in rule.
    pub is_own: bool,
    pub action: Action,
    pub severity: Severity,
    /// What it is about.
    pub about: String,
    /// The event types that it looks at; empty for all.
    pub types: Vec<String>,
}

impl Rules {
    /// All rules in the order in which they are asked, the built-in ones first.
    pub fn lines(&self) -> Vec<RuleLine> {
        let builtin = self.builtin().iter().map(|(rule, action, severity)| RuleLine {
            id: rule.id().to_owned(),
            is_own: false,
            action: *action,
            severity: *severity,
            about: rule.about().to_owned(),
            types: Vec::new(),
        });
        let own = self.custom().iter().map(|rule| RuleLine {
            id: rule.id.clone(),
            is_own: true,
            action: rule.action,
            severity: rule.severity,
            about: rule.reason.clone(),
            types: rule.types.clone(),
        });
        builtin.chain(own).collect()
    }
}
