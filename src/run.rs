//! Runs a command: starts the parts in their order, and ends them in the reverse one.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    thread,
};

use http::HeaderValue;
use reqwest::{Client, Url};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::{Semaphore, watch},
};

use crate::{
    address::Address,
    app_key::{self, AppKeys},
    attempt_limiter::AttemptLimiter,
    banner,
    config::{self, AppKeyOptions, Command, ConfigError},
    error::chain,
    explain, output, probe,
    readiness::Readiness,
    rpc::API_VERSION,
    sandbox,
    server::{self, Listeners, Running, admin::Admin, listener::Listener},
    service::Service,
    signals,
    telemetry::{Telemetry, call_log::CallObserver, logging, metrics::Metrics},
    upstream::{self, Upstream},
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

impl Failure {
    /// The exit status: 2 for a setting, 1 for anything else.
    pub fn exit_code(&self) -> ExitCode {
        let is_setting = matches!(self, Self::Config(_));
        ExitCode::from(if is_setting { 2 } else { 1 })
    }
}

/// Runs a command to its end.
///
/// # Errors
///
/// Why the command failed.
pub fn run(command: Command) -> Result<(), Failure> {
    let _flush = logging::FlushOnDrop;
    match command {
        Command::Serve(config) => serve(&config),
        Command::Sandbox(config) => sandbox(&config),
        Command::Probe(config) => probe(&config),
        Command::Explain(config) => explain(&config),
        Command::Help(text) => {
            output::print(io::stdout(), format!("{}\n", text.trim_end()));
            Ok(())
        }
    }
}

/// The application key that is used now.
type Key = watch::Receiver<HeaderValue>;

/// Runs the gateway until a signal stops it.
fn serve(config: &config::Serve) -> Result<(), Failure> {
    let settings = config::Telemetry::from_environment(config.log_format)?;
    let client = client(config)?;
    let runtime = runtime(config.worker_threads)?;
    let readiness = Readiness::default();
    let (key, telemetry) = {
        let _in_runtime = runtime.enter();
        let readiness = readiness.clone();
        let key = app_key(&config.key, move || readiness.key_works())?;
        (key, Telemetry::start(&settings))
    };
    let observer = CallObserver {
        metrics: Metrics::new(),
        continues_traces: settings.otel.propagates_trace_context,
    };
    let admin = Admin {
        readiness,
        metrics: telemetry.page.clone(),
        log_level: telemetry.log_level.clone(),
    };
    let result = runtime.block_on(async {
        let stop = signals::shutdown().map_err(failed_to("listen for signals"))?;
        let running = start(config, client, key, observer, admin).await?;
        running.until(stop).await;
        telemetry.finish().await;
        Ok(())
    });
    // A host name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    result
}

/// Binds the ports and takes calls.
async fn start(
    config: &config::Serve,
    client: Client,
    key: Option<Key>,
    observer: CallObserver,
    admin: Admin,
) -> Result<Running, Failure> {
    let (base, app_keys) = match &config.upstream_url {
        Some(url) => (url.clone(), key.map_or(AppKeys::Callers, AppKeys::Gateway)),
        None => start_sandbox(config, key).await?,
    };
    let listeners = bind(config).await?;
    let text = banner::gateway(&listeners, &base, config.sandbox);
    let text = text.map_err(failed_to("find the ports"))?;
    let readiness = admin.readiness.clone();
    let limits = server::open_files::fit(config.limits);
    let upstream = Upstream::new(
        client,
        &base,
        &config.upstream_api_version,
        Arc::new(Semaphore::new(limits.max_in_flight as usize)),
        &observer,
        &readiness,
    );
    let service = Service {
        upstream: Arc::new(upstream),
        app_keys,
        attempt_limiter: Arc::new(AttemptLimiter::new(&config.attempts)),
        readiness,
    };
    let running = server::start(listeners, service, limits, observer, admin).await;
    output::print(io::stdout(), text);
    Ok(running)
}

/// Starts the stand-in API behind the gateway, and returns its URL and the key for it. It asks for
/// the configured key; without one it accepts any, so that callers need not send one.
async fn start_sandbox(
    config: &config::Serve,
    key: Option<Key>,
) -> Result<(Url, AppKeys), Failure> {
    let (listener, url) = bind_sandbox(config.sandbox_listen).await?;
    let any_key = || watch::channel(HeaderValue::from_static("sandbox")).1;
    let sent = key.clone().unwrap_or_else(any_key);
    let api_version = config.upstream_api_version.clone();
    tokio::spawn(async move { sandbox::serve(listener, key, &api_version).await });
    Ok((url, AppKeys::Gateway(sent)))
}

/// Runs the stand-in API until a signal stops it.
fn sandbox(config: &config::Sandbox) -> Result<(), Failure> {
    let settings = config::Telemetry::from_environment(config.log_format)?;
    runtime(None)?.block_on(async {
        let key = app_key(&config.key, || {})?;
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
    let address = config.listen.first().expect("there is a default");
    let probed = runtime(None)?.block_on(probe::probe(address));
    probed.map_err(Failure::Other)
}

fn explain(config: &config::Explain) -> Result<(), Failure> {
    let status = explain::explain(config).map_err(failed_to("read the body"))?;
    writeln!(io::stdout(), "{status}").map_err(failed_to("write the status"))
}

/// A runtime with that many workers, by default as many as the CPUs that the process may use.
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

async fn bind(config: &config::Serve) -> Result<Listeners, Failure> {
    let admin = config.admin_listen.map(Address::Tcp);
    let mut grpc = Vec::new();
    for address in config.listen.iter().chain(&admin) {
        let listener = Listener::bind(address).await;
        grpc.push(listener.map_err(failed_to(&format!("listen on {address}")))?);
    }
    let admin = admin.and_then(|_| grpc.pop());
    Ok(Listeners { grpc, admin })
}

/// The listener of the stand-in API, and its URL.
async fn bind_sandbox(address: Option<SocketAddr>) -> Result<(TcpListener, Url), Failure> {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = address.unwrap_or(any_port);
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(failed_to(&format!("listen on {address}")))?;
    let address = listener.local_addr().map_err(failed_to("find the port"))?;
    let url = Url::parse(&format!("http://{address}"));
    Ok((listener, url.expect("an address makes a URL")))
}

/// The client for the API.
fn client(config: &config::Serve) -> Result<Client, ConfigError> {
    let url = config.upstream_url.as_ref();
    let is_over_tls = url.is_some_and(|url| url.scheme() == "https");
    let certificates = config.upstream_ca.clone().unwrap_or_default();
    upstream::client(is_over_tls, config.connect_timeout, certificates).map_err(|_| {
        let expected =
            "takes a PEM file of certificates, and must be given where the system has none";
        ConfigError::new("--upstream-ca", expected)
    })
}

/// The application key, unless callers send their own. A key file is followed from now on, and
/// `on_change` is called when its key changes.
fn app_key(
    options: &AppKeyOptions,
    on_change: impl Fn() + Send + 'static,
) -> Result<Option<Key>, Failure> {
    let reload = signals::reload().map_err(failed_to("listen for SIGHUP"))?;
    Ok(options.read()?.map(|key| {
        let (sender, receiver) = watch::channel(key);
        if let Some(path) = options.app_key_file.clone() {
            tokio::spawn(app_key::watch_file(path, sender, reload, on_change));
        }
        receiver
    }))
}

/// Makes a failure of an error and its causes.
fn failed_to<E: std::error::Error + 'static>(what: &str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::Other(format!("cannot {what}: {}", chain(&error)))
}
