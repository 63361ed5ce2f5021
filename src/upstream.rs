//! The one client of the REST API: key, deadline, size limit, client span. It sends a write at most once and repeats a
//! failed read, asks nothing of an API that cannot be reached, follows no redirect (it would carry the password elsewhere)
//! and uses no proxy that the environment names.

mod backoff;
mod body;
mod circuit_breaker;
mod probe;
mod retry;
pub(crate) mod retry_after;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::utf8_percent_encode;
use reqwest::{Certificate, Client, Request, Response, Url, redirect};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::{
    call::Call,
    endpoint::Endpoint,
    envelope::{ApiResponse, RequestValues},
    error::Error,
    readiness::Readiness,
    rpc::{PERCENT_ENCODED, Rpc},
    telemetry::{call_log::CallObserver, metrics::Metrics, spans::ClientSpan},
};

use self::{
    body::{Body, NoBody},
    circuit_breaker::CircuitBreaker,
    probe::Probe,
    retry::{Budget, Retries},
};

/// The longest answer that is read, in bytes. The documented ones are shorter by far.
pub(crate) const MAX_RESPONSE: usize = 64 * 1024;

const USER_AGENT: &str = concat!("reset-gateway/", env!("CARGO_PKG_VERSION"));
const ET_APP_KEY: HeaderName = HeaderName::from_static("et-app-key");

/// The client, and what never changes from call to call.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: Client,
    metrics: Metrics,
    /// Whether the trace goes on at the API.
    continues_traces: bool,
    endpoints: [Endpoint; Rpc::ALL.len()],
    retries: Budget,
    /// One permit a call that is being sent.
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) circuit_breaker: CircuitBreaker,
}

/// What a request carries.
pub(crate) enum Payload<'a> {
    /// One query parameter.
    Query(&'static str, &'a str),
    /// A JSON body.
    Json(Bytes),
}

/// One call on its way to the API.
struct Attempts<'a> {
    upstream: &'a Upstream,
    call: &'a Call,
    app_key: &'a HeaderValue,
}

impl Upstream {
    /// Sends the REST request of the call's rpc and reads the whole answer, within the call's deadline; a read that fails
    /// is tried again if that may help. The values of the request, and the key, go with the answer: nothing that is told
    /// of it may repeat them.
    ///
    /// # Errors
    ///
    /// Whatever kept the answer from arriving whole. An answer of any HTTP status is no error here.
    pub(crate) async fn send(
        &self,
        call: &Call,
        app_key: &HeaderValue,
        payload: Payload<'_>,
        mut values: RequestValues,
    ) -> Result<ApiResponse, Error> {
        values.add(app_key.to_str().unwrap_or_default());
        call.check()?;
        self.circuit_breaker.check()?;
        let _permit = self
            .in_flight
            .try_acquire()
            .map_err(|_full| Error::Overloaded)?;
        let attempts = Attempts {
            upstream: self,
            call,
            app_key,
        };
        let mut retries = Retries::new(call.rpc.only_reads(), call.deadline, &self.retries);
        let mut result = attempts.attempt(&payload, 0).await;
        while self.circuit_breaker.check().is_ok()
            && let Some(pause) = retries.next(&result)
        {
            call.wait(pause).await?;
            if self.circuit_breaker.check().is_err() {
                break;
            }
            call.record.tried_again();
            self.metrics.request_repeated();
            result = attempts.attempt(&payload, retries.made()).await;
        }
        match result {
            Ok(response) => Ok(ApiResponse { values, ..response }),
            // The API has seen an earlier attempt.
            Err(Error::Unreachable(error)) if call.record.was_sent() => {
                Err(Error::ConnectionLost(error))
            }
            Err(error) => Err(error),
        }
    }
}

impl Attempts<'_> {
    /// Sends the request once, as that repetition, and reads the answer.
    async fn attempt(&self, payload: &Payload<'_>, repetition: u32) -> Result<ApiResponse, Error> {
        let begun = Instant::now();
        let endpoint = &self.upstream.endpoints[self.call.rpc as usize];
        let mut span = ClientSpan::start(endpoint, &self.call.trace, &self.upstream.metrics, begun);
        if repetition > 0 {
            span.repeats(repetition);
        }
        let result = tokio::select! {
            biased;
            result = self.round_trip(endpoint, payload, &mut span) => result,
            error = self.call.end() => Err(error),
        };
        if let Err(error) = &result {
            span.fail(error);
        }
        self.upstream
            .circuit_breaker
            .learn(&result, begun.elapsed());
        result
    }

    /// Sends the request and reads the answer.
    async fn round_trip(
        &self,
        endpoint: &Endpoint,
        payload: &Payload<'_>,
        span: &mut ClientSpan<'_>,
    ) -> Result<ApiResponse, Error> {
        // Lets the runtime look at the sockets: an idle connection that the API has closed by now is not written to then, and
        // those over which answers have come are free again, so that a burst of calls opens fewer.
        tokio::task::yield_now().await;
        let mut response = self
            .execute(endpoint, payload, span)
            .await
            .map_err(|error| broken(error, self.call))?;
        self.call.record.answered(response.status().as_u16());
        span.answered(&response);
        read(&mut response, self.call).await
    }

    /// The response to come, which is small where a request is large.
    fn execute(
        &self,
        endpoint: &Endpoint,
        payload: &Payload<'_>,
        span: &ClientSpan<'_>,
    ) -> impl Future<Output = Result<Response, reqwest::Error>> + use<> {
        let mut request = request(endpoint, self.app_key.clone(), payload, self.call);
        if self.upstream.continues_traces {
            span.inject(request.headers_mut());
        }
        self.upstream.client.execute(request)
    }
}

