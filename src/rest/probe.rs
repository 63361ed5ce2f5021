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
        Self { client, base, patience: connect_timeout.saturating_add(FOR_THE_ANSWER) }
    }

    /// Whether an answer comes.
    pub(super) async fn send(&self) -> bool {
        let request = Request::new(Method::HEAD, self.base.clone());
        matches!(tokio::time::timeout(self.patience, self.client.execute(request)).await, Ok(Ok(_)))
    }
}
