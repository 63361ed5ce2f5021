//! One line a call, and a level that changes while the program runs.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::fd::{AsFd, OwnedFd},
    process::{Child, Command, Stdio},
    time::Duration,
};

use reset_gateway::proto::password_reset_service_client::PasswordResetServiceClient;
use rustix::{
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{
    api::{Api, Reply},
    gateway::{Call, Gateway, KEY, Metadata, Plain, connect, get, http, program, within},
    over_tls::add_tls,
};

/// The lines of calls, parsed.
pub fn calls(log: &str) -> Vec<Value> {
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
    lines.filter(|line| line["message"] == "call").collect()
}

#[tokio::test]
async fn each_call_has_one_line_with_stable_keys() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    let trace = Metadata(&[(
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )]);
    Call::Question.make(&mut client, trace).await.unwrap();
    api.reply(Reply::json(404, ""));
    Call::Reset.make(&mut client, Plain).await.unwrap_err();
    api.reply(Reply::Last(Vec::new()));
    Call::Password.make(&mut client, Plain).await.unwrap_err();
    api.reply(Reply::json(401, ""));
    Call::Token.make(&mut client, Plain).await.unwrap_err();
    let lines = calls(&gateway.stopped().await);
    assert_eq!(lines.len(), 4);

    let ok = &lines[0];
    let mut keys: Vec<_> = ok.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = [
        "code",
        "duration_ms",
        "level",
        "message",
        "peer",
        "rpc",
        "span_id",
        "target",
        "timestamp",
        "trace_id",
        "upstream_status",
    ];
    assert_eq!(keys, expected);
    assert_eq!(
        ok["rpc"],
        "autoshares.passwordreset.v1.PasswordResetService/GetSecretQuestion"
    );
    assert_eq!(
        (&ok["code"], &ok["upstream_status"], &ok["peer"]),
        (&"OK".into(), &200.into(), &"tcp".into())
    );
    assert_eq!(ok["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(ok["target"], "reset_gateway::telemetry::call_log");

    let told = |line: &Value| {
        ["level", "code", "reason", "fault", "outcome"]
            .map(|key| line[key].as_str().unwrap().to_owned())
    };
    assert_eq!(
        told(&lines[1]),
        [
            "INFO",
            "NOT_FOUND",
            "UPSTREAM_NOT_FOUND",
            "caller",
            "refused"
        ]
    );
    assert_eq!(
        told(&lines[2]),
        [
            "WARN",
            "UNKNOWN",
            "UPSTREAM_OUTCOME_UNKNOWN",
            "upstream",
            "unknown"
        ]
    );
    let chain = lines[2]["error"].as_str().unwrap();
    assert!(
        chain.starts_with("the connection to the API broke: ")
            && chain.contains("connection closed"),
        "{chain}"
    );
    assert_eq!(
        lines[2]["upstream_status"],
        Value::Null,
        "there was no response"
    );
    assert_eq!(
        told(&lines[3]),
        [
            "ERROR",
            "INTERNAL",
            "APP_KEY_REJECTED",
            "gateway",
            "refused"
        ]
    );
}

#[tokio::test]
async fn a_call_over_a_unix_socket_says_so_in_the_text_format() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", folder.path().join("gateway.sock").display());
    let gateway = Gateway::with(
        &api.url(),
        &[
            "--app-key",
            KEY,
            "--listen",
            &address,
            "--log-format",
            "text",
        ],
    );
    Call::Question
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    let log = gateway.stopped().await;
    assert!(
        log.contains("call") && log.contains("peer") && log.contains("unix") && !log.contains('{'),
        "{log}"
    );
}

#[tokio::test]
async fn the_log_level_can_change_at_run_time() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    let url = format!("{}/log-level", gateway.announced("admin on "));
    let put = async |directives: &'static str| {
        let client = http();
        let response = client.put(&url).body(directives).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(get(&url).await, (200, "info\n".to_owned()));
    assert_eq!(
        put("reset_gateway=warn").await,
        (200, "reset_gateway=warn\n".to_owned())
    );
    Call::Question.make(&mut client, Plain).await.unwrap();
    for wrong in ["", "info,", "=info", "[span]=trace"] {
        assert_eq!(put(wrong).await.0, 400, "{wrong:?}");
    }
    let takes = "log level takes a level, or targets such as reset_gateway=debug,info\n";
    assert_eq!(put("a=b=c").await, (400, takes.to_owned()));
    assert_eq!(put("info").await.0, 200);
    Call::Question.make(&mut client, Plain).await.unwrap();
    let log = gateway.stopped().await;
    assert_eq!(calls(&log).len(), 1, "only the second is logged");
    assert!(
        !log.contains("=warn"),
        "what somebody sends is not repeated"
    );
}

