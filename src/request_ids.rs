//! Lets callers repeat a write: of all calls with the same `request_id`, one is sent, and the others get its result.
//!
//! A result is kept for ten minutes after its call has ended. A call that was not sent leaves nothing behind, so the next
//! one with its id is sent. Nothing outlives the process.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    call::{Call, CallRecord},
    error::{Error, Violation},
    rpc::Rpc,
    status::{Classification, Outcome},
};

/// How long a result is kept.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// How many ids are kept. Further ones are refused: an id that is forgotten early could be sent twice.
const MAX_IDS: usize = 64 * 1024;
/// How many calls may wait for the first one with their id. They hold no in-flight permit.
const MAX_WAITING: usize = 4096;

/// The result of a call: its encoded response, or why it failed.
type SharedResult = Result<Bytes, Arc<Error>>;

/// The ids of the last ten minutes, kept as hashes with a key of this process.
pub(crate) struct RequestIds {
    calls: Mutex<Calls>,
    waiting: Semaphore,
    hasher: RandomState,
}

/// A request with an id. Two requests with the same id must have the same fingerprint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdentifiedRequest {
    id: u64,
    fingerprint: u64,
}

#[derive(Default)]
struct Calls {
    /// The fingerprint of each id's request, and the state of the first call with it.
    by_id: HashMap<u64, (u64, State)>,
    /// When each result is forgotten, in this order.
    expiries: VecDeque<(Instant, u64)>,
}

#[derive(Clone)]
enum State {
    /// The first call is under way.
    Running {
        record: Arc<CallRecord>,
        ended: CancellationToken,
    },
    Ended(SharedResult),
}

/// Whether a call is the first with its id.
enum Entry<'a> {
    First(FirstCall<'a>),
    /// Another call was first.
    Repetition(State),
}

/// The first call with an id. When it is dropped, the calls that repeat it go on.
struct FirstCall<'a> {
    ids: &'a RequestIds,
    id: u64,
    record: Arc<CallRecord>,
    ended: CancellationToken,
    /// `None` if the call was not sent.
    result: Option<SharedResult>,
}

/// Shows no result, because it may be a token.
impl fmt::Debug for RequestIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestIds").finish_non_exhaustive()
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self {
            calls: Mutex::default(),
            waiting: Semaphore::new(MAX_WAITING),
            hasher: RandomState::new(),
        }
    }
}

impl RequestIds {
    /// The request of a caller to an rpc. Its `content` is what has to be the same when it is repeated.
    pub(crate) fn identify(&self, rpc: Rpc, id: Uuid, content: impl Hash) -> IdentifiedRequest {
        IdentifiedRequest {
            id: self.hasher.hash_one((rpc as usize, id)),
            fingerprint: self.hasher.hash_one(content),
        }
    }

    /// Sends the request; or, if another call with its id is or was under way, waits for the result of that call.
    ///
    /// # Errors
    ///
    /// As `send`; or [`Error::Invalid`] if the id belongs to another request, or [`Error::Overloaded`] if no more ids can be
    /// kept, or too many calls wait.
    pub(crate) async fn send_once<T: Message + Default>(
        &self,
        request: IdentifiedRequest,
        call: &Call,
        send: impl AsyncFnOnce() -> Result<T, Error>,
    ) -> Result<T, Arc<Error>> {
        let mut first = loop {
            match self.enter(request, call)? {
                Entry::First(first) => break first,
                Entry::Repetition(State::Running { record, ended }) => {
                    let _permit = self
                        .waiting
                        .try_acquire()
                        .map_err(|_full| Error::Overloaded)?;
                    call.record.set_original(Some(record));
                    ended.cancelled().await;
                    call.record.set_original(None);
                }
                Entry::Repetition(State::Ended(result)) => return result.map(decode),
            }
        };
        let result = send().await.map_err(Arc::new);
        first.record_result(&result);
        result
    }

    /// Makes the call the first one with its id, if there is none yet.
    fn enter(&self, request: IdentifiedRequest, call: &Call) -> Result<Entry<'_>, Error> {
        let mut calls = self.calls.lock();
        calls.forget_expired();
        match calls.by_id.get(&request.id) {
            Some((fingerprint, state)) if *fingerprint == request.fingerprint => {
                return Ok(Entry::Repetition(state.clone()));
            }
            Some(_) => return Err(id_is_taken()),
            None if calls.by_id.len() == MAX_IDS => return Err(Error::Overloaded),
            None => {}
        }
        let (record, ended) = (Arc::clone(&call.record), CancellationToken::new());
        let first = FirstCall {
            ids: self,
            id: request.id,
            record: Arc::clone(&record),
            ended: ended.clone(),
            result: None,
        };
        let state = State::Running { record, ended };
        calls.by_id.insert(request.id, (request.fingerprint, state));
        Ok(Entry::First(first))
    }
}

impl Calls {
    fn forget_expired(&mut self) {
        let now = Instant::now();
        while let Some((expiry, id)) = self.expiries.front()
            && *expiry <= now
        {
            self.by_id.remove(id);
            self.expiries.pop_front();
        }
    }
}

