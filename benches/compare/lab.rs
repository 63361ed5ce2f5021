//! What all measurements share: the programs, the API, a scratch directory and a runtime.

use rustix::process::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{api::Api, programs::Tools};

pub(crate) struct Lab {
    pub(crate) tools: Tools,
    pub(crate) api: Api,
    pub(crate) scratch: TempDir,
    /// For the collector, and for the client that makes each candidate's first call.
    pub(crate) runtime: Runtime,
}

impl Lab {
    pub(crate) fn new(tools: Tools) -> Self {
        // A thousand calls at a time need more than the usual 1,024 open files.
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();

        let scratch = tempfile::tempdir().unwrap();
        Self {
            api: Api::start(&tools.nginx, scratch.path()),
            tools,
            scratch,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
        }
    }
}