#[tokio::test]
async fn the_log_level_cannot_be_changed_from_another_host() {
    // This machine's address on a network, if it is on one: asked of the system, nothing is sent.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let Ok(own) = socket
        .connect("192.0.2.1:9")
        .and_then(|()| socket.local_addr())
    else {
        return;
    };
    let gateway = Gateway::with(
        "http://127.0.0.1:1",
        &["--app-key", KEY, "--admin-listen", "0.0.0.0:0"],
    );
    let port = gateway.announced("admin on ").rsplit(':').next().unwrap();
    let client = http();
    let put = async |host: &str| {
        let response = client
            .put(format!("http://{host}:{port}/log-level"))
            .body("warn")
            .send()
            .await
            .unwrap();
        response.status().as_u16()
    };
    assert_eq!(put(&own.ip().to_string()).await, 403);
    assert_eq!(put("127.0.0.1").await, 200);
}

#[tokio::test]
async fn libraries_log_nothing_at_any_level() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
    command.env(
        "RUST_LOG",
        "trace,h2=trace,hyper=trace,hyper_util=trace,reqwest=trace,rustls=trace,tonic=trace",
    );
    let gateway = Gateway::start(command);
    Call::Question
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    let log = gateway.stopped().await;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let target = line["target"].as_str().unwrap();
        assert!(target.starts_with("reset_gateway"), "{line}");
    }
}

/// A process, killed when the test is over.
struct Process(Child);

impl Process {
    /// Sends SIGTERM, and asserts that the program ends with status 0.
    async fn stop(mut self) {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::TERM).unwrap();
        let mut status = None;
        within(|| {
            status = self.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        assert_eq!(status.unwrap().code(), Some(0));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing() {
    const CALLS: u64 = 2000;
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    add_tls(&mut command);
    let mut gateway = Process(command.spawn().unwrap());
    let unread = gateway.0.stderr.take().unwrap();
    fcntl_setpipe_size(unread.as_fd(), 4096).unwrap();
    let mut lines = BufReader::new(gateway.0.stdout.take().unwrap()).lines();
    let mut announced = |beginning: &str| {
        let line = lines.next().unwrap().unwrap();
        line.strip_prefix(beginning).unwrap().to_owned()
    };
    let (address, admin) = (announced("gRPC on "), announced("admin on "));

    let channel = connect(&address).await;
    let mut client = PasswordResetServiceClient::new(channel.clone());
    for _ in 0..CALLS {
        let call = Call::Question.make(&mut client, Plain);
        let answered = tokio::time::timeout(Duration::from_secs(10), call).await;
        answered.expect("the call is answered").unwrap();
    }
    let service = String::new();
    HealthClient::new(channel)
        .check(HealthCheckRequest { service })
        .await
        .unwrap();
    assert_eq!(get(&format!("{admin}/livez")).await.0, 200);
    let (_, page) = get(&format!("{admin}/metrics")).await;
    let dropped: Option<u64> = page.lines().find_map(|line| {
        let line = line.strip_prefix("reset_gateway_log_lines_dropped_total")?;
        line.rsplit(' ').next()?.parse().ok()
    });
    assert!(matches!(dropped, Some(1..CALLS)), "{dropped:?}: {page}");
    gateway.stop().await;
    drop(unread);
}

/// A pipe of 4 KiB that is full, and is never read while the first end is there.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
    fcntl_setpipe_size(&write, 4096).unwrap();
    while rustix::io::write(&write, &[b'x'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&write, rustix::fs::OFlags::empty()).unwrap();
    (read, write)
}

#[tokio::test]
async fn standard_output_that_nobody_reads_stops_nothing() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", folder.path().join("gateway.sock").display());
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
    command.args(["--listen", &address, "--admin-listen", "off"]);
    command.envs([
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_METRICS_EXPORTER", "console"),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
    ]);
    let (_unread, full) = full_pipe();
    let gateway = Process(command.stdout(full).spawn().unwrap());
    within(|| folder.path().join("gateway.sock").exists()).await;
    let mut client = PasswordResetServiceClient::new(connect(&address).await);
    for _ in 0..50 {
        Call::Question.make(&mut client, Plain).await.unwrap();
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_non_blocking_standard_error_gets_every_line_whole() {
    const CALLS: usize = 300;
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", folder.path().join("gateway.sock").display());
    let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
    fcntl_setpipe_size(&write, 4096).unwrap();
    rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::empty()).unwrap();
    let gateway = {
        let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
        command.args(["--listen", &address, "--admin-listen", "off"]);
        Process(command.stderr(write).spawn().unwrap())
    };
    within(|| folder.path().join("gateway.sock").exists()).await;
    let mut client = PasswordResetServiceClient::new(connect(&address).await);
    for _ in 0..CALLS {
        Call::Question.make(&mut client, Plain).await.unwrap();
    }
    // By now the pipe has been full for long.
    let log = std::thread::spawn(|| std::io::read_to_string(File::from(read)).unwrap());
    gateway.stop().await;
    assert_eq!(calls(&log.join().unwrap()).len(), CALLS);
}

#[tokio::test]
async fn a_failed_start_exits_even_if_nobody_reads_its_error() {
    let (_unread, full) = full_pipe();
    let mut command: Command = program(&["serve"]);
    let mut start = Process(command.stdout(Stdio::null()).stderr(full).spawn().unwrap());
    let mut status = None;
    within(|| {
        status = start.0.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap().code(), Some(2));
}
