//! A gateway under attack: a caller beside the attackers that has to be served all the while, and what the attack costs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use reset_gateway::proto::GetSecretQuestionRequest;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::support::{
    api::{Api, Reply},
    gateway::{Call, Gateway, KEY, within},
};

/// Files of the gateway that may come and go beside its callers' connections: those to the API.
const OTHER_FILES: usize = 64;

/// Makes the attack twice, and checks that a well-behaved caller is served throughout, that the gateway's memory grows by
/// no more than that, that it does not grow again the second time, and that no file is left open.
pub async fn survives(options: &[&str], most_mib: u64, attack: impl AsyncFn(&Gateway)) {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let options = [&["--app-key", KEY], options].concat();
    let gateway = Gateway::with(&api.url(), &options);
    let neighbour = Neighbour::of(&gateway).await;
    sleep(Duration::from_millis(100)).await;
    let (files, memory) = (gateway.files(), gateway.memory());

    attack(&gateway).await;
    within(|| gateway.files() <= files + OTHER_FILES).await;
    let once = gateway.memory();
    attack(&gateway).await;
    within(|| gateway.files() <= files + OTHER_FILES).await;
    let twice = gateway.memory();

    let served = neighbour.was_served().await;
    let peak = gateway.peak_memory();
    println!(
        "memory in KiB: {memory} before, {peak} at most, {once} after one attack, {twice} after two; {served}"
    );
    assert!(
        peak < memory + most_mib * 1024,
        "{memory} KiB before, {peak} KiB at most"
    );
    // The allocator keeps what it has had once, and not always all at the first time.
    assert!(
        twice < once + most_mib * 1024 / 2,
        "{once} KiB after the first attack, {twice} KiB after the second"
    );
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

/// Lets this process have as many files open as the system allows; how many those are.
pub fn raise_file_limit() -> u64 {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: most,
            maximum: most,
        },
    )
    .unwrap();
    most.unwrap_or(u64::MAX)
}

/// A well-behaved caller with a connection of its own: a call every few milliseconds, each response checked.
pub struct Neighbour {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    /// In microseconds.
    slowest: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Neighbour {
    pub async fn of(gateway: &Gateway) -> Self {
        let mut client = gateway.client().await;
        let (stop, served, slowest) = (
            Arc::<AtomicBool>::default(),
            Arc::<AtomicUsize>::default(),
            Arc::default(),
        );
        let (stopped, count, worst) = (
            Arc::clone(&stop),
            Arc::clone(&served),
            Arc::<AtomicUsize>::clone(&slowest),
        );
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let start = std::time::Instant::now();
                let call = client.get_secret_question(GetSecretQuestionRequest {
                    username: "some.trader".to_owned(),
                });
                let response = timeout(Duration::from_secs(5), call)
                    .await
                    .expect("a response in time")
                    .unwrap();
                assert_eq!(
                    response.into_inner().secret_question.unwrap(),
                    "What street did you live on?"
                );
                worst.fetch_max(start.elapsed().as_micros() as usize, Ordering::Relaxed);
                count.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(5)).await;
            }
        });
        Self {
            stop,
            served,
            slowest,
            task,
        }
    }

    /// How many calls were answered so far.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// Fails if any call was not answered as it should have been; tells of them all.
    pub async fn was_served(self) -> String {
        // It may be a matter of milliseconds since it began.
        within(|| self.served() > 10 || self.task.is_finished()).await;
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the neighbour was served");
        let (served, slowest) = (
            self.served.load(Ordering::Relaxed),
            self.slowest.load(Ordering::Relaxed) / 1000,
        );
        format!("{served} calls of the neighbour's answered, the slowest in {slowest} ms")
    }
}