impl Payload<'_> {
    pub(crate) fn json(body: &impl Serialize) -> Self {
        Self::Json(
            serde_json::to_vec(body)
                .expect("a struct of strings is JSON")
                .into(),
        )
    }
}

/// The request as it goes out, except for what the client says of itself.
fn request(endpoint: &Endpoint, key: HeaderValue, payload: &Payload<'_>, call: &Call) -> Request {
    let mut request = Request::new(endpoint.rpc.http_method().clone(), endpoint.url.clone());
    request.headers_mut().insert(ET_APP_KEY, key);
    let record = Arc::clone(&call.record);
    match payload {
        Payload::Query(name, value) => {
            request.url_mut().set_query(Some(&format!(
                "{name}={}",
                utf8_percent_encode(value, PERCENT_ENCODED)
            )));
            *request.body_mut() = Some(reqwest::Body::wrap(NoBody::new(record)));
        }
        Payload::Json(json) => {
            request.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
            *request.body_mut() = Some(reqwest::Body::wrap(Body::new(json.clone(), record)));
        }
    }
    request
}

impl Upstream {
    /// The API at that base URL, in that version, as `client` reaches it within `connect_timeout`. Whether it does is part
    /// of `readiness`.
    pub(crate) fn new(
        client: Client,
        connect_timeout: Duration,
        base: &Url,
        api_version: &str,
        in_flight: Arc<Semaphore>,
        observer: &CallObserver,
        readiness: &Readiness,
    ) -> Self {
        let probe = Probe::new(client.clone(), base.clone(), connect_timeout);
        Self {
            client,
            metrics: observer.metrics.clone(),
            continues_traces: observer.continues_traces,
            endpoints: Rpc::ALL.map(|rpc| Endpoint::new(rpc, base, api_version)),
            retries: Budget::new(),
            in_flight,
            circuit_breaker: CircuitBreaker::new(probe, readiness.clone()),
        }
    }
}

/// The HTTP client. It speaks HTTP/1.1 alone, where one connection carries one call at a time and nothing is sent twice.
///
/// Over TLS it trusts the system's certificates and those of `ca`; without TLS it reads none, which takes a while.
///
/// # Errors
///
/// If there are no certificates to trust.
pub(crate) fn client(
    is_over_tls: bool,
    connect_timeout: Duration,
    ca: Vec<Certificate>,
) -> Result<Client, reqwest::Error> {
    /// Shorter than the shortest that is common, the five seconds of Apache and of Node.js: who closes an idle connection
    /// should be this side, which never does so while a request leaves.
    const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
    let headers = HeaderMap::from_iter([
        (header::ACCEPT, HeaderValue::from_static("application/json")),
        (header::USER_AGENT, HeaderValue::from_static(USER_AGENT)),
    ]);
    let client = Client::builder();
    let client = if is_over_tls {
        client.tls_certs_merge(ca)
    } else {
        client.tls_certs_only([])
    };
    client
        .default_headers(headers)
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .retry(reqwest::retry::never())
        .build()
}

/// Reads the whole answer, if it is not too long.
async fn read(response: &mut Response, call: &Call) -> Result<ApiResponse, Error> {
    let http_status = response.status().as_u16();
    let too_large = Error::TooLarge { http_status };
    if response
        .content_length()
        .is_some_and(|length| length > MAX_RESPONSE as u64)
    {
        return Err(too_large);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| broken(error, call))?
    {
        if body.len() + chunk.len() > MAX_RESPONSE {
            return Err(too_large);
        }
        body.extend_from_slice(&chunk);
    }
    let text = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    Ok(ApiResponse {
        http_status,
        content_type: text(header::CONTENT_TYPE).map(str::to_owned),
        retry_after: text(header::RETRY_AFTER)
            .and_then(|text| retry_after::parse(text, SystemTime::now())),
        body: body.freeze(),
        values: RequestValues::default(),
    })
}

/// Why there is no answer. The URL is taken out of the error: it may hold a user name.
fn broken(error: reqwest::Error, call: &Call) -> Error {
    let error = error.without_url();
    if error.is_connect() || !call.record.was_sent() {
        Error::Unreachable(error)
    } else {
        Error::ConnectionLost(error)
    }
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload([redacted])")
    }
}
