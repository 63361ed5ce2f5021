//! One request that asks nothing but whether the API can be reached.

use std::time::Duration;

use reqwest::{Client, Method, Request, Url};

/// What the answer may take, beside connecting.
const FOR_THE_ANSWER: Duration = Duration::from_secs(1);

/// A `HEAD` to the base URL, without a key: whatever the API answers, it is there.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    client: Client,
    base: Url,
    patience: Duration,
}

impl Probe {
    pub(super) fn new(client: Client, base: Url, connect_timeout: Duration) -> Self {
        Self {
            client,
            base,
            patience: connect_timeout.saturating_add(FOR_THE_ANSWER),
        }
    }

    /// Whether an answer comes; or none for so long that there must be a connection: not everybody answers a `HEAD`. A
    /// connection that is closed without an answer is no sign of life: what stands in front of an API does so.
    pub(super) async fn send(&self) -> bool {
        let request = Request::new(Method::HEAD, self.base.clone());
        let answer = tokio::time::timeout(self.patience, self.client.execute(request)).await;
        !matches!(answer, Ok(Err(_)))
    }
}
