//! One request that asks nothing but whether the API can be reached.

use std::time::Duration;

use reqwest::{Client, Method, Request, Url};

/// What the answer may take, beside connecting.
const FOR_THE_ANSWER: Duration = Duration::from_secs(1);

/// A `HEAD` to the base URL, without a key: whatever becomes of it once there is a connection, the API is there.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    client: Client,
    base: Url,
    patience: Duration,
}

impl Probe {
    pub(super) fn new(client: Client, base: Url, connect_timeout: Duration) -> Self {
        Self { client, base, patience: connect_timeout.saturating_add(FOR_THE_ANSWER) }
    }

    /// Whether a connection can be made. An answer is waited for, lest the next request find the connection in use, but not
    /// needed: not everybody answers a `HEAD`.
    pub(super) async fn send(&self) -> bool {
        let request = Request::new(Method::HEAD, self.base.clone());
        let answer = tokio::time::timeout(self.patience, self.client.execute(request)).await;
        !matches!(answer, Ok(Err(error)) if error.is_connect())
    }
}
