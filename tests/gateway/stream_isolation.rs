//! What is wrong with one stream ends that stream alone: a write that is in flight on the same connection gets its response.

use std::{ops::Range, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use crate::support::{
    api::{Api, Reply, bytes},
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, NO_SETTINGS, PING, RST_STREAM,
        call_to, field, frame, frames, greet,
    },
    gateway::{Call, Gateway, KEY, within},
    over_tls::Stream,
};

const QUESTION: &str = "/autoshares.passwordreset.v1.PasswordResetService/GetSecretQuestion";
const PASSWORD: &str = "/autoshares.passwordreset.v1.PasswordResetService/UpdatePassword";
/// The largest payload of a frame that a peer may send without asking.
const MAX_FRAME: usize = 16 * 1024;

/// Holds writes until they are released, and never answers reads.
fn hold_writes(request: &str) -> Reply {
    if request.starts_with("PUT ") {
        let json = [("Content-Type", "application/json")];
        Reply::Held(bytes(200, &json, Call::Password.success().as_bytes()))
    } else {
        Reply::Silence
    }
}

/// The headers of a call in as many frames as they need.
fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    let last = block.chunks(MAX_FRAME).count() - 1;
    let parts = block.chunks(MAX_FRAME).enumerate();
    let frames = parts.map(|(i, part)| {
        let kind = if i == 0 { HEADERS } else { CONTINUATION };
        frame(kind, if i == last { END_HEADERS } else { 0 }, stream, part)
    });
    frames.collect::<Vec<_>>().concat()
}

fn call(path: &str, stream: u32, metadata: &[u8], message: &[u8]) -> Vec<u8> {
    let block = [&call_to(path, &[]), metadata].concat();
    let message = frame(DATA, END_STREAM, stream, message);
    [headers(stream, &block), message].concat()
}

fn reset(stream: u32) -> Vec<u8> {
    const CANCEL: u32 = 8;
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// Streams that a client opens after the first.
fn streams(numbers: Range<u32>) -> impl Iterator<Item = u32> {
    numbers.map(|number| 2 * number + 3)
}

/// Makes a write on stream 1, does something else on the same connection while the API holds it, and checks that the write
/// is answered and that the API saw it once. The client repeats a write whose connection breaks, as libraries do.
async fn a_write_survives(what: &str, others: impl AsyncFn(&mut Stream)) {
    let api = Api::start(Reply::By(hold_writes)).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY]);
    let mut is_answered = false;
    for _attempt in 0..4 {
        let mut stream = greet(&gateway, NO_SETTINGS).await;
        let message = Call::Password.framed();
        stream
            .write_all(&call(PASSWORD, 1, &[], &message))
            .await
            .unwrap();
        within(|| api.waiting() > 0).await;
        others(&mut stream).await;
        // Whatever the gateway does about the others, it has done when it answers a ping.
        let ping = frame(PING, 0, 0, b"are done");
        let mut received = Vec::new();
        let _ = stream.write_all(&ping).await;
        let is_open = read_until(&mut stream, &mut received, |received| {
            received
                .iter()
                .any(|(kind, _, _, payload)| *kind == PING && payload == b"are done")
        })
        .await;
        api.release();
        is_answered = is_open
            && read_until(&mut stream, &mut received, |received| {
                let on_first = |wanted, flags| {
                    received
                        .iter()
                        .any(|(kind, has, id, _)| (*kind, has & flags, *id) == (wanted, flags, 1))
                };
                on_first(DATA, 0) && on_first(HEADERS, END_STREAM)
            })
            .await;
        if is_answered {
            break;
        }
    }
    let puts = api
        .requests()
        .iter()
        .filter(|request| request.starts_with("PUT "))
        .count();
    assert!(is_answered, "{what}: the write is never answered");
    assert_eq!(puts, 1, "{what}: the API sees the write once");
}

type Frame = (u8, u8, u32, Vec<u8>);

/// Reads until the frames are as wanted. `false` if the connection ends before.
async fn read_until(
    stream: &mut Stream,
    received: &mut Vec<u8>,
    is_wanted: impl Fn(&[Frame]) -> bool,
) -> bool {
    let reading = async {
        while !is_wanted(&frames(received)) {
            if stream.read_buf(received).await.unwrap_or(0) == 0 {
                return false;
            }
        }
        true
    };
    timeout(Duration::from_secs(5), reading)
        .await
        .expect("the connection goes on or ends")
}

#[tokio::test]
async fn a_write_survives_too_much_metadata() {
    for kib in [8, 20, 33, 40, 64, 100, 200] {
        let few_large = field("x-large", &"y".repeat(4000)).repeat(kib * 1024 / 4000 + 1);
        let thousands_small = field("a", "bcd").repeat(kib * 1024 / 4);
        for (form, metadata) in [("large", few_large), ("small", thousands_small)] {
            let what = format!("{kib} KiB of metadata in {form} entries");
            a_write_survives(&what, async |stream| {
                let call = call(QUESTION, 3, &metadata, &Call::Question.framed());
                let _ = stream.write_all(&call).await;
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_write_survives_a_thousand_cancelled_calls() {
    // A client whose own callers give up: 1,300 calls in two seconds, some when the API has them, some before they are read.
    for at_once in [10, 100] {
        a_write_survives(
            &format!("{at_once} cancelled calls at a time"),
            async |stream| {
                let message = Call::Question.framed();
                for first in (0..1300).step_by(at_once) {
                    let last = first + u32::try_from(at_once).unwrap();
                    let calls = streams(first..last).map(|id| call(QUESTION, id, &[], &message));
                    let resets = streams(first..last).map(reset);
                    let _ = stream.write_all(&calls.collect::<Vec<_>>().concat()).await;
                    if at_once == 10 {
                        sleep(Duration::from_millis(15)).await;
                    }
                    let _ = stream.write_all(&resets.collect::<Vec<_>>().concat()).await;
                    sleep(Duration::from_millis(if at_once == 10 { 0 } else { 50 })).await;
                }
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_write_survives_a_thousand_calls_of_unknown_methods() {
    a_write_survives("unknown methods", async |stream| {
        for first in (0..1200).step_by(100) {
            for id in streams(first..first + 100) {
                let call = call("/no.Service/Method", id, &[], &Call::Question.framed());
                let _ = stream.write_all(&call).await;
            }
            sleep(Duration::from_millis(80)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_write_survives_a_thousand_malformed_calls() {
    a_write_survives(
        "messages of another length than announced",
        async |stream| {
            let length = field("content-length", "1");
            for first in (0..1200).step_by(100) {
                for id in streams(first..first + 100) {
                    let call = call(QUESTION, id, &length, &Call::Question.framed());
                    let _ = stream.write_all(&call).await;
                }
                sleep(Duration::from_millis(20)).await;
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_write_survives_as_many_silent_streams_as_there_may_be() {
    a_write_survives("silent streams", async |stream| {
        for id in streams(0..255) {
            let _ = stream
                .write_all(&headers(id, &call_to(QUESTION, &[])))
                .await;
        }
        // Far more than one connection may have, over the next ones.
        sleep(Duration::from_millis(200)).await;
    })
    .await;
}
