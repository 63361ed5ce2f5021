//! Runs a command: sets the parts up in their order, and takes them down in the reverse one.

use std::{
    fmt,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    thread,
};

use http::HeaderValue;
use reqwest::Url;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
    sync::watch,
};

use crate::{
    address::Address,
    app_key::{self, AppKeys},
    attempt_limiter::AttemptLimiter,
    attempt_limiter::client_id::ClientIds,
    banner,
    config::{Api, Command, ConfigError, Key, Sandbox, Serve},
    explain, output, probe,
    readiness::Readiness,
    rpc::API_VERSION,
    sandbox,
    server::{self, Listeners, Running, admin::Admin, listener::Listener},
    service::Service,
    telemetry::{
        Telemetry,
        call_log::CallObserver,
        logging,
        metrics::{Metrics, meter},
    },
    upstream::{self, Upstream},
};

/// Why a command ended without doing what it was asked to.
#[derive(Debug)]
pub enum Failure {
    /// A setting is wrong or missing.
    Config(ConfigError),
    /// Anything else, in words.
    Other(String),
}

/// Runs a command to its end.
///
/// # Errors
///
/// Why it could not be done.
pub fn run(command: Command) -> Result<(), Failure> {
    let _flush = logging::FlushOnDrop;
    match command {
        Command::Serve(config) => serve(*config),
        Command::Sandbox(config) => sandbox(&config),
        Command::Probe(address) => runtime(None)?
            .block_on(probe::probe(&address))
            .map_err(Failure::Other),
        Command::Explain(config) => {
            let status = explain::explain(&config).map_err(failed_to("read the body"))?;
            writeln!(io::stdout(), "{status}").map_err(failed_to("write the status"))
        }
    }
}

/// Runs the gateway until it is told to stop.
fn serve(config: Serve) -> Result<(), Failure> {
    let runtime = runtime(config.worker_threads)?;
    // What can be wrong with the settings shows before a port is bound.
    let client = upstream::client(
        config.api.is_over_tls(),
        config.connect_timeout,
        config.ca.clone(),
    )
    .map_err(|_| ConfigError::no_certificates())?;
    let telemetry = {
        let _in_runtime = runtime.enter();
        Telemetry::start(&config.telemetry)
    };
    let result = runtime.block_on(async {
        let stop = stop_signal()?;
        // Where this fails nothing has been measured, and there is nothing to send.
        let running = gateway(config, client, &telemetry).await?;
        running.until(stop).await;
        tokio::task::block_in_place(|| telemetry.finish());
        Ok(())
    });
    // A name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    result
}

/// Sets the gateway up and starts it.
async fn gateway(
    mut config: Serve,
    client: reqwest::Client,
    telemetry: &Telemetry,
) -> Result<Running, Failure> {
    config.limits = server::open_files::fit(config.limits);
    let (base, sandbox) = api(&config.api).await?;
    let listeners = bind(&config).await?;
    let announcement = banner::gateway(&listeners, &base, sandbox.is_some())
        .map_err(failed_to("find the ports"))?;

    let readiness = Readiness::new();
    let keys = match sandbox {
        None => app_keys(&config.key, &readiness),
        Some(listener) => {
            let (keys, expected) = sandbox_keys(&config.key, &readiness);
            let api_version = config.api_version.clone();
            tokio::spawn(async move { sandbox::serve(listener, expected, &api_version).await });
            keys
        }
    };
    let admin = Admin {
        readiness: readiness.clone(),
        metrics: telemetry.page(),
        log_level: telemetry.log_level.clone(),
    };
    let (service, observer) = service(&config, client, &base, keys, readiness);
    let running = server::start(listeners, service, config.limits, observer, admin).await;
    output::print(io::stdout(), announcement);
    Ok(running)
}

/// The service before the API at that URL, and what its calls are observed with.
pub(crate) fn service(
    config: &Serve,
    client: reqwest::Client,
    base: &Url,
    app_keys: AppKeys,
    readiness: Readiness,
) -> (Service, CallObserver) {
    let observer = CallObserver {
        metrics: Metrics::new(&meter()),
        continues_traces: config.telemetry.otel.propagates_trace_context,
    };
    let in_flight = Arc::new(Semaphore::new(config.limits.max_in_flight as usize));
    let upstream = Upstream::new(
        client,
        base,
        &config.api_version,
        in_flight,
        &observer,
        &readiness,
    );
    let service = Service {
        upstream: Arc::new(upstream),
        app_keys,
        client_ids: ClientIds::new(config.caller_metadata.clone()),
        attempt_limiter: Arc::new(AttemptLimiter::new(config.rates)),
        readiness,
    };
    (service, observer)
}

