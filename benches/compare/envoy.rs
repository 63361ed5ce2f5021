//! Envoy as a candidate: a gRPC call becomes a REST call by its filter `grpc_json_reverse_transcoder`.
//!
//! It has all that the measured rpc takes, and nothing else: no access log, no tracing, no admin port, no request ids and
//! no headers of its own. It may keep as many connections and requests as it likes.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{bench::Bench, leash, port, process::Process, running::Started, wait};

const PROTO: &str = "secret_question.proto";
/// Of no limit that is ever met.
const MANY: u32 = 1_000_000;

/// Starts it, and waits until it serves.
pub(crate) fn start(bench: &Bench) -> Result<Started, String> {
    let (address, mut command) = (port::free(), leash::command(&bench.tools.envoy));
    configure(&mut command, bench, address);
    let process = Process(command.spawn().unwrap());
    if !wait::until(|| port::is_open(address)) {
        return Err("it does not start".to_owned());
    }
    Ok(Started {
        process,
        address,
        telemetry: None,
    })
}

/// Adds to a command for the program how it is run.
pub(crate) fn configure(command: &mut Command, bench: &Bench, listen: SocketAddr) {
    let (descriptors, file) = (
        bench.scratch.path().join("envoy.bin"),
        bench.scratch.path().join("envoy.json"),
    );
    fs::write(&descriptors, descriptor_set()).unwrap();
    fs::write(
        &file,
        configuration(listen, bench.api.address, &descriptors).to_string(),
    )
    .unwrap();
    command
        .arg("-c")
        .arg(file)
        .args([
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "off",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
}

fn descriptor_set() -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut compiler =
        protox::Compiler::new([root.join("benches/compare"), root.join("proto")]).unwrap();
    compiler.include_imports(true).open_file(PROTO).unwrap();
    compiler.encode_file_descriptor_set()
}

fn configuration(listen: SocketAddr, api: SocketAddr, descriptors: &Path) -> Value {
    let connection_manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "grpc",
        "codec_type": "HTTP2",
        "generate_request_id": false,
        "route_config": { "virtual_hosts": [{
            "name": "api",
            "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "api", "timeout": "10s" } }],
        }] },
        "http_filters": [
            {
                "name": "envoy.filters.http.grpc_json_reverse_transcoder",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_json_reverse_transcoder.v3\
                        .GrpcJsonReverseTranscoder",
                    "descriptor_path": descriptors,
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": true,
                },
            },
        ],
    });
    let filter = json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": connection_manager });
    json!({ "static_resources": {
        "listeners": [{ "name": "grpc", "address": address(listen), "filter_chains": [{ "filters": [filter] }] }],
        "clusters": [{
            "name": "api",
            "type": "STATIC",
            "connect_timeout": "2s",
            "circuit_breakers": { "thresholds": [{
                "max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY, "max_retries": MANY,
            }] },
            "load_assignment": {
                "cluster_name": "api",
                "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(api) } }] }],
            },
        }],
    } })
}

fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}
