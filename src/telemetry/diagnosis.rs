//! The report of `check`: what was found about each component. Those who show it name these types.

use serde::Serialize;

/// The state of a component, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// It is not configured, and is not needed.
    NotConfigured,
    Ok,
    /// It works, but needs attention.
    Degraded,
    Down,
}

impl CheckStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotConfigured => "not configured",
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }

    /// Exit code of a report with this status: 0, 1 or 2.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::NotConfigured | Self::Ok => 0,
            Self::Degraded => 1,
            Self::Down => 2,
        }
    }
}

/// The findings about one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    pub component: &'static str,
    pub status: CheckStatus,
    pub detail: String,
    /// What the reader should do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

impl Diagnosis {
    pub fn new(component: &'static str, status: CheckStatus, detail: impl Into<String>) -> Self {
        Self { component, status, detail: detail.into(), action: None }
    }

    pub fn ok(component: &'static str, detail: impl Into<String>) -> Self {
        Self::new(component, CheckStatus::Ok, detail)
    }

    pub fn none(component: &'static str, detail: impl Into<String>) -> Self {
        Self::new(component, CheckStatus::NotConfigured, detail)
    }

    pub fn degraded(component: &'static str, detail: impl Into<String>, action: impl Into<String>) -> Self {
        Self { action: Some(action.into()), ..Self::new(component, CheckStatus::Degraded, detail) }
    }

    pub fn down(component: &'static str, detail: impl Into<String>, action: impl Into<String>) -> Self {
        Self { action: Some(action.into()), ..Self::new(component, CheckStatus::Down, detail) }
    }
}

/// The findings about all components.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The worst of all components.
    pub status: CheckStatus,
    pub version: &'static str,
    /// RFC 3339.
    pub checked_at: String,
    pub components: Vec<Diagnosis>,
}
