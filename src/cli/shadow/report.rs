//! What a takeover would change, in words, and whether it should be done.

use std::io::Write;

use serde_json::{Value, json};

use crate::app::shadow::Prediction;
use crate::domain::clock::Timestamp;
use crate::domain::counted::counted;
use crate::ledger::report::Attention;
use crate::ledger::shadow::{Cause, CauseCount, Difference, ShadowReport};

/// How many users and policies of each kind are named; the others are counted.
const NAMED_MAX: usize = 10;

/// All that a report is made of.
pub(super) struct Finds {
    pub(super) report: ShadowReport,
    pub(super) attention: Attention,
    pub(super) prediction: Prediction,
}

impl Finds {
    /// Why a takeover should wait; empty if it need not.
    pub(super) fn obstacles(&self) -> Vec<String> {
        let mut found = Vec::new();
        let unowned: u64 = self.attention.reasons.values().sum();
        if unowned > 0 {
            found.push(format!(
                "{} paid for and would give no user access: `colony-gateway inbox problems`",
                counted(unowned, "subscription is", "subscriptions are")
            ));
        }
        if !self.prediction.refused.is_empty() {
            found.push(format!(
                "{} could not be shown completely; the reasons are above",
                counted(self.prediction.refused.len(), "user", "users")
            ));
        }
        for count in self.report.causes.iter().filter(|count| count.cause.blocks()) {
            found.push(format!("{} {}", count.rows, count.cause.as_sentence(count.rows)));
        }
        found
    }

    pub(super) fn to_json(&self) -> Value {
        let mut document = serde_json::to_value(&self.report).unwrap_or_default();
        document["not_shown"] = json!(self.prediction.refused);
        document["unowned"] = json!(self.attention.reasons);
        document["policies"] = json!(self.attention.policies);
        document["obstacles"] = json!(self.obstacles());
        document["go"] = json!(self.obstacles().is_empty());
        document
    }
}

/// How the table of subscriptions is used, and what becomes of it.
fn use_of(form: &str) -> &'static str {
    match form {
        "absent" => "is not there; the takeover makes it",
        "users" => {
            "has rows of users, one a Stripe subscription; of each user the best becomes or stays active, the others do not"
        }
        "pairs" => "has a row of the platform for each user, in which subscriber and creator are the same",
        "fans" => {
            "is for fans of creators and is not written; `colony-gateway projections set subscriptions on` changes that"
        }
        _ => "has a shape that is not known",
    }
}

pub(super) fn print(out: &mut impl Write, finds: &Finds) -> std::io::Result<()> {
    let ShadowReport { shadow, compared, form, .. } = &finds.report;
    let mode = if *shadow { "shadow" } else { "live" };
    writeln!(
        out,
        "mode {mode}; compared with {} of subscriptions, {} of subscription_tiers, {} of user_profiles",
        counted(compared.subscriptions, "row", "rows"),
        compared.subscription_tiers,
        compared.user_profiles
    )?;
    writeln!(out, "public.subscriptions {}", use_of(form))?;
    causes(out, &finds.report.causes)?;
    differences(out, &finds.report)?;
    refused(out, &finds.prediction)?;
    if !finds.attention.policies.is_empty() {
        writeln!(out, "\nWhat users can do in the public tables but should not:")?;
        for weak in finds.attention.policies.iter().take(NAMED_MAX) {
            writeln!(out, "  {weak}")?;
        }
    }
    let obstacles = finds.obstacles();
    if obstacles.is_empty() {
        return writeln!(out, "\ngo: the old system caused each difference, and every paying user would get access");
    }
    writeln!(out, "\nno go:")?;
    for obstacle in obstacles {
        writeln!(out, "  {obstacle}")?;
    }
    Ok(())
}

fn causes(out: &mut impl Write, causes: &[CauseCount]) -> std::io::Result<()> {
    if causes.is_empty() {
        return writeln!(out, "\nThe takeover would change nothing.");
    }
    writeln!(
        out,
        "\nWhat the takeover would change, and why (fields of rows; an id is a subscription or, of a profile, a user):"
    )?;
    for CauseCount { cause, rows, subjects } in causes {
        let more = if *rows > subjects.len() as u64 { ", …" } else { "" };
        writeln!(out, "  {rows:>6} {} [{}{more}]", cause.as_sentence(*rows), subjects.join(", "))?;
    }
    Ok(())
}

fn differences(out: &mut impl Write, report: &ShadowReport) -> std::io::Result<()> {
    if report.differences.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nOne by one:")?;
    for line in &report.differences {
        writeln!(out, "  {}", sentence(line))?;
    }
    let (total, shown) = (report.total(), report.differences.len() as u64);
    if total > shown {
        writeln!(out, "  and {} more: --most shows more", total - shown)?;
    }
    Ok(())
}

/// One difference as a sentence.
fn sentence(line: &Difference) -> String {
    let Difference { relation, kind, subject, field, here_says, there_says, cause } = line;
    let text = |says: &Option<String>| match (says, field.as_deref()) {
        (None, _) => "nothing".to_owned(),
        (Some(says), Some("period_start" | "period_end")) => {
            says.parse().map_or_else(|_| says.clone(), |seconds| Timestamp::from_seconds(seconds).to_string())
        }
        (Some(says), _) => format!("`{says}`"),
    };
    let (here, there) = (text(here_says), text(there_says));
    match (kind.as_str(), field) {
        ("missing_there", _) => format!("{subject} has no row in {relation} and would be {here}"),
        ("missing_here", _) => format!("{subject} is {there} in {relation} and stays so: nothing is known of it here"),
        (_, Some(field)) => {
            format!("{subject} in {relation}: {field} is {there} and would be {here}{}", remark(*cause))
        }
        (_, None) => format!("{subject} in {relation} is {there} and would be {here}"),
    }
}

/// A remark about causes that are easily confused.
fn remark(cause: Cause) -> &'static str {
    match cause {
        Cause::LatePayer => " (a late payer)",
        Cause::Trial => " (on trial)",
        Cause::LocalTime => " (local time)",
        _ => "",
    }
}

fn refused(out: &mut impl Write, prediction: &Prediction) -> std::io::Result<()> {
    if prediction.refused.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nUsers whom the public tables would not take, or not wholly (rehearsed and undone):")?;
    for one in prediction.refused.iter().take(NAMED_MAX) {
        let what = one.subscription_id.as_deref().unwrap_or("no subscription");
        let access = if one.entitles { "has access" } else { "has no access" };
        writeln!(out, "  {} ({what}, {access}): {}", one.user_id, one.fault)?;
    }
    let more = prediction.refused.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        writeln!(out, "  and {more} more")?;
    }
    Ok(())
}
