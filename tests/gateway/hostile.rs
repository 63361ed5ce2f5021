//! No caller, slow or hostile, takes the gateway down: each attack is met, while somebody else is served.

use std::{
    fs,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{
    api::{Api, Reply},
    attack::{Neighbour, raise_file_limit, survives},
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, NO_SETTINGS, PING, PREFACE, PRIORITY,
        PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, begin_with, call_to, field, frame,
        frames, greet, reason, setting, until_closed,
    },
    gateway::{Call, Gateway, KEY, Plain, within},
    over_tls::{Stream, is_over_tls, open, secure},
    raw::{framed, post, send, status_of},
};

const RESET: &str = "/autoshares.passwordreset.v1.PasswordResetService/ResetPassword";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const SOON: Duration = Duration::from_secs(5);
/// The gateway gives a connection ten seconds to begin, and as long to take what is sent to it. A busy machine adds to that.
const ITS_TIME: std::ops::Range<Duration> = Duration::from_secs(8)..Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_speak_http_is_closed() {
    let noise: Vec<u8> = (0..100_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut client_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    client_hello.extend(&noise[..506]);
    survives(&[], 16, async |gateway| {
        for bytes in [
            &noise[..],
            &client_hello,
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"\0\0\0\0",
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        ] {
            let response = until_closed(&mut begin_with(gateway, bytes).await, SOON).await;
            let response = String::from_utf8_lossy(&response);
            assert!(
                response.is_empty() || response.starts_with("HTTP/1.1 415 "),
                "{response}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_1_peer_gets_one_response() {
    let get = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let upgrade = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
                   http2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    let endless = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}", "x: y\r\n".repeat(10_000));
    let chunked = format!(
        "POST {RESET} HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{}",
        "1\r\nx\r\n".repeat(10_000)
    );
    survives(&[], 16, async |gateway| {
        for (bytes, expected) in [
            (get, "415"),
            (&get.repeat(1000), "415"),
            (upgrade, "415"),
            (&endless, "415"),
            (&many, "415"),
            (&chunked, "415"),
        ] {
            let mut stream = begin_with(gateway, bytes.as_bytes()).await;
            let mut response = Vec::new();
            // A reset in place of an end is the system's way to say that not all was read.
            let _ = timeout(SOON, stream.read_to_end(&mut response))
                .await
                .expect("closed");
            let response = String::from_utf8_lossy(&response);
            let begins =
                response.is_empty() || response.starts_with(&format!("HTTP/1.1 {expected} "));
            assert!(
                begins && response.matches("HTTP/1.1").count() <= 1,
                "{response}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_preface_is_closed() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let gateway = Gateway::before(&api.url());
    let neighbour = Neighbour::of(&gateway).await;
    let slow_preface = [&PREFACE[..23], b"\n"].concat();
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for (at_once, slowly) in [
        (&b""[..], &b""[..]),
        (b"", &slow_preface),
        (&PREFACE[..20], b""),
    ] {
        let (mut stream, slowly) = (begin_with(&gateway, at_once).await, slowly.to_vec());
        tasks.spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(&mut stream);
            let mut received = Vec::new();
            let trickle = async {
                for byte in slowly {
                    if writer.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    sleep(Duration::from_millis(500)).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                _ = reader.read_to_end(&mut received) => {}
                () = trickle => {}
                () = sleep(ITS_TIME.end) => {}
            }
            assert!(
                ITS_TIME.contains(&start.elapsed()),
                "closed after {:?}",
                start.elapsed()
            );
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    println!("{}", neighbour.was_served().await);
}

/// More than fits into the connection's window, on streams each of which has room for it and none of which is read: their
/// questions are valid, but nobody takes the responses to the first of them.
fn too_much_data() -> Vec<u8> {
    const STREAMS: u32 = 64;
    /// Lists the services, again and again; in all less than a stream has room for before its settings are acknowledged.
    const QUESTION: &[u8] = &[0, 0, 0, 0, 2, 0x3a, 0];
    let data = QUESTION.repeat(16_384 / QUESTION.len());
    let stream = |i: u32| {
        let id = 2 * i + 1;
        let head = frame(HEADERS, END_HEADERS, id, &call_to(REFLECTION, &[]));
        [head, frame(DATA, 0, id, &data).repeat(3)].concat()
    };
    [setting(4, 0), (0..STREAMS).flat_map(stream).collect()].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_frames_end_the_connection_with_a_reason() {
    let call = call_to(RESET, &[]);
    let head = |flags, stream| frame(HEADERS, flags, stream, &call);
    let most: u32 = (1 << 31) - 1;
    // Where the specification has a reason of its own, the library often says "protocol error" all the same.
    let (protocol, flow_control, size) = (1, 3, 6);
    let cases = [
        ("too much data", too_much_data(), flow_control),
        (
            "settings of a bad length",
            frame(SETTINGS, 0, 0, &[0; 5]),
            protocol,
        ),
        ("settings on a stream", frame(SETTINGS, 0, 1, &[]), protocol),
        ("a window over the limit", setting(4, most + 1), protocol),
        (
            "a frame over the limit",
            frame(DATA, 0, 1, &[0; 16_385]),
            size,
        ),
        (
            "a ping of a bad length",
            frame(PING, 0, 0, &[0; 7]),
            protocol,
        ),
        ("data on stream 0", frame(DATA, 0, 0, b"x"), protocol),
        ("data on an idle stream", frame(DATA, 0, 1, b"x"), protocol),
        ("headers on stream 0", head(END_HEADERS, 0), protocol),
        ("headers on an even stream", head(END_HEADERS, 2), protocol),
        (
            "headers cut short by a ping",
            [head(0, 1), frame(PING, 0, 0, &[0; 8])].concat(),
            protocol,
        ),
        (
            "headers that are none",
            frame(HEADERS, END_HEADERS, 1, &[0xff; 64]),
            protocol,
        ),
        (
            "a continuation of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &call),
            protocol,
        ),
        (
            "a push",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0; 8]),
            protocol,
        ),
        (
            "a window overflow",
            frame(WINDOW_UPDATE, 0, 0, &most.to_be_bytes()),
            flow_control,
        ),
        (
            "a window update of nothing",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
            protocol,
        ),
        (
            "a reset of an idle stream",
            frame(RST_STREAM, 0, 1, &[0; 4]),
            protocol,
        ),
    ];
    survives(&[], 24, async |gateway| {
        for (what, bytes, expected) in &cases {
            let mut stream = greet(gateway, NO_SETTINGS).await;
            let _ = stream.write_all(bytes).await;
            let mut response = Vec::new();
            let _ = timeout(SOON, stream.read_to_end(&mut response))
                .await
                .unwrap_or_else(|_| panic!("{what}: open"));
            assert_eq!(
                reason(&response),
                Some(*expected),
                "{what}: {:?}",
                frames(&response)
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusual_but_valid_frames_are_ignored() {
    let gateway = Gateway::before("http://127.0.0.1:1");
    let mut stream = greet(&gateway, NO_SETTINGS).await;
    let loops = (0..500_u32).map(|i| {
        frame(
            PRIORITY,
            0,
            2 * i + 1,
            &[&(2 * ((i + 1) % 500) + 1).to_be_bytes()[..], &[0]].concat(),
        )
    });
    let odd = [
        frame(0xbe, 0xff, 0, b"unknown"),
        frame(0xef, 0, 77, &[0; 16_384]),
        loops.collect::<Vec<_>>().concat(),
    ];
    stream.write_all(&odd.concat()).await.unwrap();
    stream
        .write_all(&frame(PING, 0, 0, b"anyone??"))
        .await
        .unwrap();
    let mut received = Vec::new();
    let pong = async {
        while !received.windows(8).any(|window| window == b"anyone??") {
            assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0, "closed");
        }
    };
    timeout(SOON, pong).await.unwrap();
    assert_eq!(reason(&received), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_headers_end_the_connection() {
    survives(&[], 24, async |gateway| {
        let mut stream = greet(gateway, NO_SETTINGS).await;
        let begun = [call_to(RESET, &[]), field("x", &"y".repeat(1000))].concat();
        let _ = stream.write_all(&frame(HEADERS, 0, 1, &begun)).await;
        let more = frame(
            CONTINUATION,
            0,
            1,
            &field("x", &"y".repeat(1000)).repeat(16),
        );
        let (mut reader, mut writer) = tokio::io::split(&mut stream);
        let endless = async { while writer.write_all(&more).await.is_ok() {} };
        let mut response = Vec::new();
        timeout(SOON, async {
            tokio::join!(endless, reader.read_to_end(&mut response))
        })
        .await
        .expect("closed")
        .1
        .ok();
        // A reset may overtake the reason.
        assert!(
            reason(&response).is_none_or(|reason| reason == 11),
            "{:?}",
            reason(&response)
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_metadata_is_refused_again_and_again() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let gateway = Gateway::before(&api.url());
    let neighbour = Neighbour::of(&gateway).await;
    let before = gateway.memory();
    let refused = "ResourceExhausted INVALID_REQUEST caller not_sent";
    for _ in 0..50 {
        let one_large = post(RESET, "application/grpc").header("x", "y".repeat(20_000));
        let many_small = (0..1000).fold(post(RESET, "application/grpc"), |head, i| {
            head.header(format!("x-{i}"), "y")
        });
        for request in [one_large, many_small] {
            let (status, headers) = send(&gateway, request, Call::Reset.framed()).await;
            assert_eq!((status.as_u16(), &*status_of(&headers)), (200, refused));
        }
    }
    assert!(gateway.peak_memory() < before + 24 * 1024);
    println!("{}", neighbour.was_served().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_with_a_wrong_length_is_an_invalid_request() {
    let api = Api::start(Reply::json(200, Call::Reset.success())).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--timeout", "1s"]);
    let message = Call::Reset.framed();
    let prefixed = |length: u32| [&[0], &length.to_be_bytes()[..], &message[5..]].concat();
    let compressed = [&[1], &message[1..]].concat();
    for (what, body, expected) in [
        (
            "longer than the data",
            prefixed(100),
            "Internal INVALID_REQUEST caller not_sent",
        ),
        (
            "4 GiB",
            prefixed(u32::MAX),
            "ResourceExhausted INVALID_REQUEST caller not_sent",
        ),
        (
            "compressed with nothing",
            compressed,
            "Internal INVALID_REQUEST caller not_sent",
        ),
        (
            "shorter than the data",
            prefixed(3),
            "Internal INVALID_REQUEST caller not_sent",
        ),
        (
            "no flag",
            [&[7], &message[1..]].concat(),
            "Internal INVALID_REQUEST caller not_sent",
        ),
        (
            "half a prefix",
            message[..3].to_vec(),
            "Internal INVALID_REQUEST caller not_sent",
        ),
        (
            "nothing",
            Vec::new(),
            "Internal INVALID_REQUEST caller not_sent",
        ),
        (
            "no text",
            framed(b"\x0a\x02\xff\xfe"),
            "Internal INVALID_REQUEST caller not_sent",
        ),
        (
            "endless",
            prefixed(3).repeat(10_000),
            "Internal INVALID_REQUEST caller not_sent",
        ),
    ] {
        let (_, headers) = send(&gateway, post(RESET, "application/grpc"), body).await;
        assert_eq!(status_of(&headers), expected, "{what}");
    }
    assert!(api.requests().is_empty());
}

/// A task that sends the bytes over and over until that time, or until nobody takes them; how often it did.
async fn flood(mut stream: Stream, bytes: Vec<u8>, reads: bool, time: Duration) -> usize {
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let mut sent = 0;
    let sending = async {
        while writer.write_all(&bytes).await.is_ok() {
            sent += 1;
        }
    };
    let reading = async {
        let mut buffer = vec![0; 64 * 1024];
        while reads && matches!(reader.read(&mut buffer).await, Ok(1..)) {}
        if !reads {
            std::future::pending::<()>().await;
        }
    };
    let _ = timeout(time, async {
        tokio::select! {
            () = sending => {}
            () = reading => {}
        }
    })
    .await;
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames_do_not_starve_other_callers() {
    let cheap = [
        frame(PING, 0, 0, &[7; 8]),
        frame(SETTINGS, 0, 0, &[]),
        setting(4, 1000),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0]),
        frame(0xbe, 0, 0, &[]),
        // To a stream that is over; before that one, headers and a reset.
        frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        frame(DATA, 0, 1, &[]),
    ];
    survives(&[], 48, async |gateway| {
        for reads in [true, false] {
            let mut floods = JoinSet::new();
            for bytes in &cheap {
                let stream = greet(gateway, NO_SETTINGS).await;
                floods.spawn(flood(
                    stream,
                    bytes.repeat(1000),
                    reads,
                    Duration::from_millis(800),
                ));
            }
            println!("thousands of frames: {:?}", floods.join_all().await);
        }
    })
    .await;
}

/// Makes a call on a connection of its own, which has to get its response.
async fn serves(gateway: &Gateway) {
    let mut client = gateway.client().await;
    Call::Question.make(&mut client, Plain).await.unwrap();
}

/// The headers of that many calls, on streams 1, 3 and so on.
fn calls(path: &str, flags: u8, count: u32) -> Vec<Vec<u8>> {
    let head = call_to(path, &[]);
    (0..count)
        .map(|i| frame(HEADERS, END_HEADERS | flags, 2 * i + 1, &head))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_harm_nobody_else() {
    const NO_ERROR: u32 = 0;
    const CANCEL: u32 = 8;
    let storm = |path, code: u32| -> Vec<u8> {
        let reset = |stream| frame(RST_STREAM, 0, stream, &code.to_be_bytes());
        (0..)
            .zip(calls(path, 0, 20_000))
            .flat_map(|(i, head)| [head, reset(2 * i + 1)])
            .flatten()
            .collect()
    };
    let storms = [
        ("of calls", storm(RESET, CANCEL)),
        ("of calls, without an error", storm(RESET, NO_ERROR)),
        ("of calls of no method", storm("/no.Service/Method", CANCEL)),
        ("of health checks", storm(CHECK, CANCEL)),
    ];
    survives(&[], 48, async |gateway| {
        for (what, storm) in &storms {
            let mut stream = greet(gateway, NO_SETTINGS).await;
            let (mut reader, mut writer) = tokio::io::split(&mut stream);
            let ping = frame(PING, 0, 0, b"survived");
            let bytes = [&storm[..], &ping].concat();
            let mut response = Vec::new();
            // Either h2's own bounds end the connection, or the gateway keeps up with all of it.
            let read_to_ping = async {
                while !response.ends_with(b"survived")
                    && matches!(reader.read_buf(&mut response).await, Ok(1..))
                {}
            };
            let storming = async { tokio::join!(writer.write_all(&bytes), read_to_ping) };
            let is_over = timeout(ITS_TIME.end, storming).await.is_ok();
            assert!(is_over, "{what}: neither closed nor answered");
            // A reset may overtake the reason.
            let reason = reason(&response);
            assert!(
                reason.is_none_or(|reason| reason == 11),
                "{what}: {reason:?}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_calls_never_exceed_the_limit_of_calls_in_flight() {
    let api = Api::start(Reply::Late(
        Duration::from_millis(200),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
    ));
    let api = api.await;
    let gateway = Gateway::with(&api.url(), &["--app-key", KEY, "--max-in-flight", "20"]);
    let (mut most, mut asked, mut reached, mut connections) = (0, 0, 0, 0);
    let begin = Instant::now();
    // On a busy machine few calls get as far as the API in a second.
    let is_over = |reached| {
        let least = if reached > 20 { 1 } else { 20 };
        begin.elapsed() > Duration::from_secs(least)
    };
    while !is_over(reached) {
        connections += 1;
        let stream = open(&gateway).await;
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        // Until the gateway has had enough of this connection.
        while let (false, Ok(ready)) = (is_over(reached), client.ready().await) {
            client = ready;
            let request = post(RESET, "application/grpc").body(()).unwrap();
            let Ok((response, mut body)) = client.send_request(request, false) else {
                break;
            };
            let _ = body.send_data(Call::Reset.framed().into(), true);
            asked += 1;
            tokio::spawn(async move {
                sleep(Duration::from_millis(3)).await;
                body.send_reset(h2::Reason::CANCEL);
                drop(response);
            });
            most = most.max(api.waiting());
            reached += api.requests().len();
            sleep(Duration::from_micros(200)).await;
        }
        connection.abort();
    }
    println!(
        "{asked} calls reset on {connections} connections; {reached} reached the API, at most {most} at a time"
    );
    assert!(
        reached > 20,
        "the test resets too soon: only {reached} calls reached the API"
    );
    // The API may not know yet that its caller is gone.
    assert!(most <= 2 * 20, "{most} calls at a time");
    Call::Reset
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap_err();
    within(|| gateway.files() < 64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_do_not_keep_callers_out() {
    const IDLE: usize = 10_000;
    assert!(
        raise_file_limit() > IDLE as u64 + 100,
        "this test needs {IDLE} open files"
    );
    for (most, options) in [(1024, &[][..]), (100, &["--max-connections", "100"])] {
        let api = Api::start(Reply::json(200, Call::Question.success())).await;
        let gateway = Gateway::with(&api.url(), &[&["--app-key", KEY], options].concat());
        let neighbour = Neighbour::of(&gateway).await;
        sleep(Duration::from_millis(100)).await;
        let (files, before) = (gateway.files(), gateway.memory());
        let mut idle = Vec::new();
        for i in 0..IDLE {
            let greeting = if i % 2 == 0 {
                [PREFACE, NO_SETTINGS].concat()
            } else {
                Vec::new()
            };
            idle.push(begin_with(&gateway, &greeting).await);
        }
        within(|| gateway.files() <= files + most).await;
        let grown = gateway.memory().saturating_sub(before);
        println!(
            "{most} of {IDLE} idle connections stay: {:.1} KiB each",
            grown as f64 / most as f64
        );
        assert!(
            grown < most as u64 * 32 + 16 * 1024,
            "{grown} KiB for {most} connections"
        );
        let served = neighbour.served();
        let mut client = gateway.client().await;
        Call::Question.make(&mut client, Plain).await.unwrap();
        within(|| neighbour.served() > served + 10).await;
        drop(idle);
        within(|| gateway.files() <= files + 64).await;
        println!("{}", neighbour.was_served().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_without_a_message_do_not_starve_other_callers() {
    // A message that stops in its middle.
    let part = |stream| {
        frame(
            DATA,
            0,
            stream,
            &[&[0, 0, 0, 0xff, 0xff], &[0; 1000][..]].concat(),
        )
    };
    for (path, data) in [
        (RESET, true),
        (RESET, false),
        (WATCH, false),
        (CHECK, false),
        (REFLECTION, false),
    ] {
        survives(&["--max-connections", "500"], 96, async |gateway| {
            let mut streams = Vec::new();
            for _ in 0..8 {
                let mut stream = greet(gateway, NO_SETTINGS).await;
                for (i, head) in (0..).zip(calls(path, 0, 256)) {
                    let data = if data && i < 50 {
                        part(2 * i + 1)
                    } else {
                        Vec::new()
                    };
                    if stream.write_all(&[head, data].concat()).await.is_err() {
                        break;
                    }
                }
                streams.push(stream);
            }
            let mut health = HealthClient::new(gateway.channel().await);
            health
                .check(HealthCheckRequest {
                    service: String::new(),
                })
                .await
                .unwrap();
            serves(gateway).await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_whose_calls_have_no_message_keep_nobody_out() {
    // Whoever is in a TLS handshake, which takes longer, may have to make room for the next one.
    let places = if is_over_tls() { 16 } else { 4 };
    let option = format!("--max-connections={places}");
    survives(&[&option], 96, async |gateway| {
        for _ in 0..3 {
            let mut silent = Vec::new();
            for _ in 0..places {
                let mut stream = greet(gateway, NO_SETTINGS).await;
                // A stream that is refused has been evicted already.
                let _ = stream.write_all(&calls(RESET, 0, 1).concat()).await;
                silent.push(stream);
            }
            sleep(Duration::from_millis(50)).await;
            serves(gateway).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_that_no_window_lets_through_do_not_pile_up() {
    let message = framed(&[]);
    for window in [0, 1] {
        survives(&["--max-connections", "500"], 96, async |gateway| {
            let mut streams = Vec::new();
            for _ in 0..8 {
                let mut stream = greet(gateway, &setting(4, window)).await;
                for (i, head) in (0..).zip(calls(CHECK, 0, 256)) {
                    let call = [head, frame(DATA, END_STREAM, 2 * i + 1, &message)].concat();
                    if stream.write_all(&call).await.is_err() {
                        break;
                    }
                }
                streams.push(stream);
            }
            let mut health = HealthClient::new(gateway.channel().await);
            health
                .check(HealthCheckRequest {
                    service: String::new(),
                })
                .await
                .unwrap();
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_reads_is_disconnected() {
    const PEERS: usize = 4;
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let gateway = Gateway::before(&api.url());
    let neighbour = Neighbour::of(&gateway).await;
    sleep(Duration::from_millis(100)).await;
    let (files, before) = (gateway.files(), gateway.memory());
    let calls = calls("/no.Service/Method", END_STREAM, 1000).concat();
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(1000);
    let (mut peers, mut ports) = (JoinSet::new(), Vec::new());
    for i in 0..PEERS {
        // Little room for responses on the way.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(gateway.address().parse().unwrap()).await;
        let stream = stream.unwrap();
        ports.push(stream.local_addr().unwrap().port());
        let mut stream = secure(stream).await;
        stream
            .write_all(&[PREFACE, NO_SETTINGS, &calls].concat())
            .await
            .unwrap();
        let pings = pings.clone();
        // The responses to the calls alone are so few that the system has room for them all.
        let is_done = i % 2 == 0;
        // It may never learn of its end, as it takes nothing.
        peers.spawn(async move {
            while !is_done && stream.write_all(&pings).await.is_ok() {}
            sleep(ITS_TIME.end).await;
            drop(stream);
        });
    }
    within(|| gateway.files() >= files + PEERS).await;
    let start = Instant::now();
    let mut ends = Vec::new();
    while ends.len() < PEERS && start.elapsed() < ITS_TIME.end {
        ports.retain(|port| is_served(gateway.address(), *port));
        ends.resize(PEERS - ports.len(), start.elapsed());
        sleep(Duration::from_millis(50)).await;
    }
    let peak = gateway.peak_memory();
    println!("cut off after {ends:?}; {before} KiB before, {peak} KiB at most");
    assert!(
        ends.len() == PEERS && ends.iter().all(|end| ITS_TIME.contains(end)),
        "{ends:?}"
    );
    assert!(
        peak < before + 64 * 1024,
        "{before} KiB before, {peak} KiB at most"
    );
    within(|| gateway.files() <= files).await;
    println!("{}", neighbour.was_served().await);
}

/// Whether the gateway still has its connection with the peer at that port: the system goes on with one alone for a while.
fn is_served(gateway: &str, peer: u16) -> bool {
    let port = |address: &str| u16::from_str_radix(address.split_once(':').unwrap().1, 16).unwrap();
    let (_, gateway) = gateway.rsplit_once(':').unwrap();
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    sockets
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .any(|socket| {
            // Its own address, the peer's, and the inode if a process has it.
            port(socket[1]).to_string() == gateway && port(socket[2]) == peer && socket[9] != "0"
        })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_message_is_refused_at_its_deadline() {
    survives(
        &["--max-in-flight", "2", "--timeout", "500ms"],
        24,
        async |gateway| {
            let mut stream = greet(gateway, NO_SETTINGS).await;
            let heads = calls(RESET, 0, 10).concat();
            let part = (0..10).flat_map(|i| frame(DATA, 0, 2 * i + 1, &[0, 0, 0, 1, 0, 7]));
            stream
                .write_all(&[heads, part.collect()].concat())
                .await
                .unwrap();
            let mut received = Vec::new();
            let responses = async {
                while frames(&received)
                    .iter()
                    .filter(|(kind, ..)| *kind == HEADERS)
                    .count()
                    < 10
                {
                    assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0, "closed");
                }
            };
            timeout(SOON, responses)
                .await
                .expect("all ten are answered");
        },
    )
    .await;
}
