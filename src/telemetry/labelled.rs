//! Values of one metric by its label, out of the text that Prometheus gets.

use std::collections::BTreeMap;

/// The values of the metric `name`, by its first label; empty if there is no such metric.
pub fn labelled(text: &str, name: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once(' '));
    let values = lines.filter_map(|(labels, value)| Some((labels.split('"').nth(1)?.to_owned(), value.parse().ok()?)));
    values.collect()
}

/// The value of a metric without labels.
pub fn value(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::super::metrics::Metrics;
    use super::*;

    #[test]
    fn values_are_found_by_name_and_label() {
        let metrics = Metrics::new();
        metrics.key_uses.of("webhook:1f2e").increment(3);
        metrics.reconcile_cursor_age.set(12.5);
        let text = metrics.render();
        assert_eq!(labelled(&text, "colony_gateway_key_uses_total").get("webhook:1f2e"), Some(&3.0));
        assert_eq!(value(&text, "colony_gateway_reconcile_cursor_age_seconds"), Some(12.5));
        assert!(labelled(&text, "colony_gateway_key").is_empty(), "the beginning of a name is none");
        assert_eq!(value(&text, "colony_gateway_nothing"), None);
    }
}