impl FirstCall<'_> {
    /// Keeps the result for the calls that repeat this one, unless the call was not sent.
    fn record_result<T: Message>(&mut self, result: &Result<T, Arc<Error>>) {
        let result = match result {
            Ok(response) => Ok(response.encode_to_vec().into()),
            Err(error) => Err(Arc::clone(error)),
        };
        let is_unsent =
            |error: &Arc<Error>| Classification::of(error, false).outcome == Outcome::NotSent;
        self.result = Some(result).filter(|result| !result.as_ref().is_err_and(is_unsent));
    }
}

impl Drop for FirstCall<'_> {
    fn drop(&mut self) {
        let panicked = || Err(Arc::new(Error::Panicked { sent: true }));
        let result = self.result.take();
        let result = result.or_else(|| self.record.was_sent().then(panicked));
        let mut calls = self.ids.calls.lock();
        if let Some(result) = result {
            calls
                .expiries
                .push_back((Instant::now() + KEPT_FOR, self.id));
            let call = calls.by_id.get_mut(&self.id);
            call.expect("it is kept while it runs").1 = State::Ended(result);
        } else {
            calls.by_id.remove(&self.id);
        }
        self.ended.cancel();
    }
}

fn id_is_taken() -> Error {
    Error::Invalid(vec![Violation {
        field: "request_id",
        rule: "must be new: another request of the last ten minutes has this id",
    }])
}

fn decode<T: Message + Default>(response: Bytes) -> T {
    T::decode(response).expect("it was encoded from the same type")
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures_util::FutureExt;

    use super::*;
    use crate::proto::GenerateTokenResponse;

    fn call() -> Call {
        Call::for_test(Rpc::GenerateToken, KEPT_FOR)
    }

    fn response(token: &str) -> GenerateTokenResponse {
        GenerateTokenResponse {
            token: token.to_owned(),
        }
    }

    /// Sends a request with this id, unless another was sent. Returns the token.
    async fn send(ids: &RequestIds, id: u128, token: &str) -> Result<String, Arc<Error>> {
        let request = ids.identify(Rpc::GenerateToken, Uuid::from_u128(id), ());
        let send = async || Ok(response(token));
        ids.send_once(request, &call(), send)
            .await
            .map(|response| response.token)
    }

    #[tokio::test(start_paused = true)]
    async fn a_result_is_kept_for_ten_minutes() {
        let ids = RequestIds::default();
        assert_eq!(send(&ids, 1, "first").await.unwrap(), "first");
        tokio::time::advance(KEPT_FOR - Duration::from_millis(1)).await;
        assert_eq!(send(&ids, 1, "second").await.unwrap(), "first");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(send(&ids, 1, "third").await.unwrap(), "third");
    }

    #[tokio::test]
    async fn debug_shows_no_result() {
        let ids = RequestIds::default();
        send(&ids, 1, "canary").await.unwrap();
        let canary = format!("{:?}", Bytes::from_static(b"canary"));
        let canary = canary.trim_start_matches("b\"").trim_end_matches('"');
        assert!(!format!("{ids:?}").contains(canary));
    }

    #[tokio::test(start_paused = true)]
    async fn no_id_is_forgotten_to_make_room() {
        let ids = RequestIds::default();
        for id in 0..MAX_IDS as u128 {
            send(&ids, id, "first").await.unwrap();
        }
        let refused = send(&ids, u128::MAX, "one too many").await.unwrap_err();
        assert!(matches!(*refused, Error::Overloaded));
        assert_eq!(send(&ids, 0, "second").await.unwrap(), "first");
        tokio::time::advance(KEPT_FOR).await;
        send(&ids, u128::MAX, "there is room").await.unwrap();
        let calls = ids.calls.lock();
        assert_eq!((calls.by_id.len(), calls.expiries.len()), (1, 1));
    }

    #[tokio::test]
    async fn only_so_many_calls_wait_for_the_first() {
        let ids = RequestIds::default();
        let request = ids.identify(Rpc::GenerateToken, Uuid::from_u128(1), ());
        let call = call();
        let Ok(Entry::First(first)) = ids.enter(request, &call) else {
            panic!("there was a call before");
        };
        let mut waiting: Vec<_> = (0..MAX_WAITING)
            .map(|_| Box::pin(send(&ids, 1, "second")))
            .collect();
        for call in &mut waiting {
            assert!(futures_util::poll!(call).is_pending());
        }
        let refused = send(&ids, 1, "one too many").now_or_never();
        let refused = refused.expect("it does not wait").unwrap_err();
        assert!(matches!(*refused, Error::Overloaded));
        drop(first);
        assert_eq!(waiting.remove(0).await.unwrap(), "second");
        drop(waiting);
        assert_eq!(ids.waiting.available_permits(), MAX_WAITING);
    }

    #[tokio::test]
    async fn after_a_panic_only_a_call_that_was_not_sent_is_repeated() {
        for was_sent in [false, true] {
            let (ids, call) = (RequestIds::default(), call());
            let request = ids.identify(Rpc::GenerateToken, Uuid::from_u128(1), ());
            let panics = async || -> Result<GenerateTokenResponse, Error> {
                assert!(!was_sent || call.record.try_mark_sent());
                panic!("a bug");
            };
            let sent = AssertUnwindSafe(ids.send_once(request, &call, panics));
            sent.catch_unwind().await.unwrap_err();
            let repeated = send(&ids, 1, "second").await;
            assert_eq!(repeated.is_err(), was_sent);
        }
    }
}
