//! What the steps share.

use std::sync::Arc;

use http::HeaderValue;

use crate::{
    attempt_limiter::{AttemptLimiter, client_id::ClientId},
    call::Call,
    envelope::{ApiResponse, RequestValues},
    error::Error,
    upstream::{Payload, Upstream},
};

/// What a step works with. It owns everything, so a step can outlive the request that started it.
#[derive(Debug)]
pub(crate) struct StepContext {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) attempt_limiter: Arc<AttemptLimiter>,
    pub(crate) client: ClientId,
    pub(crate) call: Arc<Call>,
    pub(crate) app_key: HeaderValue,
}

impl StepContext {
    /// Sends the REST request of the call's rpc and reads the response.
    ///
    /// # Errors
    ///
    /// As [`Upstream::send`].
    pub(super) async fn send(
        &self,
        payload: Payload<'_>,
        values: RequestValues,
    ) -> Result<ApiResponse, Error> {
        self.upstream
            .send(&self.call, &self.app_key, payload, values)
            .await
    }
}
