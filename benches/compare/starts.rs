//! How long a start takes, from the process's beginning to the first call that it could take.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command},
    thread::{self, JoinHandle},
    time::Instant,
};

use serde::Serialize;

use crate::{bench::Bench, envoy, gateway, port, process::Process, rounds::median, wait};

/// Medians, in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Starts {
    /// Until a connection is accepted.
    pub(crate) accepts: f64,
    /// Until it says that it is ready. Envoy does not, with its log off.
    pub(crate) ready: Option<f64>,
}

/// Starts the gateway that often.
pub(crate) fn of_gateway(bench: &Bench, times: u32) -> Result<Starts, String> {
    let collector = bench.collector();
    measure(times, || {
        let (address, mut command) = (port::free(), bare(&bench.tools.gateway));
        let settings = gateway::Settings {
            workers: 1,
            sampled: 0.01,
        };
        gateway::configure(
            &mut command,
            bench,
            &collector,
            settings,
            &address.to_string(),
        );
        time(&mut command, address)
    })
}

/// Starts Envoy that often.
pub(crate) fn of_envoy(bench: &Bench, times: u32) -> Result<Starts, String> {
    measure(times, || {
        let (address, mut command) = (port::free(), bare(&bench.tools.envoy));
        envoy::configure(&mut command, bench, address);
        time(&mut command, address)
    })
}

/// Not on the leash, which would take some of the time.
fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command
}

fn measure(times: u32, one: impl Fn() -> Result<Starts, String>) -> Result<Starts, String> {
    let starts = (0..times).map(|_| one()).collect::<Result<Vec<_>, _>>()?;
    let ready: Option<Vec<_>> = starts.iter().map(|start| start.ready).collect();
    Ok(Starts {
        accepts: median(starts.iter().map(|start| start.accepts).collect()),
        ready: ready.map(median),
    })
}

fn time(command: &mut Command, address: SocketAddr) -> Result<Starts, String> {
    let begun = Instant::now();
    let mut process = Process(command.spawn().unwrap());
    let ready = when_it_speaks(&mut process.0, begun);
    if !wait::until(|| port::is_open(address)) {
        return Err("it does not start".to_owned());
    }
    let accepts = begun.elapsed().as_secs_f64();
    Ok(Starts {
        accepts,
        ready: ready.map(|ready| ready.join().unwrap()),
    })
}

/// When the first line came, if its standard output is read.
fn when_it_speaks(child: &mut Child, begun: Instant) -> Option<JoinHandle<f64>> {
    let stdout = child.stdout.take()?;
    Some(thread::spawn(move || {
        BufReader::new(stdout)
            .read_line(&mut String::new())
            .unwrap();
        begun.elapsed().as_secs_f64()
    }))
}
