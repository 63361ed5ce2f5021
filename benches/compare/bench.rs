//! What all measurements share: the programs, the API and a place for files.

use std::path::PathBuf;

use rustix::process::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{api::Api, collector::Collector, load};

/// The programs, by name or path.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) gateway: PathBuf,
    pub(crate) envoy: PathBuf,
    pub(crate) nginx: PathBuf,
    pub(crate) h2load: PathBuf,
}

/// All of them, running where they have to.
pub(crate) struct Bench {
    pub(crate) tools: Tools,
    pub(crate) api: Api,
    /// For the collectors, and for the client that asks each candidate once.
    pub(crate) runtime: Runtime,
    pub(crate) scratch: TempDir,
}

impl Bench {
    pub(crate) fn start(tools: Tools) -> Self {
        allow_many_files();
        let scratch = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let api = Api::start(&tools.nginx, scratch.path());
        load::write_request(scratch.path());
        Self {
            tools,
            api,
            runtime,
            scratch,
        }
    }

    /// Starts a collector, which nobody else sends to.
    pub(crate) fn collector(&self) -> Collector {
        self.runtime.block_on(Collector::serve())
    }
}

/// Lets everybody have as many files as may be: at a thousand calls at a time, Linux's usual 1024 are few.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}
