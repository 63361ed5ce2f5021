//! Memory: the most that many streams take, and whether it grows with the calls.

use serde::Serialize;

use crate::{
    bench::Bench,
    candidate::Candidate,
    load::Load,
    rounds::{CONNECTIONS, STREAMS},
};

/// On each connection, so that there are a thousand in all.
const MANY_STREAMS: u32 = 125;
/// How many times the first calls are made again.
const AGAIN: u32 = 9;

/// The gateway's resident memory, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Growth {
    /// After the calls of one load.
    pub(crate) first: f64,
    /// After ten times the calls.
    pub(crate) last: f64,
}

/// The most resident memory of a fresh process at a thousand streams, in bytes.
pub(crate) fn peak(bench: &Bench, candidate: Candidate, calls: u32) -> Result<f64, String> {
    let mut running = candidate.start(bench)?;
    let load = Load {
        connections: CONNECTIONS,
        streams: MANY_STREAMS,
        calls,
    };
    running.load(load.warm_up())?;
    running.load(load)?;
    let peak = running.peak();
    running.end()?;
    Ok(peak)
}

/// What ten times the calls do to the gateway's memory.
pub(crate) fn growth(bench: &Bench, calls: u32) -> Result<Growth, String> {
    let mut running = Candidate::Gateway.start(bench)?;
    let mut after = |calls| {
        running.load(Load {
            connections: CONNECTIONS,
            streams: STREAMS,
            calls,
        })?;
        Ok::<_, String>(running.process.resident() as f64 * 1024.0)
    };
    let (first, last) = (after(calls)?, after(AGAIN * calls)?);
    running.end()?;
    Ok(Growth { first, last })
}
