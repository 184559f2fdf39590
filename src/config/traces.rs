//! Traces: where they go, under the variables that OpenTelemetry names
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>). Off unless an endpoint is given.

use std::time::Duration;

use reqwest::Url;

use super::parse::{boolean, duration};
use super::reader::Reader;
use super::setting::{Form, Setting, setting};
use crate::domain::secret::Secret;
use crate::telemetry::trace::{Sampling, TraceSettings, header_map, pairs};

const OTLP_ENDPOINT: Setting = setting(
    "otlp.endpoint",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OpenTelemetry collector, such as http://127.0.0.1:4318. Unset: no traces.",
);
const ENDPOINT: Setting = setting(
    "traces.endpoint",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "Where traces go, with the whole path. Wins over `otlp.endpoint`.",
);
const OTLP_HEADERS: Setting = setting(
    "otlp.headers",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "Headers for the collector, such as a token: name=value, separated by commas.",
);
const HEADERS: Setting =
    setting("traces.headers", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "Headers for traces. Win over `otlp.headers`.");
const OTLP_TIMEOUT: Setting = setting(
    "otlp.timeout",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "Longest request to the collector, at most 60s. A plain number is milliseconds.",
)
.takes(Form::NumberOrText);
const TIMEOUT: Setting = setting(
    "traces.timeout",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "Longest request with traces, at most 60s. A plain number is milliseconds. Wins over `otlp.timeout`.",
)
.takes(Form::NumberOrText);
const SERVICE_NAME: Setting = setting("traces.service_name", "OTEL_SERVICE_NAME", "Name of the service in traces.");
const RESOURCE_ATTRIBUTES: Setting = setting(
    "traces.resource_attributes",
    "OTEL_RESOURCE_ATTRIBUTES",
    "Attributes of every trace: name=value, separated by commas.",
);
const SAMPLER_ARG: Setting = setting(
    "traces.sampler_arg",
    "OTEL_TRACES_SAMPLER_ARG",
    "Share of traces that a ratio sampler keeps, from 0 to 1.",
)
.takes(Form::NumberOrText);
const SAMPLER: Setting =
    setting("traces.sampler", "OTEL_TRACES_SAMPLER", "Which traces are kept, by OpenTelemetry's name of a sampler.");
const EXPORTER: Setting = setting("traces.exporter", "OTEL_TRACES_EXPORTER", "`none` switches traces off.")
    .takes(Form::Words(&["otlp", "none"]));
const DISABLED: Setting = setting("traces.disabled", "OTEL_SDK_DISABLED", "Switches traces off.").takes(Form::Boolean);
const OTLP_PROTOCOL: Setting = setting(
    "otlp.protocol",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "Protocol of the collector; the gateway speaks only `http/protobuf`.",
);
const PROTOCOL: Setting =
    setting("traces.protocol", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "Protocol for traces. Wins over `otlp.protocol`.");

/// Path of traces below a collector's endpoint (OTLP, "OTLP/HTTP Request").
const TRACES_PATH: &str = "v1/traces";

/// The supported protocol.
const SPOKEN: &str = "http/protobuf";

/// Longest request, unless set.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// How traces are exported; `None` while they are off. Where OpenTelemetry has a setting for all exports and one for
/// traces, the latter takes precedence.
pub(super) fn read(r: &mut Reader) -> Option<TraceSettings> {
    let base = r.optional(OTLP_ENDPOINT, endpoint);
    let exact = r.optional(ENDPOINT, endpoint);
    let all = headers(r, OTLP_HEADERS);
    let headers = headers(r, HEADERS).or(all);
    let all = r.optional(OTLP_TIMEOUT, timeout);
    let timeout = r.optional(TIMEOUT, timeout).or(all);
    let protocol = protocol(r);
    let service = r.optional(SERVICE_NAME, |text| Ok(text.to_owned()));
    let resource = r.optional(RESOURCE_ATTRIBUTES, pairs);
    let ratio = r.or(SAMPLER_ARG, "1", ratio);
    let sampling = r.or(SAMPLER, "parentbased_always_on", |name| Sampling::named(name, ratio));
    let exported = r.or(EXPORTER, "otlp", |text| match text {
        "otlp" => Ok(true),
        "none" => Ok(false),
        _ => Err("must be otlp or none".to_owned()),
    });
    let disabled = r.or(DISABLED, "false", boolean);
    let url = exact.or_else(|| base.map(|base| below(&base))).filter(|_| exported && !disabled)?;
    // While traces are off, a protocol set for all signals does not matter.
    if let Some((_, variable)) = protocol.filter(|(protocol, _)| protocol != SPOKEN) {
        let ports = "which collectors take on port 4318; grpc and http/json are not spoken";
        r.fault(variable, format!("must be {SPOKEN}, {ports}"));
    }
    Some(TraceSettings {
        url,
        headers,
        timeout: timeout.unwrap_or(TIMEOUT_DEFAULT),
        service,
        resource: resource.unwrap_or_default(),
        sampling,
    })
}

