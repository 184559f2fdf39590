//! Alerts and dashboards name metrics, parts of the runbook and pages of the console that there are.

use std::collections::BTreeSet;

use colony_gateway::telemetry::metrics::Metrics;

use super::{documents, faultless, files, headings, read, words};

/// All metrics, those among them that are there only once they were measured.
fn rendered_metrics() -> String {
    let metrics = Metrics::new();
    metrics.disk_free.set(1.0);
    metrics.render()
}

#[test]
fn alerts_dashboards_and_documents_name_metrics_that_there_are() {
    // Made by the Prometheus adapter out of a metric of ours.
    const DERIVED: &str = "colony_gateway_entries_waiting";
    let rendered = rendered_metrics();
    let types = rendered.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut known: BTreeSet<String> = types.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(known.contains("colony_gateway_inbox_writable"), "{rendered}");
    // Those whose label takes values as they come are rendered from their first value on.
    let declared = read("src/telemetry/metrics.rs");
    let open = declared.lines().filter(|line| line.contains(": open_counters(") || line.contains(": open_gauges("));
    known.extend(open.flat_map(|line| words(line, "colony_gateway_")));
    let is_known = |word: &str| {
        let series = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        known.contains(word) || series.is_some_and(|histogram| known.contains(histogram)) || word == DERIVED
    };
    let mut faults = Vec::new();
    let more = ["deploy/kubernetes/base/autoscaling.yaml".to_owned()];
    for file in files("deploy/prometheus").into_iter().chain(files("deploy/grafana")).chain(documents()).chain(more) {
        let unknown = words(&read(&file), "colony_gateway_").into_iter().filter(|word| !is_known(word));
        faults.extend(unknown.map(|word| format!("{file}: no metric {word}")));
    }
    for file in ["deploy/prometheus/rules.yaml", "deploy/grafana/colony-gateway.json"] {
        let unknown = words(&read(file), "process_").into_iter().filter(|word| !known.contains(word));
        faults.extend(unknown.map(|word| format!("{file}: no metric {word}")));
    }
    faultless(&faults);
}

#[test]
fn alerts_and_dashboards_ask_for_label_values_that_there_are() {
    let rendered = rendered_metrics();
    let series: Vec<Series<'_>> = rendered.lines().filter(|line| !line.starts_with('#')).filter_map(series).collect();
    let mut faults = Vec::new();
    for file in ["deploy/prometheus/rules.yaml", "deploy/grafana/colony-gateway.json"] {
        let text = read(file).replace("\\\"", "\"");
        for query in text.split("colony_gateway_").skip(1) {
            let Some(asked) = query.split_once('}').and_then(|(selector, _)| self::series(selector)) else { continue };
            let rows: Vec<&Series<'_>> = series.iter().filter(|row| row.name == asked.name).collect();
            // Metrics without values yet are the business of the test above.
            for (label, values) in asked.labels.iter().filter(|_| !rows.is_empty()) {
                let known: BTreeSet<&str> = rows
                    .iter()
                    .flat_map(|row| &row.labels)
                    .filter(|(name, _)| name == label)
                    .map(|(_, value)| *value)
                    .collect();
                let unknown = values.split('|').filter(|value| match value.strip_suffix(".*") {
                    Some(prefix) => !known.iter().any(|known| known.starts_with(prefix)),
                    None => !known.contains(value),
                });
                faults.extend(unknown.map(|value| format!("{file}: {} has no {label}={value}", asked.name)));
            }
        }
    }
    faultless(&faults);
}

/// A metric without its prefix, and its labels but for those that Prometheus adds.
struct Series<'a> {
    name: &'a str,
    labels: Vec<(&'a str, &'a str)>,
}

/// Reads `name{label="value", …` with any matching operator; nothing where there are no labels.
fn series(text: &str) -> Option<Series<'_>> {
    const ADDED: [&str; 3] = ["job", "instance", "le"];
    let (name, labels) = text.split_once('{')?;
    let name = name.strip_prefix("colony_gateway_").unwrap_or(name);
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
        return None;
    }
    let labels = labels.split('}').next()?.split("\",").filter_map(|label| {
        let (label, value) = label.split_once('=')?;
        let value = value.trim_start_matches('~').trim_matches('"');
        Some((label.trim().trim_end_matches('!'), value))
    });
    Some(Series { name, labels: labels.filter(|(label, _)| !ADDED.contains(label)).collect() })
}

#[test]
fn every_alert_leads_to_a_part_of_the_runbook_that_is_there() {
    let rules = read("deploy/prometheus/rules.yaml");
    let alerts = rules.matches("- alert: ").count();
    let anchors: BTreeSet<String> = headings(&read("docs/runbook.md"));
    let links: Vec<&str> =
        rules.split("runbook: \"docs/runbook.md#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(links.len(), alerts, "an alert has no runbook");
    let missing = links.iter().filter(|link| !anchors.contains(**link)).map(|link| format!("no heading for #{link}"));
    faultless(&missing.collect::<Vec<_>>());
}

#[test]
fn alerts_link_to_pages_of_the_console_that_there_are() {
    const WITHOUT: [&str; 5] = ["GatewayDown", "GatewayAbsent", "ConnectionsRefused", "MemoryHigh", "CpuHigh"];
    let pages: String = files("src/console").iter().map(|file| read(file)).collect();
    let pages = read("src/console.rs") + &pages;
    let mut faults = Vec::new();
    for alert in read("deploy/prometheus/rules.yaml").split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap_or_default();
        let link = alert.lines().find_map(|line| line.trim_start().strip_prefix("console: "));
        let page = link.and_then(|link| link.split("}}").find(|part| part.starts_with("/console")));
        let page = page.and_then(|page| page.split(['?', '{']).next());
        let is_well = match page {
            Some(page) => pages.contains(&format!("\"{page}\"")),
            None => WITHOUT.contains(&name),
        };
        faults.extend((!is_well).then(|| format!("{name}: {link:?} leads to no page of the console")));
    }
    faultless(&faults);
}

#[test]
fn the_alerts_on_kubernetes_are_those_of_prometheus() {
    let rules = read("deploy/prometheus/rules.yaml");
    let groups = rules.lines().skip_while(|line| *line != "groups:").filter(|line| !line.is_empty());
    let copy = read("deploy/kubernetes/base/rules.yaml");
    let copied = copy.lines().skip_while(|line| *line != "  groups:").map(|line| line.trim_start_matches("  "));
    let trimmed: Vec<&str> = groups.map(str::trim_start).collect();
    let copied: Vec<&str> = copied.map(str::trim_start).collect();
    assert!(trimmed.len() > 100 && trimmed == copied, "scripts/check-artefacts.sh --write makes them the same");
}