/// Runs the stand-in API until it is told to stop.
fn sandbox(config: &Sandbox) -> Result<(), Failure> {
    logging::start(&config.telemetry);
    runtime(None)?.block_on(async {
        let stop = stop_signal()?;
        let listener = listen(config.listen).await?;
        let key = config.key.clone().map(|key| watch::Sender::new(key).subscribe());
        output::print(io::stdout(), banner::sandbox(&listener).map_err(failed_to("find the port"))?);
        tokio::select! {
            () = stop => Ok(()),
            () = sandbox::serve(listener, key, API_VERSION) => unreachable!("the sandbox has no end of its own"),
        }
    })
}

/// A runtime with that many workers; else with as many as the CPUs that the process may use, by its cgroup as well.
fn runtime(workers: Option<u16>) -> Result<Runtime, Failure> {
    let workers = workers.map_or_else(
        || thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .worker_threads(workers)
        .enable_all()
        .build()
        .map_err(failed_to("start"))
}

/// Where the API is; and the listener of the sandbox, if it is the sandbox.
async fn api(api: &Api) -> Result<(Url, Option<TcpListener>), Failure> {
    match api {
        Api::Url(url) => Ok((url.clone(), None)),
        Api::Sandbox(address) => {
            let listener = listen(*address).await?;
            let url = banner::url_of(&listener).map_err(failed_to("find the port"))?;
            Ok((url, Some(listener)))
        }
    }
}

async fn bind(config: &Serve) -> Result<Listeners, Failure> {
    let mut grpc = Vec::new();
    for address in &config.listen {
        grpc.push(
            Listener::bind(address)
                .await
                .map_err(failed_to(&format!("listen on {address}")))?,
        );
    }
    let admin = match config.admin_listen {
        Some(address) => {
            let listener = Listener::bind(&Address::Tcp(address)).await;
            Some(listener.map_err(failed_to(&format!("listen on {address}")))?)
        }
        None => None,
    };
    Ok(Listeners { grpc, admin })
}

async fn listen(address: std::net::SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(failed_to(&format!("listen on {address}")))
}

/// The keys of the calls; a key file is followed from now on.
pub(crate) fn app_keys(key: &Key, readiness: &Readiness) -> AppKeys {
    match key {
        Key::Callers => AppKeys::Callers,
        Key::Fixed(key) => AppKeys::Gateway(watch::Sender::new(key.clone()).subscribe()),
        Key::File(path, key) => {
            let (sender, receiver) = watch::channel(key.clone());
            // No reload is ever asked for until SIGHUP is handled.
            let (_reload_sender, reload) = watch::channel(());
            let readiness = readiness.clone();
            let on_change = move || readiness.key_works();
            tokio::spawn(app_key::watch_file(path.clone(), sender, reload, on_change));
            AppKeys::Gateway(receiver)
        }
    }
}

/// The keys of the calls to the sandbox, which asks for the configured key; without one any will do, so that a caller
/// needs none.
fn sandbox_keys(
    key: &Key,
    readiness: &Readiness,
) -> (AppKeys, Option<watch::Receiver<HeaderValue>>) {
    match app_keys(key, readiness) {
        AppKeys::Gateway(key) => (AppKeys::Gateway(key.clone()), Some(key)),
        AppKeys::Callers => (
            app_keys(&Key::Fixed(HeaderValue::from_static("sandbox")), readiness),
            None,
        ),
    }
}

/// Completes when the process is told to stop: by SIGTERM, as Kubernetes does, or by SIGINT, as Ctrl-C does. From the
/// call on, neither ends the process by itself.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(failed_to("listen for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed_to("listen for SIGINT"))?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn failed_to<E: std::error::Error>(what: &str) -> impl FnOnce(E) -> Failure {
    let what = what.to_owned();
    move |error| {
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
            error.source()
        });
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        Failure::Other(format!("cannot {what}: {}", causes.join(": ")))
    }
}

impl Failure {
    /// The exit status: 2 for a setting, 1 for anything else.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(2),
            Self::Other(_) => ExitCode::from(1),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Other(words) => f.write_str(words),
        }
    }
}