fn headers(r: &mut Reader, names: Setting) -> Option<Secret> {
    let headers = r.secret(names)?;
    if let Err(message) = header_map(headers.expose()) {
        r.fault(names.variable, message);
    }
    Some(headers)
}

/// The requested protocols, with their variables. The one for traces decides.
fn protocol(r: &mut Reader) -> Option<(String, &'static str)> {
    let mut asked = |names: Setting| r.optional(names, |text| Ok((text.to_owned(), names.variable)));
    let all = asked(OTLP_PROTOCOL);
    asked(PROTOCOL).or(all)
}

/// The address of traces at a collector.
fn below(base: &Url) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{TRACES_PATH}", base.path().trim_end_matches('/')));
    url
}

fn endpoint(text: &str) -> Result<Url, String> {
    let wrong = || "must be the URL of a collector, such as http://127.0.0.1:4318".to_owned();
    let url: Url = text.parse().map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong());
    }
    // `config show` prints it.
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("must hold no user, password or query: credentials go into OTEL_EXPORTER_OTLP_HEADERS".to_owned());
    }
    Ok(url)
}

/// Milliseconds, as in the variable, or a duration with its unit.
fn timeout(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<u64>() {
        Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        Ok(_) => Err("must be more than zero".to_owned()),
        Err(_) => duration(text).map_err(|message| format!("{message}, or a number of milliseconds")),
    };
    match parsed {
        Ok(long) if long > Duration::from_mins(1) => Err("must be at most 60s".to_owned()),
        parsed => parsed,
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("must be a share of traces from 0 to 1, such as 0.1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Sources};

    fn read(environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::for_tools(&Sources { environment, file: None })
            .map_err(|error| error.0.iter().map(ToString::to_string).collect())
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    fn url(environment: &[(&str, &str)]) -> Option<String> {
        read(environment).unwrap().traces.map(|traces| traces.url.to_string())
    }

    #[test]
    fn traces_are_off_without_an_endpoint_and_whenever_somebody_says_so() {
        assert_eq!(url(&[]), None);
        assert_eq!(url(&[("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_SAMPLER", "always_on")]), None);
        assert_eq!(url(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), None);
        assert_eq!(url(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")]), None);
        assert_eq!(url(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), None, "that is meant for others");
    }

    #[test]
    fn the_endpoint_of_a_collector_gets_the_path_of_traces_and_that_of_traces_is_taken_as_it_is() {
        assert_eq!(url(&[ENDPOINT]).as_deref(), Some("http://collector:4318/v1/traces"));
        assert_eq!(
            url(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://x.example/otlp/")]).as_deref(),
            Some("https://x.example/otlp/v1/traces")
        );
        let exact = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://tempo:4318/in");
        assert_eq!(url(&[ENDPOINT, exact]).as_deref(), Some("http://tempo:4318/in"));
    }

    #[test]
    fn every_variable_has_its_effect_and_the_one_for_traces_goes_first() {
        let traces = read(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=all"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=traces"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
            ("OTEL_SERVICE_NAME", "payments"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ])
        .unwrap()
        .traces
        .unwrap();
        assert_eq!(traces.headers.unwrap().expose(), "authorization=traces");
        assert_eq!((traces.timeout.as_millis(), traces.service.as_deref()), (2500, Some("payments")));
        assert_eq!(traces.resource, [("deployment.environment.name".to_owned(), "prod".to_owned())]);
        assert_eq!(Ok(traces.sampling), super::Sampling::named("traceidratio", 0.25));
    }

    #[test]
    fn a_bad_value_is_a_fault_that_says_what_to_do() {
        for (name, value, words) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "http://127.0.0.1:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:pa55@collector", "OTEL_EXPORTER_OTLP_HEADERS"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector/?key=pa55", "OTEL_EXPORTER_OTLP_HEADERS"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "pa55", "name=value"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "more than zero"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "61000", "at most 60s"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "port 4318"),
            ("OTEL_RESOURCE_ATTRIBUTES", "prod", "name=value"),
            ("OTEL_TRACES_SAMPLER", "sometimes", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "10", "from 0 to 1"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"),
        ] {
            let environment = if name == ENDPOINT.0 { vec![(name, value)] } else { vec![ENDPOINT, (name, value)] };
            let faults = read(&environment).unwrap_err();
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].contains(words) && !faults[0].contains("pa55"), "{faults:?}");
        }
    }

    #[test]
    fn headers_are_shown_redacted() {
        let config = read(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=pa55")]).unwrap();
        let shown = config.shown.iter().find(|shown| shown.key == "otlp.headers").unwrap();
        assert_eq!(shown.value, "(redacted)");
        assert!(!format!("{config:?}").contains("pa55"));
    }
}
