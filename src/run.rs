//! Runs a command.

mod serve;

use std::{
    ffi::OsString,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    thread,
};

use http::HeaderValue;
use reqwest::Url;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::watch,
};

use self::serve::serve;
use crate::{
    app_key, banner,
    commands::{authz, explain, probe},
    config::{self, AppKeyOptions, Command, ConfigError},
    error::chain,
    output,
    rpc::API_VERSION,
    sandbox, signals,
    telemetry::{log_writer, logging},
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A setting is wrong or missing.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// Runs the command that the arguments name until it ends.
///
/// # Errors
///
/// Why the command failed.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    // Also when a panic ends it.
    scopeguard::defer!(log_writer::flush());
    match config::parse(args)? {
        Command::Serve(config) => serve(*config)?,
        Command::Sandbox(config) => sandbox(&config)?,
        Command::Probe(config) => probe(&config)?,
        Command::Explain(config) => explain(&config)?,
        Command::Authz(config) => authz(&config)?,
        Command::Completions(config) => {
            output::print(io::stdout(), config::completions(config.shell));
        }
        Command::Help(text) => output::print(io::stdout(), format!("{}\n", text.trim_end())),
    }
    Ok(())
}

/// The application key, which changes with its file.
type Key = watch::Receiver<HeaderValue>;

/// Runs the stand-in API until a signal stops it.
fn sandbox(config: &config::Sandbox) -> Result<(), Failure> {
    let settings = config::Telemetry::from_environment(config.log_format)?;
    runtime(None)?.block_on(async {
        let key = app_key(&config.key, &reload_signal()?, || {})?;
        logging::start(&settings);
        let stop = signals::shutdown().map_err(failed_to("listen for signals"))?;
        let (listener, url) = bind_sandbox(config.sandbox_listen).await?;
        output::print(io::stdout(), banner::sandbox(&url));
        tokio::select! {
            () = stop => {}
            () = sandbox::serve(listener, key, API_VERSION) => {}
        }
        Ok(())
    })
}

fn probe(config: &config::Probe) -> Result<(), Failure> {
    let probed = runtime(None)?.block_on(probe::probe(config));
    probed.map_err(Failure::Other)
}

fn explain(config: &config::Explain) -> Result<(), Failure> {
    let status = explain::explain(config).map_err(failed_to("read the body"))?;
    writeln!(io::stdout(), "{status}").map_err(failed_to("write the status"))
}

fn authz(config: &config::Authz) -> Result<(), Failure> {
    let (is_allowed, decision) = authz::authz(config)?;
    writeln!(io::stdout(), "{decision}").map_err(failed_to("write the decision"))?;
    let refusal = || Failure::Other("the policy does not allow the call".to_owned());
    is_allowed.then_some(()).ok_or_else(refusal)
}

/// Builds a runtime with that many threads; by default one for each CPU that the process may use.
fn runtime(workers: Option<u16>) -> Result<Runtime, Failure> {
    let cpus = || thread::available_parallelism().map_or(1, usize::from);
    let workers = workers.map_or_else(cpus, usize::from);
    let mut builder = match workers {
        // Without other workers to share tasks with, a call takes 4 to 10 % less CPU.
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(workers).enable_all();
    builder.build().map_err(failed_to("start"))
}

/// Binds the listener of the stand-in API, and returns it with its URL.
async fn bind_sandbox(address: Option<SocketAddr>) -> Result<(TcpListener, Url), Failure> {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = address.unwrap_or(any_port);
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(failed_to(&format!("listen on {address}")))?;
    let address = listener.local_addr().map_err(failed_to("find the port"))?;
    let url = Url::parse(&format!("http://{address}"));
    Ok((listener, url.expect("an address makes a URL")))
}

/// Changes at each SIGHUP. The signal must not end the program, even if no file is followed.
fn reload_signal() -> Result<watch::Receiver<()>, Failure> {
    signals::reload().map_err(failed_to("listen for SIGHUP"))
}

/// The application key; `None` if callers send their own. Starts to follow the key file, and calls
/// `on_change` whenever its key changes.
fn app_key(
    options: &AppKeyOptions,
    reload: &watch::Receiver<()>,
    on_change: impl Fn() + Send + 'static,
) -> Result<Option<Key>, Failure> {
    let Some(path) = &options.app_key_file else {
        return Ok(options.app_key.clone().map(|key| watch::channel(key).1));
    };
    let file = app_key::load(path)?;
    let on_reload = move |is_usable| {
        if is_usable {
            on_change();
        }
    };
    Ok(Some(file.follow(reload.clone(), on_reload)))
}

/// Turns an error and its causes into a failure: `cannot listen on …`.
fn failed_to<E: std::error::Error + 'static>(what: &str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::Other(format!("cannot {what}: {}", chain(&error)))
}
