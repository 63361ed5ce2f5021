//! The fault matrix: every way in which an API, or what stands before it, can break a call, for every rpc.
//!
//! After each fault the caller must have been told the truth about it, in time; the connection must be gone if it is of no
//! more use; and the next call must work. "In time" is the promise of fifty milliseconds in a release build alone.

use std::{
    io::Write,
    sync::Mutex,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use tokio::net::{TcpListener, TcpSocket};

use crate::support::{
    faulty_api::{FaultyApi, Reads, Script, Seen},
    gateway::{Call, Gateway, KEY, UNLIMITED},
    raw::{post, send, status_of},
};

use Reads::{Nothing, PartOfBody, PartOfHead, Whole};

/// A fault, and what the caller is told of it.
struct Row {
    fault: &'static str,
    script: Script,
    expected: Expected,
}

/// The statuses that the caller of a read and of a write may get, separated by ` or `.
#[derive(Clone)]
struct Expected {
    read: String,
    write: String,
}

fn row(fault: &'static str, script: Script, expected: impl Into<Expected>) -> Row {
    Row {
        fault,
        script,
        expected: expected.into(),
    }
}

impl From<&str> for Expected {
    fn from(both: &str) -> Self {
        (both, both).into()
    }
}

impl From<(&str, &str)> for Expected {
    fn from((read, write): (&str, &str)) -> Self {
        Self {
            read: read.to_owned(),
            write: write.to_owned(),
        }
    }
}

const OK: &str = "OK";
const TIMED_OUT: &str = "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown";
const UNREACHABLE: &str = "Unavailable UPSTREAM_UNREACHABLE upstream not_sent";
const MALFORMED: &str = "Internal UPSTREAM_MALFORMED upstream unknown httpStatus=200";
const TOO_LARGE: &str = "Internal UPSTREAM_RESPONSE_TOO_LARGE upstream unknown httpStatus=200";
/// The connection broke, and the request was on it.
const BROKEN: (&str, &str) = (
    "Unavailable UPSTREAM_UNAVAILABLE upstream refused",
    "Unknown UPSTREAM_OUTCOME_UNKNOWN upstream unknown",
);
/// The connection broke; whether the request was on it yet is a matter of microseconds.
const BROKEN_EARLY: (&str, &str) = (
    "Unavailable UPSTREAM_UNAVAILABLE upstream refused or Unavailable UPSTREAM_UNREACHABLE upstream not_sent",
    "Unknown UPSTREAM_OUTCOME_UNKNOWN upstream unknown or Unavailable UPSTREAM_UNREACHABLE upstream not_sent",
);
/// The connection broke behind the response; whether that was read by then is a matter of microseconds.
const BROKEN_LATE: (&str, &str) = (
    "OK or Unavailable UPSTREAM_UNAVAILABLE upstream refused",
    "OK or Unknown UPSTREAM_OUTCOME_UNKNOWN upstream unknown",
);

/// The API answered what it had not read yet, which is its right, and the connection broke.
const EARLY: (&str, &str) = (
    "OK or Unavailable UPSTREAM_UNAVAILABLE upstream refused or Unavailable UPSTREAM_UNREACHABLE upstream not_sent",
    "OK or Unknown UPSTREAM_OUTCOME_UNKNOWN upstream unknown or Unavailable UPSTREAM_UNREACHABLE upstream not_sent",
);

/// The deadline of calls that should end before it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The deadline of calls that would otherwise never end.
const IMPATIENCE: Duration = Duration::from_millis(500);
/// How late a response may be.
const PROMISE: Duration = Duration::from_millis(50);
/// How late all responses were that took until the deadline.
static LATE: Mutex<Vec<Duration>> = Mutex::new(Vec::new());
/// How late a single response may be: the promise, or what a slow machine needs.
const SLACK: Duration = Duration::from_millis(if cfg!(debug_assertions) { 1000 } else { 50 });
/// The highest peak memory allowed, in KiB. Debug builds use more than release builds.
const MEMORY: u64 = 80 * 1024;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// A response with this status line, these headers and this body.
fn response(status: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    format!("HTTP/1.1 {status}\r\n{headers}\r\n{body}")
}

/// A response with the right length.
fn whole(status: &str, headers: &[&str], body: &str) -> String {
    let length = format!("Content-Length: {}", body.len());
    response(status, &[headers, &[&length]].concat(), body)
}

fn ok(json: &str) -> String {
    whole("200 OK", &[], json)
}

/// The beginning of something.
fn half(text: &str) -> &str {
    &text[..text.len() / 2]
}

/// A chunk of a chunked body.
fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

const CHUNKED: &[&str] = &["Transfer-Encoding: chunked"];

#[tokio::test]
async fn an_api_that_closes_connections() {
    hold(|json| {
        let half_head = "HTTP/1.1 200 OK\r\nContent-Le";
        let half_body = ok(json);
        let half_body = &half_body[..half_body.len() - 5];
        let a_moment = Duration::from_millis(50);
        vec![
            row(
                "FIN before the request",
                Script::at(Nothing).closes(),
                BROKEN_EARLY,
            ),
            row(
                "RST before the request",
                Script::at(Nothing).resets(),
                BROKEN_EARLY,
            ),
            row(
                "FIN in the request's head",
                Script::at(PartOfHead).closes(),
                BROKEN,
            ),
            row(
                "RST in the request's head",
                Script::at(PartOfHead).resets(),
                BROKEN,
            ),
            row(
                "FIN in the request's body",
                Script::at(PartOfBody).closes(),
                BROKEN,
            ),
            row(
                "RST in the request's body",
                Script::at(PartOfBody).resets(),
                BROKEN,
            ),
            row("FIN after the request", Script::at(Whole).closes(), BROKEN),
            row("RST after the request", Script::at(Whole).resets(), BROKEN),
            row(
                "FIN in the response's head",
                Script::sends(half_head).closes(),
                BROKEN,
            ),
            row(
                "RST in the response's head",
                Script::sends(half_head).resets(),
                BROKEN,
            ),
            row(
                "FIN in the response's body",
                Script::sends(half_body).closes(),
                BROKEN,
            ),
            row(
                "RST in the response's body",
                Script::sends(half_body).resets(),
                BROKEN,
            ),
            row(
                "FIN after the response",
                Script::sends(ok(json)).closes(),
                OK,
            ),
            row(
                "RST after the response",
                Script::sends(ok(json)).resets(),
                BROKEN_LATE,
            ),
            row(
                "FIN while idle",
                Script::sends(ok(json)).pauses(a_moment).closes(),
                OK,
            ),
            row(
                "RST while idle",
                Script::sends(ok(json)).pauses(a_moment).resets(),
                OK,
            ),
        ]
    })
    .await;
}

#[tokio::test]
async fn a_silent_api() {
    hold(|json| {
        vec![
            row("no response", Script::at(Whole).falls_silent(), TIMED_OUT),
            row(
                "half a head, then silence",
                Script::sends("HTTP/1.1 200 OK\r\n").falls_silent(),
                TIMED_OUT,
            ),
            row(
                "a head, then silence",
                Script::sends(response("200 OK", &["Content-Length: 9"], "")).falls_silent(),
                TIMED_OUT,
            ),
            row(
                "a body without an end",
                Script::sends(response("200 OK", &[], json)).falls_silent(),
                TIMED_OUT,
            ),
        ]
    })
    .await;
}

#[tokio::test]
async fn a_slow_api() {
    hold(|json| {
        let head = response("200 OK", &["Content-Length: 99"], "");
        let early_hints = response("103 Early Hints", &[], "");
        vec![
            row(
                "a head of a byte a second",
                Script::at(Whole).drips(ok(json)),
                TIMED_OUT,
            ),
            row(
                "a body of a byte a second",
                Script::sends(head).drips(json),
                TIMED_OUT,
            ),
            row(
                "early hints without end",
                Script::at(Whole).repeats(early_hints),
                TIMED_OUT,
            ),
            row(
                "a length that is too long",
                Script::sends(longer(json)).falls_silent(),
                TIMED_OUT,
            ),
        ]
    })
    .await;
}

/// A response that promises more than there is.
fn longer(json: &str) -> String {
    response(
        "200 OK",
        &[&format!("Content-Length: {}", json.len() + 1)],
        json,
    )
}

#[tokio::test]
async fn wrong_content_lengths() {
    hold(|json| {
        let with = |lengths: &[&str]| {
            let headers: Vec<_> = lengths
                .iter()
                .map(|length| format!("Content-Length: {length}"))
                .collect();
            let headers: Vec<_> = headers.iter().map(String::as_str).collect();
            Script::sends(response("200 OK", &headers, json))
        };
        let (length, shorter) = (&*json.len().to_string(), &*(json.len() - 1).to_string());
        let old = |headers: &str| Script::sends(format!("HTTP/1.0 200 OK\r\n{headers}\r\n{json}"));
        vec![
            row("too short a length", with(&[shorter]), MALFORMED),
            row(
                "too long a length",
                Script::sends(longer(json)).closes(),
                BROKEN,
            ),
            row("the length twice", with(&[length, length]), OK),
            row("two lengths", with(&[length, shorter]), BROKEN),
            row(
                "two lengths in one",
                with(&[&format!("{length}, {shorter}")]),
                BROKEN,
            ),
            row("a length that is a word", with(&["many"]), BROKEN),
            row("a negative length", with(&["-1"]), BROKEN),
            row(
                "a length with a sign",
                with(&[&format!("+{length}")]),
                BROKEN,
            ),
            row(
                "a length beyond 64 bits",
                with(&["18446744073709551616"]),
                BROKEN,
            ),
            row(
                "the longest length",
                with(&["18446744073709551613"]),
                TOO_LARGE,
            ),
            row(
                "no length",
                Script::sends(response("200 OK", &[], json)).closes(),
                OK,
            ),
            row(
                "no length, cut short",
                Script::sends(response("200 OK", &[], half(json))).closes(),
                MALFORMED,
            ),
            row(
                "HTTP/1.0, a length",
                old(&format!("Content-Length: {length}\r\n")),
                OK,
            ),
            row("HTTP/1.0, no length", old("").closes(), OK),
            row(
                "HTTP/1.0, chunks",
                old("Transfer-Encoding: chunked\r\n"),
                BROKEN,
            ),
        ]
    })
    .await;
}

#[tokio::test]
async fn broken_chunks() {
    hold(|json| {
        let with = |body: &str| Script::sends(response("200 OK", CHUNKED, body));
        let all = format!("{}{}", chunk(half(json)), chunk(&json[half(json).len()..]));
        let both = response(
            "200 OK",
            &["Transfer-Encoding: chunked", "Content-Length: 1"],
            &format!("{all}0\r\n\r\n"),
        );
        vec![
            row("chunks", with(&format!("{all}0\r\n\r\n")), OK),
            row("chunks and a length", Script::sends(both), OK),
            row(
                "a size that is a word",
                with(&format!("many\r\n{json}\r\n0\r\n\r\n")),
                BROKEN,
            ),
            row(
                "a negative size",
                with(&format!("-1\r\n{json}\r\n0\r\n\r\n")),
                BROKEN,
            ),
            row(
                "a size beyond 64 bits",
                with(&format!("10000000000000000\r\n{json}")),
                BROKEN,
            ),
            row(
                "the largest size",
                with(&format!("fffffffffffffff0\r\n{json}")).closes(),
                BROKEN,
            ),
            row(
                "too small a size",
                with(&format!("1\r\n{json}\r\n0\r\n\r\n")),
                BROKEN,
            ),
            row("no last chunk", with(&all).closes(), BROKEN),
            row(
                "garbage for a last chunk",
                with(&format!("{all}\r\n\r\n")),
                BROKEN,
            ),
            row(
                "garbage after the last chunk",
                with(&format!("{all}0\r\n\r\ngarbage")),
                OK,
            ),
            row(
                "trailers without end",
                with(&format!("{all}0\r\n")).floods("A: b\r\n", GIB),
                BROKEN,
            ),
            row(
                "an extension without end",
                with("1;").floods("extension", GIB),
                BROKEN,
            ),
            row(
                "empty lines for chunks",
                with("").floods("\r\n", GIB),
                BROKEN,
            ),
        ]
    })
    .await;
}

#[tokio::test]
async fn interim_and_extra_responses() {
    hold(|json| {
        let before = |status: &str, times: usize| {
            Script::sends(response(status, &[], "").repeat(times) + &ok(json))
        };
        // Whoever took it for the next call's would be told so.
        let another = whole("418 For another", &[], "");
        let malformed = |http_status: u16| MALFORMED.replace("200", &http_status.to_string());
        vec![
            row("100", before("100 Continue", 1), OK),
            row("100, often", before("100 Continue", 1000), OK),
            row("103", before("103 Early Hints", 1), OK),
            row(
                "100 and nothing else",
                Script::sends(response("100 Continue", &[], "")).closes(),
                BROKEN,
            ),
            row(
                "101",
                before("101 Switching Protocols", 1),
                &*malformed(101),
            ),
            row("199", before("199 Whatever", 1), OK),
            row("099", before("099 Whatever", 1), BROKEN),
            row(
                "999",
                Script::sends(whole("999 Whatever", &[], json)),
                &*malformed(999),
            ),
            row(
                "another response behind",
                Script::sends(ok(json) + &another),
                OK,
            ),
            row(
                "another response a moment later",
                Script::sends(ok(json))
                    .pauses(Duration::from_millis(20))
                    .and_sends(&*another),
                OK,
            ),
            row(
                "a response before the request",
                Script::at(Nothing).and_sends(ok(json)).closes(),
                EARLY,
            ),
            row("not HTTP", Script::sends("SSH-2.0-OpenSSH_9.6\r\n"), BROKEN),
            row(
                "a TLS alert",
                Script::sends(b"\x15\x03\x01\x00\x02\x02\x46"),
                BROKEN,
            ),
            row(
                "HTTP/2",
                Script::sends(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
                BROKEN,
            ),
        ]
    })
    .await;
}

#[tokio::test]
async fn broken_response_heads() {
    hold(|json| {
        let start = || Script::sends("HTTP/1.1 200 OK\r\n");
        let small: String = (0..MIB / 20)
            .map(|n| format!("X-{n:08}: {n:06}\r\n"))
            .collect();
        let big = format!("X-Big: {}\r\n", "x".repeat(MIB));
        vec![
            row(
                "1 MiB in one header",
                Script::sends(response("200 OK", &[&big], json)),
                BROKEN,
            ),
            row(
                "1 MiB in small headers",
                Script::sends(response("200 OK", &[small.trim_end()], json)),
                BROKEN,
            ),
            row(
                "1 GiB in one header",
                start().and_sends("X-Big: ").floods("x", GIB),
                BROKEN,
            ),
            row(
                "1 GiB in small headers",
                start().floods("X-Small: x\r\n", GIB),
                BROKEN,
            ),
            row(
                "a status line without end",
                Script::sends("HTTP/1.1 200 ").floods("x", GIB),
                BROKEN,
            ),
            row(
                "a header without a colon",
                Script::sends(whole("200 OK", &["X"], json)),
                BROKEN,
            ),
            row(
                "a folded header",
                Script::sends(whole("200 OK", &["X: a\r\n b"], json)),
                OK,
            ),
            row(
                "a NUL in a header",
                Script::sends(whole("200 OK", &["X: \0"], json)),
                BROKEN,
            ),
            row(
                "a NUL in a name",
                Script::sends(whole("200 OK", &["X\0: x"], json)),
                BROKEN,
            ),
        ]
    })
    .await;
}

#[tokio::test]
async fn endless_responses() {
    hold(|json| {
        let promised = |status: &str| {
            Script::sends(response(status, &[&format!("Content-Length: {GIB}")], ""))
                .floods(" ", GIB)
        };
        let streamed = |status: &str| {
            Script::sends(response(status, &[], ""))
                .floods(" ", GIB)
                .closes()
        };
        let chunked =
            Script::sends(response("200 OK", CHUNKED, "")).floods(chunk(&" ".repeat(1024)), GIB);
        let failed = "Internal UPSTREAM_FAILED upstream unknown httpStatus=500";
        let refused = "PermissionDenied UPSTREAM_REFUSED caller refused httpStatus=403";
        vec![
            row("1 GiB, promised", promised("200 OK"), TOO_LARGE),
            row("1 GiB, streamed", streamed("200 OK"), TOO_LARGE),
            row("1 GiB in chunks", chunked, TOO_LARGE),
            row("1 GiB of error, promised", promised("500 Failed"), failed),
            row("1 GiB of error, streamed", streamed("500 Failed"), failed),
            row(
                "1 GiB of refusal, streamed",
                streamed("403 Forbidden"),
                refused,
            ),
            row(
                "1 GiB behind 204",
                Script::sends("HTTP/1.1 204 None\r\n\r\n").floods(" ", GIB),
                &*MALFORMED.replace("200", "204"),
            ),
            row("a bomb", Script::sends(bomb(json)), TOO_LARGE),
        ]
    })
    .await;
}

/// A success that takes 64 MiB once it is unpacked, for which nobody asked.
fn bomb(json: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(json.as_bytes()).unwrap();
    packer.write_all(&vec![b' '; 8 * MIB]).unwrap();
    let body = packer.finish().unwrap();
    assert!(body.len() < 60_000, "{}", body.len());
    let length = format!("Content-Length: {}", body.len());
    let head = response(
        "200 OK",
        &[
            "Content-Type: application/json",
            "Content-Encoding: gzip",
            &length,
        ],
        "",
    );
    [head.into_bytes(), body].concat()
}

#[tokio::test]
async fn unexpected_bodies() {
    hold(|json| {
        let with = |body: &str| Script::sends(ok(body));
        let html = "<!DOCTYPE html><html><body>Welcome</body></html>";
        let html = |status: &str| Script::sends(whole(status, &["Content-Type: text/html"], html));
        let nested = "[".repeat(10_000) + &"]".repeat(10_000);
        let open = json.trim_end_matches([' ', '}']);
        let failed = |http_status: u16| {
            format!("Internal UPSTREAM_FAILED upstream unknown httpStatus={http_status}")
        };
        let of = |verdict: &str, http_status: u16| format!("{verdict} httpStatus={http_status}");
        vec![
            row(
                "204",
                Script::sends(response("204 None", &[], "")),
                &*MALFORMED.replace("200", "204"),
            ),
            row(
                "205",
                Script::sends(whole("205 Reset", &[], "")),
                &*MALFORMED.replace("200", "205"),
            ),
            row("nothing", with(""), MALFORMED),
            row("a byte-order mark", with(&format!("\u{feff}{json}")), OK),
            row(
                "two byte-order marks",
                with(&format!("\u{feff}\u{feff}{json}")),
                MALFORMED,
            ),
            row(
                "a key twice",
                with(&format!(r#"{open}, "IsSucceed": true }}"#)),
                MALFORMED,
            ),
            row(
                "a key twice, in another case",
                with(&format!(r#"{open}, "errors": [] }}"#)),
                MALFORMED,
            ),
            row("10,000 brackets", with(&nested), MALFORMED),
            row(
                "10,000 brackets for errors",
                with(&format!(r#"{{"IsSucceed": true, "Errors": {nested}}}"#)),
                MALFORMED,
            ),
            row(
                "10,000 brackets in passing",
                with(&format!(r#"{open}, "More": {nested} }}"#)),
                OK,
            ),
            row(
                "10,000 brackets, left open",
                with(&"[".repeat(10_000)),
                MALFORMED,
            ),
            row(
                "10,000 braces, left open",
                with(&r#"{"Errors":"#.repeat(6_000)),
                MALFORMED,
            ),
            row("HTML with 200", html("200 OK"), MALFORMED),
            row("HTML with 500", html("500 Failed"), &*failed(500)),
            row(
                "HTML with 502",
                html("502 Bad Gateway"),
                (&*of(BROKEN.0, 502), &*of(BROKEN.1, 502)),
            ),
            row(
                "HTML with 503",
                html("503 Unavailable"),
                (&*of(BROKEN.0, 503), &*of(BROKEN.1, 503)),
            ),
            row("HTML with 504", html("504 Timeout"), &*of(TIMED_OUT, 504)),
            row("HTML with 520", html("520 Whatever"), &*failed(520)),
        ]
    })
    .await;
}

#[tokio::test]
async fn redirects() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let location = format!("Location: http://{}/", elsewhere.local_addr().unwrap());
    hold(|json| {
        [300, 301, 302, 303, 304, 305, 306, 307, 308, 399]
            .map(|http_status| {
                let body = if http_status == 304 { "" } else { json };
                let redirect = whole(&format!("{http_status} Elsewhere"), &[&location], body);
                let expected = format!(
                    "Internal UPSTREAM_REDIRECTED upstream unknown httpStatus={http_status}"
                );
                row("a redirect", Script::sends(redirect), &*expected)
            })
            .into()
    })
    .await;
    let visit = tokio::time::timeout(Duration::from_millis(100), elsewhere.accept()).await;
    assert!(visit.is_err(), "a redirect was followed");
}

#[tokio::test]
async fn refused_connections() {
    let expected = Expected::from(UNREACHABLE);
    for call in Call::ALL {
        // Bound, so that nobody else listens there, and not listening yet.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let gateway = Gateway::before(&format!("http://{}", socket.local_addr().unwrap()));
        let told = make(&gateway, call, PATIENCE, "refused").await;
        expected.check(call, &told, Seen::default(), "refused");
        let api = FaultyApi::on(socket.listen(8).unwrap());
        works(&gateway, &api, call, "refused").await;
    }
}

#[tokio::test]
async fn unresolvable_names() {
    // No name has a part of more than 63 characters, so this one is looked up nowhere.
    let url = format!("http://{}.invalid", "x".repeat(64));
    for call in Call::ALL {
        let gateway = Gateway::before(&url);
        let told = make(&gateway, call, PATIENCE, "DNS").await;
        Expected::from(UNREACHABLE).check(call, &told, Seen::default(), "DNS");
    }
}

/// Puts a gateway through every row for every rpc, and checks after each that it is as good as new.
async fn hold(rows: impl Fn(&str) -> Vec<Row>) {
    let api = FaultyApi::start().await;
    let gateway = Gateway::unlimited(&api.url());
    // Writes that never end go on after their deadlines, for as long as this.
    let options = ["--app-key", KEY, "--timeout", "500ms"];
    let impatient = Gateway::with(&api.url(), &[&options[..], &UNLIMITED].concat());
    for call in Call::ALL {
        for Row {
            fault,
            script,
            expected,
        } in rows(call.success())
        {
            let shown = format!("{call:?}: {fault}");
            let (gateway, patience) = if expected.write == TIMED_OUT {
                (&impatient, IMPATIENCE)
            } else {
                (&gateway, PATIENCE)
            };
            api.plays(script);
            let told = make(gateway, call, patience, &shown).await;
            settled(&api, &shown).await;
            expected.check(call, &told, api.seen(), &shown);
            works(gateway, &api, call, &shown).await;
        }
    }
    for gateway in [gateway, impatient] {
        let memory = gateway.peak_memory();
        assert!(memory < MEMORY, "{memory} KiB");
    }
    // Single responses may be held up by other tests, but not most of them.
    let mut late = LATE.lock().unwrap().clone();
    late.sort_unstable();
    assert!(
        late.is_empty() || late[late.len() / 2] <= PROMISE,
        "{late:?}"
    );
}

/// The status that a caller with this deadline gets.
async fn make(gateway: &Gateway, call: Call, patience: Duration, shown: &str) -> String {
    let path = format!(
        "/autoshares.passwordreset.v1.PasswordResetService/{}",
        call.rpc()
    );
    let request = post(&path, "application/grpc")
        .header("grpc-timeout", format!("{}m", patience.as_millis()));
    let start = Instant::now();
    let (_, headers) = send(gateway, request, call.framed()).await;
    let late = start.elapsed().saturating_sub(patience);
    assert!(late <= SLACK, "{late:?} late: {shown}");
    if start.elapsed() + PROMISE > patience {
        LATE.lock().unwrap().push(late);
    }
    if headers["grpc-status"] == "0" {
        OK.to_owned()
    } else {
        status_of(&headers)
    }
}

/// Waits until nothing is left of a fault: the gateway must not hold on to a connection of which it expects nothing.
async fn settled(api: &FaultyApi, shown: &str) {
    let start = Instant::now();
    while !api.is_idle() {
        assert!(
            start.elapsed() < PATIENCE,
            "the connection is still there: {shown}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A healthy call, by a request that the API sees once.
async fn works(gateway: &Gateway, api: &FaultyApi, call: Call, shown: &str) {
    // So that the next fault finds a connection of its own.
    api.plays(Script::sends(whole("200 OK", &["Connection: close"], call.success())).closes());
    let told = make(gateway, call, PATIENCE, shown).await;
    assert_eq!(told, OK, "the next call after {shown}");
    settled(api, shown).await;
    let Seen { begun, whole, .. } = api.seen();
    assert_eq!((begun, whole), (1, 1), "the next call after {shown}");
}

impl Expected {
    /// Whether the caller was told what is expected, and what is true.
    fn check(&self, call: Call, told: &str, seen: Seen, shown: &str) {
        let only_reads = call == Call::Question;
        let expected = if only_reads { &self.read } else { &self.write };
        assert!(
            expected.split(" or ").any(|one| one == told),
            "{told}, not {expected}: {shown} {seen:?}"
        );
        if told.contains(" not_sent") {
            assert_eq!(seen.begun, 0, "{told}, but it was: {shown}");
        }
        assert!(
            only_reads || seen.begun == 0 || !told.starts_with("Unavailable"),
            "{told}: a client would repeat a write that was sent: {shown}"
        );
        let attempts = if only_reads && is_worth_another_try(told) {
            3
        } else {
            1
        };
        assert!(
            seen.begun <= attempts && seen.connections <= attempts,
            "{seen:?}: {shown}"
        );
        assert!(
            seen.taken <= attempts * 64 * MIB || told == TIMED_OUT,
            "{seen:?}: {shown}"
        );
    }
}

/// Whether a read may have been repeated before its caller was told that.
fn is_worth_another_try(told: &str) -> bool {
    told == OK || told.starts_with("Unavailable") || told.ends_with("httpStatus=504")
}
