//! Envoy's command line and configuration: the transcoder and nothing else. It writes no access log, no traces and no
//! request ids, has no admin port, and its circuit breaker never opens.

use std::{net::SocketAddr, path::Path, process::Command};

use crate::lab::Lab;

pub(crate) fn envoy(lab: &Lab, listen: SocketAddr) -> Command {
    let configuration = include_str!("envoy.json")
        .replace("LISTEN_PORT", &listen.port().to_string())
        .replace("API_PORT", &lab.api.port().to_string());
    lab.write("envoy.json", configuration);
    lab.write("envoy.bin", descriptor_set());
    let mut command = lab.command("envoy");
    command.args(["-c", "envoy.json", "--concurrency", "1"]);
    command.args(["--disable-hot-restart", "--log-level", "off"]);
    command
}

/// The contract as the transcoder needs it: with the member names of the API's JSON.
fn descriptor_set() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler =
        protox::Compiler::new([root.join("benches/compare"), root.join("proto")]).unwrap();
    compiler.include_imports(true);
    compiler.open_file("secret_question.proto").unwrap();
    compiler.encode_file_descriptor_set()
}
