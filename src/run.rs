//! Runs a command: starts its parts in order, and stops them in reverse.

use std::{
    ffi::OsString,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
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
use tracing::warn;

#[cfg(feature = "self-signed")]
use crate::self_signed;
use crate::{
    address::Address,
    app_key::{self, AppKeys},
    attempt_limiter::AttemptLimiter,
    authz, banner,
    config::{self, AppKeyOptions, Command, ConfigError},
    endpoint::Endpoint,
    error::chain,
    explain,
    followed_files::FollowedFiles,
    output, probe,
    readiness::Readiness,
    request_ids::RequestIds,
    rpc::{API_VERSION, Rpc},
    sandbox,
    server::{
        self, Listeners, admin::Admin, authorization::Authorization, listener::Listener,
        tls_handshake::TlsHandshakes,
    },
    service::Service,
    signals,
    telemetry::{
        Telemetry, call_log::CallObserver, log_writer, logging, metrics::Metrics,
        tls_metrics::TlsMetrics,
    },
    tls::{self, ServerTls},
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
        Command::Help(text) => output::print(io::stdout(), format!("{}\n", text.trim_end())),
    }
    Ok(())
}

/// The application key, which changes with its file.
type Key = watch::Receiver<HeaderValue>;

/// Runs the gateway until a signal stops it.
fn serve(config: config::Serve) -> Result<(), Failure> {
    config.check()?;
    #[cfg(feature = "self-signed")]
    let config = with_certificates(config)?;
    let config = &config;
    let settings = config::Telemetry::from_environment(config.log_format)?;
    let tls = tls::open(&config.tls)?;
    let client = upstream::client(config).map_err(|_| {
        let expected =
            "takes a PEM file of certificates, and must be given where the system has none";
        ConfigError::new("--upstream-ca", expected)
    })?;
    let runtime = runtime(config.worker_threads)?;
    let result = runtime.block_on(serve_until_signal(config, settings, client, tls));
    // A host name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    result
}

/// Makes the certificates of `--tls-self-signed`, and sets the options that take them.
#[cfg(feature = "self-signed")]
fn with_certificates(mut config: config::Serve) -> Result<config::Serve, ConfigError> {
    let Some(directory) = &config.self_signed.tls_self_signed else {
        return Ok(config);
    };
    let listening = config.listen.iter().flat_map(Address::socket_addresses);
    let addresses: Vec<_> = listening.map(|socket| socket.ip()).collect();
    let files = self_signed::write(directory, &addresses).map_err(|error| {
        let expected = format!("takes a directory that is empty or does not exist yet ({error})");
        ConfigError::new("--tls-self-signed", expected)
    })?;
    config.tls.tls_cert = Some(files.server);
    config.tls.tls_key = Some(files.server_key);
    config.tls.tls_client_ca = Some(files.ca);
    config.self_signed.client = Some((files.client, files.client_key));
    Ok(config)
}

async fn serve_until_signal(
    config: &config::Serve,
    settings: config::Telemetry,
    client: Client,
    tls: Option<FollowedFiles<Arc<ServerTls>>>,
) -> Result<(), Failure> {
    let readiness = Readiness::default();
    let key_readiness = readiness.clone();
    let reload = reload_signal()?;
    let on_change = move || key_readiness.clear_key_rejection();
    let key = app_key(&config.key, &reload, on_change)?;
    let propagates_trace_context = settings.otel.propagates_trace_context;
    let telemetry = Telemetry::start(settings);
    if config.is_upstream_in_clear() {
        warn!("--upstream-url is http and not on this machine: keys and passwords travel in clear");
    }
    let tls = tls.map(|files| follow_tls(files, reload.clone()));
    let observer = CallObserver {
        metrics: Arc::new(Metrics::new()),
        propagates_trace_context,
    };
    let authorization = Authorization::open(&config.authz, &reload, &observer.metrics)?;
    let admin = Admin {
        readiness: readiness.clone(),
        metrics: telemetry.page.clone(),
        log_level: telemetry.log_level.clone(),
    };
    let stop = signals::shutdown().map_err(failed_to("listen for signals"))?;
    let (base, app_keys) = api(config, key).await?;
    let listeners = bind(config).await?;
    let text = banner::gateway(&listeners, &base, config);
    let text = text.map_err(failed_to("find the ports"))?;
    let limits = server::open_files::fit_to_open_files(config.limits);
    let in_flight = Arc::new(Semaphore::new(limits.max_in_flight as usize));
    let (version, release) = (&config.upstream_api_version, config.upstream_release);
    let endpoints = Rpc::ALL.map(|rpc| Endpoint::new(rpc, &base, version, release));
    let upstream = Upstream::new(client, endpoints, in_flight, &observer, &readiness);
    let service = Arc::new(Service {
        upstream: Arc::new(upstream),
        upstream_release: release,
        app_keys,
        attempt_limiter: Arc::new(AttemptLimiter::new(&config.attempts)),
        request_ids: RequestIds::default(),
        readiness,
    });
    let running = server::start(
        listeners,
        tls,
        authorization,
        service,
        limits,
        observer,
        admin,
    )
    .await;
    output::print(io::stdout(), text);
    running.serve_until(stop).await;
    telemetry.finish().await;
    Ok(())
}

/// Starts to follow the files of the listeners' TLS.
fn follow_tls(files: FollowedFiles<Arc<ServerTls>>, reload: watch::Receiver<()>) -> TlsHandshakes {
    let current = files.subscribe();
    let metrics = TlsMetrics::new(move || current.borrow().not_after_seconds());
    let reloads = metrics.clone();
    let current = files.follow(reload, move |is_usable| reloads.count_reload(is_usable));
    TlsHandshakes::new(current, metrics)
}

/// The URL of the API, and the keys for it. The stand-in API is started here: it asks for the configured key, and without
/// one it accepts any key, so that callers need not send one.
async fn api(config: &config::Serve, key: Option<Key>) -> Result<(Url, AppKeys), Failure> {
    if let Some(url) = &config.upstream_url {
        return Ok((url.clone(), key.map_or(AppKeys::Callers, AppKeys::Gateway)));
    }
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

async fn bind(config: &config::Serve) -> Result<Listeners, Failure> {
    let admin = config.admin_listen.map(Address::Tcp);
    let all: Vec<_> = config.listen.iter().chain(&admin).cloned().collect();
    let mut grpc = Vec::new();
    for address in &all {
        let bound = Listener::bind(address, &all).await;
        grpc.extend(bound.map_err(failed_to(&format!("listen on {address}")))?);
    }
    let admin = admin.and_then(|_| grpc.pop());
    Ok(Listeners { grpc, admin })
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
    let file = app_key::open(path)?;
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
