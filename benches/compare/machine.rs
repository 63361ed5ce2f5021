//! What it was measured on and with.

use std::{collections::BTreeMap, fs, path::Path, process::Command, thread};

use serde::Serialize;

use crate::bench::Tools;

/// The machine and the versions.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) kernel: String,
    pub(crate) versions: BTreeMap<&'static str, String>,
}

/// # Errors
///
/// If a program is not there.
pub(crate) fn facts(tools: &Tools) -> Result<Facts, String> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let versions = BTreeMap::from([
        (
            "reset-gateway",
            last_word(&said(&tools.gateway, "--version")?),
        ),
        // PATH  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL
        (
            "Envoy",
            said(&tools.envoy, "--version")?
                .rsplit('/')
                .nth(3)
                .unwrap_or("?")
                .to_owned(),
        ),
        (
            "nginx",
            said(&tools.nginx, "-v")?
                .rsplit('/')
                .next()
                .unwrap_or("?")
                .trim()
                .to_owned(),
        ),
        (
            "h2load",
            said(&tools.h2load, "--version")?
                .rsplit('/')
                .next()
                .unwrap_or("?")
                .trim()
                .to_owned(),
        ),
        ("tonic", locked("tonic")),
        ("reqwest", locked("reqwest")),
        ("hyper-util", locked("hyper-util")),
    ]);
    Ok(Facts {
        cores: thread::available_parallelism().unwrap().get(),
        cpu: model.unwrap_or("unknown").to_owned(),
        kernel: kernel.trim().to_owned(),
        versions,
    })
}

/// What the program says, on either of its outputs.
fn said(program: &Path, argument: &str) -> Result<String, String> {
    let output = Command::new(program).arg(argument).output();
    let output = output.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn last_word(text: &str) -> String {
    text.split_whitespace().last().unwrap_or("?").to_owned()
}

/// The version of a crate that this is built with.
fn locked(name: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let (_, rest) = lock
        .split_once(&format!("name = \"{name}\"\nversion = \""))
        .unwrap();
    rest.split('"').next().unwrap().to_owned()
}
