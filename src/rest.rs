//! The one client of the REST API: key, deadline, size limit, client span. It sends a write at most once and repeats a
//! failed read, asks nothing of an API that cannot be reached, follows no redirect (it would carry the password elsewhere)
//! and uses no proxy that the environment names.

mod backoff;
mod body;
mod breaker;
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

use crate::{
    call::Call,
    contract::{PERCENT_ENCODED, Rpc},
    endpoint::Endpoint,
    envelope::{Answer, Values},
    error::Error,
    guard::Attempts,
    readiness::Readiness,
    telemetry::{metrics::Metrics, observer::Observer, spans::ClientSpan},
};

use self::{
    body::{Body, NoBody},
    breaker::Breaker,
    probe::Probe,
    retry::{Budget, Retries},
};

/// The longest answer that is read, in bytes. The documented ones are shorter by far.
pub(crate) const MAX_ANSWER: usize = 64 * 1024;

const USER_AGENT: &str = concat!("reset-gateway/", env!("CARGO_PKG_VERSION"));
const ET_APP_KEY: HeaderName = HeaderName::from_static("et-app-key");

/// The client, and what never changes from call to call.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    client: Client,
    metrics: Metrics,
    /// Whether the trace goes on at the API.
    continues_traces: bool,
    endpoints: [Endpoint; Rpc::ALL.len()],
    retries: Budget,
    pub(crate) breaker: Breaker,
}

/// What a request carries.
pub(crate) enum Payload<'a> {
    /// One query parameter.
    Query(&'static str, &'a str),
    /// A JSON body.
    Json(Bytes),
}

/// The API as one call sees it.
pub(crate) struct Api<'a> {
    pub(crate) rest: &'a Rest,
    pub(crate) call: &'a Call,
    pub(crate) key: HeaderValue,
    pub(crate) attempts: Attempts<'a>,
}

impl Api<'_> {
    /// Sends the REST request of the call's rpc and reads the whole answer, within the call's deadline; a read that fails
    /// is tried again if that may help. The values of the request, and the key, go with the answer: nothing that is told
    /// of it may repeat them.
    ///
    /// # Errors
    ///
    /// Whatever kept the answer from arriving whole. An answer of any HTTP status is no error here.
    pub(crate) async fn send(
        &self,
        payload: Payload<'_>,
        mut values: Values,
    ) -> Result<Answer, Error> {
        values.add(self.key.to_str().unwrap_or_default());
        self.call.check()?;
        self.rest.breaker.check()?;
        let mut retries = Retries::new(
            self.call.rpc.only_reads(),
            self.call.deadline,
            &self.rest.retries,
        );
        let mut result = self.attempt(&payload, 0).await;
        while self.rest.breaker.check().is_ok()
            && let Some(pause) = retries.next(&result)
        {
            self.call.wait(pause).await?;
            if self.rest.breaker.check().is_err() {
                break;
            }
            self.call.record.tried_again();
            self.rest.metrics.request_repeated();
            result = self.attempt(&payload, retries.made()).await;
        }
        match result {
            Ok(answer) => Ok(Answer { values, ..answer }),
            // The API has seen an earlier attempt.
            Err(Error::Unreachable(error)) if self.call.record.was_sent() => {
                Err(Error::Broken(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Sends the request once, as that repetition, and reads the answer.
    async fn attempt(&self, payload: &Payload<'_>, repetition: u32) -> Result<Answer, Error> {
        let begun = Instant::now();
        let endpoint = &self.rest.endpoints[self.call.rpc as usize];
        let mut span = ClientSpan::start(endpoint, &self.call.trace, &self.rest.metrics, begun);
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
        self.rest.breaker.learn(&result, begun.elapsed());
        result
    }

    /// Sends the request and reads the answer.
    async fn round_trip(
        &self,
        endpoint: &Endpoint,
        payload: &Payload<'_>,
        span: &mut ClientSpan<'_>,
    ) -> Result<Answer, Error> {
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
        let mut request = request(endpoint, self.key.clone(), payload, self.call);
        if self.rest.continues_traces {
            span.inject(request.headers_mut());
        }
        self.rest.client.execute(request)
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

impl Rest {
    /// The API at that base URL, in that version, as `client` reaches it within `connect_timeout`. Whether it does is part
    /// of `readiness`.
    pub(crate) fn new(
        client: Client,
        connect_timeout: Duration,
        base: &Url,
        api_version: &str,
        observer: &Observer,
        readiness: &Readiness,
    ) -> Self {
        let probe = Probe::new(client.clone(), base.clone(), connect_timeout);
        Self {
            client,
            metrics: observer.metrics.clone(),
            continues_traces: observer.takes_up_traces,
            endpoints: Rpc::ALL.map(|rpc| Endpoint::new(rpc, base, api_version)),
            retries: Budget::new(),
            breaker: Breaker::new(probe, readiness.clone()),
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
async fn read(response: &mut Response, call: &Call) -> Result<Answer, Error> {
    let http_status = response.status().as_u16();
    let too_large = Error::TooLarge { http_status };
    if response
        .content_length()
        .is_some_and(|length| length > MAX_ANSWER as u64)
    {
        return Err(too_large);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| broken(error, call))?
    {
        if body.len() + chunk.len() > MAX_ANSWER {
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
    Ok(Answer {
        http_status,
        content_type: text(header::CONTENT_TYPE).map(str::to_owned),
        retry_after: text(header::RETRY_AFTER)
            .and_then(|text| retry_after::parse(text, SystemTime::now())),
        body: body.freeze(),
        values: Values::default(),
    })
}

/// Why there is no answer. The URL is taken out of the error: it may hold a user name.
fn broken(error: reqwest::Error, call: &Call) -> Error {
    let error = error.without_url();
    if error.is_connect() || !call.record.was_sent() {
        Error::Unreachable(error)
    } else {
        Error::Broken(error)
    }
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload([redacted])")
    }
}
