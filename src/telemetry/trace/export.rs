//! From ended spans to the collector: OTLP over HTTP, in protobuf (<https://opentelemetry.io/docs/specs/otlp/>).
//!
//! Guarantees: the end of a span never waits; at most [`SPANS_QUEUED_MAX`] spans wait for the collector, and what finds the
//! queue full is dropped and counted; a batch is tried [`ATTEMPTS_MAX`] times and then given up; at the end of the process
//! what is left gets one try within the time that the caller has.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::settings::{TraceSettings, header_map};
use super::{Tracer, sampler};
use crate::domain::backoff::Backoff;
use crate::domain::causes::chain;
use crate::domain::limits::BATCH_ENTRIES_MAX;
use crate::outbound;
use crate::telemetry::metrics::Metrics;

/// Most spans that wait for the collector. Each takes about a kilobyte.
pub const SPANS_QUEUED_MAX: usize = 8192;

/// Most spans in one request.
const BATCH_SPANS_MAX: usize = 512;

/// Longest time that a span waits for others to join it.
const GATHER_MAX: Duration = Duration::from_secs(1);

/// Most tries of one batch.
const ATTEMPTS_MAX: u32 = 3;

/// Longest wait between attempts that a collector may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Waits between attempts if it asks for none.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(2) };

/// Longest time that the end of a process may spend on remaining spans.
pub const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Most bytes read from an answer. A collector says how many spans it refused, and why in a sentence.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum TraceSetupError {
    /// The headers cannot be sent.
    #[error("OTEL_EXPORTER_OTLP_HEADERS {0}")]
    Headers(String),
    /// No authority is trusted to vouch for the collector.
    #[error("this system has no root certificates, which an https collector needs; install ca-certificates")]
    NoRoots(#[source] Option<rustls_native_certs::Error>),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// No HTTP client could be made.
    #[error("no HTTP client can be made")]
    Client(#[source] reqwest::Error),
}

/// Takes ended spans. Never waits.
#[derive(Debug)]
struct SpanQueue {
    spans: mpsc::Sender<SpanData>,
    metrics: Arc<Metrics>,
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        match self.spans.try_send(span) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => self.metrics.trace_spans.of("queue_full").increment(1),
            Err(mpsc::error::TrySendError::Closed(_)) => self.metrics.trace_spans.of("not_exported").increment(1),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The running exporter. Dropping it stops it.
#[derive(Debug)]
pub struct Exporting {
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Exporting {
    /// Exports the remaining spans within `time`, and ends. Call it when no more spans begin.
    pub async fn finish(mut self, time: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(time, self.task.join_next()).await.is_err() {
            tracing::warn!("traces: the collector was too slow, and the remaining spans are lost");
        }
        self.task.shutdown().await;
    }
}

/// Starts exporting for a process named `service`, unless the settings name it otherwise. Contacts no server yet.
///
/// # Errors
/// If the settings do not give a client.
pub fn start(
    settings: &TraceSettings,
    service: &str,
    metrics: Arc<Metrics>,
) -> Result<(Tracer, Exporting), TraceSetupError> {
    let resource = resource(settings, service);
    let exporter = Exporter {
        client: client(settings)?,
        url: settings.url.clone(),
        resource: (&resource).into(),
        metrics: Arc::clone(&metrics),
    };
    let (spans, ended) = mpsc::channel(SPANS_QUEUED_MAX);
    let provider = SdkTracerProvider::builder()
        .with_span_processor(SpanQueue { spans, metrics })
        .with_sampler(sampler::Sampling::sampler(settings.sampling))
        .with_max_links_per_span(u32::try_from(BATCH_ENTRIES_MAX).unwrap_or(u32::MAX))
        .with_resource(resource)
        .build();
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).build();
    let stop = CancellationToken::new();
    let mut task = JoinSet::new();
    task.spawn(exporter.run(ended, stop.clone()));
    Ok((Tracer(Some(provider.tracer_with_scope(scope))), Exporting { stop, task }))
}

/// The description of this process that goes with every batch.
fn resource(settings: &TraceSettings, service: &str) -> Resource {
    let mut attributes = vec![
        ("service.name".to_owned(), service.to_owned()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id".to_owned(), format!("{:032x}", fastrand::u128(..))),
    ];
    attributes.extend(settings.resource.iter().cloned());
    attributes.extend(settings.service.iter().map(|service| ("service.name".to_owned(), service.clone())));
    let attributes = attributes.into_iter().map(|(name, value)| KeyValue::new(name, value));
    Resource::builder_empty().with_detector(Box::new(TelemetryResourceDetector)).with_attributes(attributes).build()
}

fn client(settings: &TraceSettings) -> Result<Client, TraceSetupError> {
    let mut headers = match &settings.headers {
        Some(headers) => header_map(headers.expose()).map_err(TraceSetupError::Headers)?,
        None => HeaderMap::new(),
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    let mut client = outbound::client(settings.timeout)
        .tls_backend_preconfigured(tls(settings.url.scheme() == "https")?)
        .default_headers(headers)
        .retry(reqwest::retry::never())
        .user_agent(concat!("colony-gateway/", env!("CARGO_PKG_VERSION")));
    if settings.url.scheme() == "http" {
        // A collector beside this process is not behind a proxy that the environment may name.
        client = client.no_proxy();
    }
    client.build().map_err(TraceSetupError::Client)
}

/// Trusts the system's roots. Without https no certificate is checked, so a system without roots works too.
fn tls(https: bool) -> Result<rustls::ClientConfig, TraceSetupError> {
    let mut roots = rustls::RootCertStore::empty();
    if https {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(TraceSetupError::NoRoots(found.errors.into_iter().next()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(TraceSetupError::Tls)?.with_root_certificates(roots).with_no_client_auth())
}

struct Exporter {
    client: Client,
    url: Url,
    resource: ResourceAttributesWithSchema,
    metrics: Arc<Metrics>,
}

/// Why a batch did not reach the collector.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("the collector does not answer")]
    NoAnswer(#[source] reqwest::Error),
    /// The answer was not a success.
    #[error("the collector answers {status}")]
    Status {
        status: StatusCode,
        /// When the collector wants to be asked again.
        retry_after: Option<Duration>,
    },
}

impl ExportError {
    /// Whether another attempt may help (OTLP, "Failures").
    fn passes(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }

    /// How long to wait before another attempt, after `attempt` failed ones.
    fn wait(&self, attempt: u32, random: &mut fastrand::Rng) -> Duration {
        match self {
            Self::Status { retry_after: Some(after), .. } => (*after).min(RETRY_AFTER_MAX),
            Self::Status { retry_after: None, .. } | Self::NoAnswer(_) => BACKOFF.wait(attempt, random),
        }
    }
}

impl Exporter {
    async fn run(self, mut ended: mpsc::Receiver<SpanData>, stop: CancellationToken) {
        let mut random = fastrand::Rng::new();
        let mut batch = Vec::new();
        let mut failing = false;
        loop {
            let more = tokio::select! {
                more = gather(&mut ended, &mut batch) => more,
                () = stop.cancelled() => false,
            };
            if !more {
                break;
            }
            let result = self.export(std::mem::take(&mut batch), &stop, &mut random).await;
            report(&mut failing, result.as_ref().err());
        }
        ended.close();
        loop {
            while batch.len() < BATCH_SPANS_MAX
                && let Ok(span) = ended.try_recv()
            {
                batch.push(span);
            }
            let spans = batch.len();
            if spans == 0 {
                return;
            }
            if let Err(error) = self.post(self.encode(std::mem::take(&mut batch)), spans).await {
                report(&mut failing, Some(&error));
                self.count("not_exported", spans + ended.len());
                return;
            }
        }
    }

    fn count(&self, result: &str, spans: usize) {
        self.metrics.trace_spans.of(result).increment(u64::try_from(spans).unwrap_or(u64::MAX));
    }

    fn encode(&self, spans: Vec<SpanData>) -> Vec<u8> {
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    /// Tries until the batch is through, no attempt can help, or `stop` says that there is no time.
    async fn export(
        &self,
        batch: Vec<SpanData>,
        stop: &CancellationToken,
        random: &mut fastrand::Rng,
    ) -> Result<(), ExportError> {
        let spans = batch.len();
        let body = bytes::Bytes::from(self.encode(batch));
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.post(body.clone(), spans).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if attempt >= ATTEMPTS_MAX || !error.passes() || stop.is_cancelled() {
                self.count("not_exported", spans);
                return Err(error);
            }
            tokio::select! {
                () = tokio::time::sleep(error.wait(attempt, random)) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn post(&self, body: impl Into<reqwest::Body>, spans: usize) -> Result<(), ExportError> {
        let without_url = |error: reqwest::Error| ExportError::NoAnswer(error.without_url());
        let response = self.client.post(self.url.clone()).body(body).send().await.map_err(without_url)?;
        if !response.status().is_success() {
            let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
            return Err(ExportError::Status { status: response.status(), retry_after: after.map(Duration::from_secs) });
        }
        // An answer that cannot be read counts as the success that its status says.
        let answer = outbound::read(response, ANSWER_BYTES_MAX).await.unwrap_or_default();
        let partial = ExportTraceServiceResponse::decode(answer).ok().and_then(|answer| answer.partial_success);
        let refused = partial.map_or(0, |partial| usize::try_from(partial.rejected_spans).unwrap_or(0)).min(spans);
        self.count("refused", refused);
        self.count("exported", spans - refused);
        Ok(())
    }
}

/// Waits for spans, and then a little for more. Cancelling loses nothing. Returns false if no more will come.
async fn gather(ended: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>) -> bool {
    if ended.recv_many(batch, BATCH_SPANS_MAX).await == 0 {
        return false;
    }
    let more = async {
        while batch.len() < BATCH_SPANS_MAX && ended.recv_many(batch, BATCH_SPANS_MAX - batch.len()).await > 0 {}
    };
    let _ = tokio::time::timeout(GATHER_MAX, more).await;
    true
}

/// Logs once that the collector fails, and that it accepts spans again.
fn report(failing: &mut bool, error: Option<&ExportError>) {
    match error {
        Some(error) if !*failing => {
            let error = chain(error);
            tracing::warn!(error, "traces: spans are dropped; nothing else is affected");
        }
        None if *failing => tracing::info!("traces: the collector takes spans again"),
        Some(_) | None => {}
    }
    *failing = error.is_some();
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::super::{Cause, Sampling, SpanKind};
    use super::*;

    const ROOT: Cause<'static> = Cause { parent: None, links: &[] };

    fn settings(address: std::net::SocketAddr) -> TraceSettings {
        TraceSettings {
            url: format!("http://{address}/v1/traces").parse().unwrap(),
            headers: None,
            timeout: Duration::from_mins(1),
            service: None,
            resource: Vec::new(),
            sampling: Sampling::named("always_on", 1.0).unwrap(),
        }
    }

    fn dropped(metrics: &Metrics, result: &str) -> bool {
        metrics.render().contains(&format!("colony_gateway_trace_spans_total{{result=\"{result}\"}} 100\n"))
    }

    #[test]
    fn a_collector_says_when_it_wants_to_be_asked_again_within_bounds() {
        let error = |status, seconds: Option<u64>| ExportError::Status {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: seconds.map(Duration::from_secs),
        };
        let wait = |seconds| error(503, seconds).wait(1, &mut fastrand::Rng::with_seed(1));
        assert_eq!((wait(Some(3)), wait(Some(u64::MAX))), (Duration::from_secs(3), RETRY_AFTER_MAX));
        assert!(wait(None) <= BACKOFF.first);
        for (status, passes) in
            [(429, true), (502, true), (503, true), (504, true), (400, false), (401, false), (500, false)]
        {
            assert_eq!(error(status, None).passes(), passes, "{status}");
        }
    }

    #[tokio::test]
    async fn a_full_queue_drops_spans_counts_them_and_never_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let metrics = Metrics::new();
        let (tracer, exporting) =
            start(&settings(listener.local_addr().unwrap()), "tests", Arc::clone(&metrics)).unwrap();
        // There is no await here, so the queue is not emptied.
        for _ in 0..SPANS_QUEUED_MAX {
            drop(tracer.begin("kept", SpanKind::Internal, ROOT));
        }
        assert!(!dropped(&metrics, "queue_full"));
        for _ in 0..100 {
            drop(tracer.begin("dropped", SpanKind::Internal, ROOT));
        }
        assert!(dropped(&metrics, "queue_full"), "{}", metrics.render());
        drop(exporting);
    }

    #[tokio::test]
    async fn what_ends_after_the_exporter_is_counted_too() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let metrics = Metrics::new();
        let (tracer, exporting) =
            start(&settings(listener.local_addr().unwrap()), "tests", Arc::clone(&metrics)).unwrap();
        exporting.finish(FLUSH_MAX).await;
        for _ in 0..100 {
            drop(tracer.begin("late", SpanKind::Internal, ROOT));
        }
        assert!(dropped(&metrics, "not_exported"), "{}", metrics.render());
    }

    #[tokio::test]
    async fn a_collector_that_hangs_is_left_when_the_time_is_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (tracer, exporting) = start(&settings(listener.local_addr().unwrap()), "tests", Metrics::new()).unwrap();
        drop(tracer.begin("span", SpanKind::Internal, ROOT));
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 16]).await.unwrap() > 0, "the request is under way");
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        exporting.finish(FLUSH_MAX).await;
        assert!(began.elapsed() <= FLUSH_MAX + Duration::from_millis(10), "{:?}", began.elapsed());
    }
}
