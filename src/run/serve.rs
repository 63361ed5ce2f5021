//! Runs the gateway: starts its parts in order, and stops them in reverse.

use std::{fs, io, path::Path, sync::Arc};

use http::HeaderValue;
use reqwest::{Client, Url};
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use super::{Failure, Key, app_key, bind_sandbox, failed_to, reload_signal, runtime};
#[cfg(feature = "self-signed")]
use crate::self_signed;
use crate::{
    address::Address,
    app_key::AppKeys,
    attempt_limiter::AttemptLimiter,
    banner, config,
    endpoint::Endpoint,
    followed_files::FollowedFiles,
    output,
    readiness::Readiness,
    request_ids::RequestIds,
    rpc::Rpc,
    sandbox,
    server::{
        self, Listeners, admin::Admin, authorization::Authorization, listener::Listener,
        tls_handshake::TlsHandshakes,
    },
    service::Service,
    signals,
    subject_hash::{self, AuditKey},
    telemetry::{
        Telemetry, call_observer::CallObserver, metrics::Metrics, tls_metrics::TlsMetrics,
    },
    tls::TlsFiles,
    upstream::{self, Upstream},
};

/// Runs the gateway until a signal stops it.
pub(super) fn serve(config: config::Serve) -> Result<(), Failure> {
    config.check()?;
    let settings = config::Telemetry::from_environment(config.log_format)?;
    let http_client = upstream::http_client(&config)?;
    let config = &with_certificates(config)?;
    let result = serve_with(config, settings, http_client);
    if result.is_err() {
        remove_certificates(config);
    }
    result
}

fn serve_with(
    config: &config::Serve,
    settings: config::Telemetry,
    http_client: FollowedFiles<Client>,
) -> Result<(), Failure> {
    let tls = TlsFiles::load(&config.tls)?;
    let runtime = runtime(config.worker_threads)?;
    let result = runtime.block_on(serve_until_signal(config, settings, http_client, tls));
    // A host name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    result
}

/// Makes the certificates of `--tls-self-signed`, and sets the options that take them.
#[cfg(feature = "self-signed")]
fn with_certificates(mut config: config::Serve) -> Result<config::Serve, Failure> {
    let Some(directory) = &config.self_signed.tls_self_signed else {
        return Ok(config);
    };
    let listening = config.listen.iter().flat_map(Address::socket_addresses);
    let addresses: Vec<_> = listening.map(|socket| socket.ip()).collect();
    let files = self_signed::write(directory, &addresses).map_err(|error| {
        let expected = format!("takes a directory that is empty or does not exist yet ({error})");
        config::ConfigError::new("--tls-self-signed", expected)
    })?;
    config.tls.tls_cert = Some(files.server);
    config.tls.tls_key = Some(files.server_key);
    config.tls.tls_client_ca = Some(files.ca);
    config.self_signed.client = Some((files.client, files.client_key));
    Ok(config)
}

#[cfg(not(feature = "self-signed"))]
fn with_certificates(config: config::Serve) -> Result<config::Serve, Failure> {
    Ok(config)
}

/// Removes the certificates that were made for a start that has failed: the next one needs an empty directory too.
fn remove_certificates(config: &config::Serve) {
    let Some((certificate, key)) = &config.self_signed.client else {
        return;
    };
    let tls = &config.tls;
    let server = [&tls.tls_cert, &tls.tls_key, &tls.tls_client_ca];
    for file in server.into_iter().flatten().chain([certificate, key]) {
        // If this fails, the next start says that the directory is not empty.
        let _ = fs::remove_file(file);
    }
}

async fn serve_until_signal(
    config: &config::Serve,
    settings: config::Telemetry,
    http_client: FollowedFiles<Client>,
    tls: Option<TlsFiles>,
) -> Result<(), Failure> {
    let readiness = Readiness::default();
    let key_readiness = readiness.clone();
    let reload = reload_signal()?;
    let on_change = move || key_readiness.clear_key_rejection();
    let key = app_key(&config.key, &reload, on_change)?;
    let audit_key = audit_key(config.audit_key_file.as_deref(), &reload)?;
    let propagates_trace_context = settings.otel.propagates_trace_context;
    let telemetry = Telemetry::start(settings);
    warn_of_settings(config);
    let tls = tls.map(|files| follow_tls(files, reload.clone()));
    let observer = CallObserver {
        metrics: Arc::new(Metrics::new()),
        propagates_trace_context,
    };
    let authorization = Authorization::load(&config.authz, &reload, &observer.metrics)?;
    let admin = admin(&telemetry, &readiness);
    let stop = signals::shutdown().map_err(failed_to("listen for signals"))?;
    let (base, app_keys) = api(config, key).await?;
    let listeners = bind(config).await?;
    let text = banner::gateway(&listeners, &base, config).map_err(failed_to("find the ports"))?;
    let limits = server::open_files::fit_to_open_files(config.limits);
    let in_flight = Arc::new(Semaphore::new(limits.max_in_flight as usize));
    let http_client = http_client.follow(reload, |_| ());
    let endpoints = Rpc::ALL.map(|rpc| Endpoint::new(rpc, &base, config));
    let upstream = Upstream::new(http_client, endpoints, in_flight, &observer, &readiness);
    let service = Arc::new(Service {
        upstream: Arc::new(upstream),
        upstream_release: config.upstream_release,
        app_keys,
        attempt_limiter: AttemptLimiter::new(&config.attempts),
        request_ids: RequestIds::default(),
        readiness,
        audit_key,
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

fn admin(telemetry: &Telemetry, readiness: &Readiness) -> Admin {
    Admin {
        readiness: readiness.clone(),
        metrics: telemetry.page.clone(),
        log_level: telemetry.log_level.clone(),
    }
}

/// Warns of settings that can be right, but seldom are.
fn warn_of_settings(config: &config::Serve) {
    if config.is_upstream_in_clear() {
        warn!("--upstream-url is http and not on this machine: keys and passwords travel in clear");
    }
    let is_unix = |address: &Address| matches!(address, Address::Unix(..));
    if config.tls.tls_cert.is_some() && config.listen.iter().all(is_unix) {
        warn!("--tls-cert has no effect: --listen names Unix sockets alone, which speak no TLS");
    }
    if config.attempts.caller_metadata.is_some() && config.tls.tls_client_ca.is_some() {
        warn!(
            "--caller-metadata comes before the names in clients' certificates: any client can send any metadata"
        );
    }
}

/// Starts to follow the files of the listeners' TLS.
fn follow_tls(files: TlsFiles, reload: watch::Receiver<()>) -> TlsHandshakes {
    let metrics = TlsMetrics::new(files.not_after());
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

/// The key of the hashes in the log, if there are to be any. Starts to follow its file.
fn audit_key(
    path: Option<&Path>,
    reload: &watch::Receiver<()>,
) -> Result<Option<AuditKey>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let key = subject_hash::load(path)?.follow(reload.clone(), |_| ());
    Ok(Some(AuditKey(key)))
}
