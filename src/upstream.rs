//! Sends REST requests to the API. A write is sent at most once, a failed read is retried, and
//! nothing is sent while the API cannot be reached.

mod backoff;
mod body;
mod circuit_breaker;
pub(crate) mod decoding;
mod http_client;
mod request;
mod response;
mod retry;
pub(crate) mod retry_after;
mod tls;

use std::{sync::Arc, time::Instant};

use reqwest::Client;
use tokio::sync::{Semaphore, watch};

use self::{
    circuit_breaker::{Admission, CircuitBreaker},
    response::connection_error,
    retry::RetryBudget,
};
pub(crate) use self::{
    http_client::http_client,
    request::{ApiRequest, Payload},
    response::MAX_RESPONSE,
};
use crate::{
    endpoint::Endpoint,
    envelope::{ApiResponse, PrivateValues},
    error::Error,
    readiness::Readiness,
    rpc::Rpc,
    telemetry::{call_observer::CallObserver, spans::ClientSpan},
};

/// A call yields once before it is sent, and once more for each time that this many calls are in flight. With half as
/// many, yielding would cost 13 % of the CPU at 64 calls in flight.
const CALLS_PER_YIELD: usize = 64;

/// The API, shared by all calls.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Changes with the files of its TLS.
    http_client: watch::Receiver<Client>,
    observer: CallObserver,
    endpoints: [Endpoint; Rpc::ALL.len()],
    retry_budget: RetryBudget,
    /// One permit for each call that is being sent.
    pub(crate) in_flight: Arc<Semaphore>,
    max_in_flight: usize,
    pub(crate) circuit_breaker: CircuitBreaker,
}

impl Upstream {
    /// The API at these endpoints. Whether it can be reached becomes part of `readiness`.
    pub(crate) fn new(
        http_client: watch::Receiver<Client>,
        endpoints: [Endpoint; Rpc::ALL.len()],
        in_flight: Arc<Semaphore>,
        observer: &CallObserver,
        readiness: &Readiness,
    ) -> Self {
        Self {
            http_client,
            observer: observer.clone(),
            endpoints,
            retry_budget: RetryBudget::new(),
            max_in_flight: in_flight.available_permits(),
            in_flight,
            circuit_breaker: CircuitBreaker::new(readiness.clone()),
        }
    }

    /// Sends the REST request of the call's rpc and reads the whole response, within the call's
    /// deadline. The response carries `values` and the application key, so that they can be redacted
    /// from its texts.
    ///
    /// # Errors
    ///
    /// Why there is no response. A response is not an error here, whatever its HTTP status.
    pub(crate) async fn send(
        &self,
        request: &ApiRequest<'_>,
        mut values: PrivateValues,
    ) -> Result<ApiResponse, Error> {
        let app_key = request.app_key.to_str().unwrap_or_default();
        values.0.push(app_key.to_owned());
        request.call.ensure_not_cancelled()?;
        let admission = self.circuit_breaker.admit()?;
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return Err(Error::Overloaded);
        };
        match self.send_with_retries(request, admission).await {
            Ok(response) => Ok(ApiResponse { values, ..response }),
            // The API has seen an earlier try.
            Err(Error::Unreachable(error)) if request.call.record.was_sent() => {
                Err(Error::ConnectionLost(error))
            }
            Err(error) => Err(error),
        }
    }

    async fn send_with_retries(
        &self,
        request: &ApiRequest<'_>,
        admission: Admission<'_>,
    ) -> Result<ApiResponse, Error> {
        let (call, budget) = (request.call, &self.retry_budget);
        if call.rpc.is_read_only() {
            budget.deposit();
        }
        let mut retries = 0;
        let mut result = self.try_once(request, admission, retries).await;
        while call.rpc.is_read_only()
            && self.circuit_breaker.is_closed()
            && let Some(pause) = budget.withdraw(&result, retries, call.deadline)
        {
            call.pause(pause).await?;
            let Ok(admission) = self.circuit_breaker.admit() else {
                break;
            };
            call.record.clear_http_status();
            self.observer.metrics.count_retry();
            retries += 1;
            result = self.try_once(request, admission, retries).await;
        }
        result
    }

    /// Sends the request once, with a span and a measurement of its own.
    async fn try_once(
        &self,
        request: &ApiRequest<'_>,
        admission: Admission<'_>,
        resend_count: u32,
    ) -> Result<ApiResponse, Error> {
        let start = Instant::now();
        let call = request.call;
        let endpoint = &self.endpoints[call.rpc as usize];
        let mut span = ClientSpan::start(endpoint, &call.trace, &self.observer.metrics, start);
        if resend_count > 0 {
            span.set_resend_count(resend_count);
        }
        let result = tokio::select! {
            biased;
            result = self.exchange(request, endpoint, &mut span) => result,
            error = call.until_work_deadline() => Err(error),
        };
        if let Err(error) = &result {
            span.fail(error);
        }
        admission.record(&result, start.elapsed());
        result
    }

    /// Sends the request and reads the response.
    async fn exchange(
        &self,
        request: &ApiRequest<'_>,
        endpoint: &Endpoint,
        span: &mut ClientSpan<'_>,
    ) -> Result<ApiResponse, Error> {
        // Before a call takes a connection, it yields, so that the runtime polls the sockets. Then the pool
        // knows which connections the API has closed, and which ones are idle again and can be used in place
        // of new ones. The more calls are in flight, the more often a call yields: with 1000 in flight, this
        // saves 30 % of the memory.
        let in_flight = self.max_in_flight - self.in_flight.available_permits();
        for _ in 0..=in_flight / CALLS_PER_YIELD {
            tokio::task::yield_now().await;
        }
        let call = request.call;
        let mut request = request.build(endpoint);
        if self.observer.propagates_trace_context {
            span.inject(request.headers_mut());
        }
        let response = self.http_client.borrow().execute(request);
        let mut response = response
            .await
            .map_err(|error| connection_error(error, call))?;
        call.record.record_http_status(response.status().as_u16());
        span.record_response(&response);
        response::read(&mut response, call).await
    }
}
