//! The settings. A wrong one ends the program with exit status 2 before a port is bound, and with one
//! line that names the setting and what it takes, but never its value.
//! OpenTelemetry's variables are the exception: a wrong one is warned of.

use std::{
    ffi::OsStr,
    fs,
    net::TcpListener,
    os::unix::ffi::OsStrExt,
    process::{Command, Output},
};

use crate::support::{
    api::{Api, Reply},
    collector::Collector,
    gateway::{Call, Gateway, KEY, Metadata, Plain, program, run},
    status::summary,
    tls::SelfSigned,
};

/// A value that no output may repeat.
const VALUE: &str = "s3cret-value";

/// Asserts that the program ended because of a wrong setting, with the expected line.
#[track_caller]
fn assert_misconfigured(output: &Output, expected: &str) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr, format!("reset-gateway: {expected}\n"));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "",
        "nothing listens"
    );
    assert!(!stderr.contains(VALUE));
}

/// `serve` on a port that is taken, so that it fails differently if it accepts its settings. The
/// option `without` is left out.
fn serve(taken: &TcpListener, without: &str, args: &[&str]) -> Command {
    let mut command = program(&["serve"]);
    for (option, value) in [
        ("--listen", taken.local_addr().unwrap().to_string()),
        ("--admin-listen", "off".to_owned()),
    ] {
        if option != without {
            command.args([option, &value]);
        }
    }
    command.args(args);
    command
}

#[test]
fn a_wrong_flag_is_named_with_what_it_takes() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = "takes an http or https URL without user, query and fragment, such as https://api.example.com";
    let duration = "takes a duration from 1ms to 24h, such as 500ms or 10s";
    let number = "takes a whole number from 1 to 1000000";
    let rate = "takes NUMBER/DURATION from 1/24h to 1000000/1ms, such as 20/10m, or off";
    let metadata = "takes the name of metadata: small letters, digits, hyphens, dots and underscores, such as x-application";
    let address = "takes IP:port, localhost:port, :port or unix:/absolute/path (at most 107 bytes)";
    let key = "takes an application key: 1 to 1024 printable ASCII characters, no spaces";
    for (flag, values, takes) in [
        (
            "--listen",
            &[VALUE, "example.com:50051", "127.0.0.1", "unix:relative", ""][..],
            address,
        ),
        ("--authz-mode", &[VALUE, ""], "takes enforce or audit"),
        (
            "--upstream-release",
            &[VALUE, "Etna", ""],
            "takes autoshares or etna",
        ),
        (
            "--admin-listen",
            &[VALUE, "9464", ""],
            "takes IP:port, such as 127.0.0.1:9464, or off",
        ),
        (
            "--upstream-url",
            &[
                VALUE,
                "ftp://x",
                "https://u:s3cret-value@x",
                "https://s3cret-value@x",
                "https://x?s3cret-value",
                "https://x#y",
                "http://",
                "",
            ],
            url,
        ),
        (
            "--upstream-api-version",
            &[VALUE, "1.", "v1", ""],
            "takes numbers and dots, such as 1.0",
        ),
        (
            "--app-key",
            &["s3cret-value with spaces", "s3cret-value\n", "ключ", ""],
            key,
        ),
        (
            "--timeout",
            &[VALUE, "10", "0s", "-1s", "25h", ""],
            duration,
        ),
        ("--connect-timeout", &[VALUE, "0s"], duration),
        (
            "--drain-timeout",
            &[VALUE, "1y"],
            "takes a duration up to 24h, such as 25s",
        ),
        (
            "--max-in-flight",
            &[VALUE, "0", "-1", "1.5", "1000001"],
            number,
        ),
        (
            "--max-connections",
            &[VALUE, "0", "-1", "1.5", "1000001"],
            number,
        ),
        (
            "--worker-threads",
            &[VALUE, "0", "-1", "1.5", "1025"],
            "takes a whole number from 1 to 1024",
        ),
        (
            "--max-connection-age",
            &[VALUE, "0s", "1y"],
            "takes a duration from 1ms to 24h, such as 500ms or 10s, or off",
        ),
        (
            "--drain-delay",
            &[VALUE, "1y"],
            "takes a duration up to 24h, such as 25s",
        ),
        (
            "--code-attempts",
            &[
                VALUE,
                "20",
                "0/10m",
                "20/0s",
                "20/25h",
                "-1/10m",
                "1.5/1s",
                "20/s3cret-value",
                "Off",
                "",
            ],
            rate,
        ),
        ("--code-attempts-total", &[VALUE, "1000001/1s"], rate),
        ("--answer-attempts", &[VALUE, "5/15"], rate),
        (
            "--caller-metadata",
            &["s3cret-value:", "X-Caller", "x caller", ":path", ""],
            metadata,
        ),
        ("--log-format", &[VALUE, "JSON"], "takes text or json"),
        (
            "--sandbox-listen",
            &[VALUE],
            "takes IP:port, such as 127.0.0.1:9464",
        ),
    ] {
        let variable = format!(
            "RESET_GATEWAY_{}",
            flag[2..].to_uppercase().replace('-', "_")
        );
        let expected = format!("{flag} ({variable}) {takes}");
        for value in values {
            // The other settings are right.
            let rest: &[&str] = if flag == "--upstream-url" {
                &[]
            } else {
                &["--upstream-url", "http://127.0.0.1:1"]
            };
            let option = format!("{flag}={value}");
            let args = [rest, &[&option]].concat();
            assert_misconfigured(&serve(&taken, flag, &args).output().unwrap(), &expected);
            assert_misconfigured(
                &serve(&taken, flag, rest)
                    .env(&variable, value)
                    .output()
                    .unwrap(),
                &expected,
            );
        }
    }
}

#[test]
fn a_missing_or_contradictory_setting_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = ["--upstream-url", "http://127.0.0.1:1"];
    let missing = "--upstream-url (RESET_GATEWAY_UPSTREAM_URL) is missing: it takes the API's base URL, such as https://api.example.com; or use --sandbox";
    let both_keys = "--app-key (RESET_GATEWAY_APP_KEY) cannot be given together with --app-key-file (RESET_GATEWAY_APP_KEY_FILE)";
    for (args, expected) in [
        (&[][..], missing),
        (
            &[url[0], url[1], "--sandbox"],
            "--sandbox (RESET_GATEWAY_SANDBOX) cannot be given together with --upstream-url",
        ),
        (
            &[
                url[0],
                url[1],
                "--app-key",
                VALUE,
                "--app-key-file",
                "/dev/null",
            ],
            both_keys,
        ),
        (
            &[url[0], url[1], "--timeout", "1s", "--timeout", "2s"],
            "--timeout (RESET_GATEWAY_TIMEOUT) is given more than once",
        ),
        (
            &["--sandbox=false"],
            "--sandbox (RESET_GATEWAY_SANDBOX) takes no value",
        ),
        (
            &[url[0], url[1], "--max-in-flight", "-1"],
            "--max-in-flight (RESET_GATEWAY_MAX_IN_FLIGHT) takes a whole number from 1 to 1000000",
        ),
        (
            &[url[0], url[1], "--sandbox-listen", "127.0.0.1:0"],
            "--sandbox-listen (RESET_GATEWAY_SANDBOX_LISTEN) goes with --sandbox",
        ),
        (
            &[url[0], url[1], "--tls-self-signed", "/none"],
            "--tls-self-signed (RESET_GATEWAY_TLS_SELF_SIGNED) goes with --sandbox",
        ),
        (
            &[
                "--sandbox",
                "--tls-self-signed",
                "/none",
                "--tls-cert",
                "/a",
                "--tls-key",
                "/b",
            ],
            "--tls-self-signed (RESET_GATEWAY_TLS_SELF_SIGNED) cannot be given together with --tls-cert (RESET_GATEWAY_TLS_CERT)",
        ),
        (
            &["--sandbox", "--tls-self-signed", "/none", "--tls-key", "/b"],
            "--tls-key (RESET_GATEWAY_TLS_KEY) cannot be given together with --tls-self-signed",
        ),
        (
            &[
                "--sandbox",
                "--tls-self-signed",
                "/none",
                "--tls-client-ca",
                "/b",
            ],
            "--tls-client-ca (RESET_GATEWAY_TLS_CLIENT_CA) cannot be given together with --tls-self-signed",
        ),
        (
            &[url[0], url[1], "--authz-mode", "audit"],
            "--authz-mode (RESET_GATEWAY_AUTHZ_MODE) goes with --authz-policy",
        ),
        (
            &[url[0], url[1], "--timeout"],
            "--timeout (RESET_GATEWAY_TIMEOUT) takes a value",
        ),
        (
            &[url[0], url[1], "--s3cret=s3cret-value"],
            "--s3cret is no option of this command; --help lists them",
        ),
        (
            &[url[0], url[1], VALUE],
            "arguments are a command (serve, sandbox, probe, explain, authz, completions) and options as --name VALUE; --help lists them",
        ),
    ] {
        assert_misconfigured(&serve(&taken, "", args).output().unwrap(), expected);
    }
    let mut command = serve(&taken, "", &url);
    let output = command
        .env("RESET_GATEWAY_APP_KEY", VALUE)
        .env("RESET_GATEWAY_APP_KEY_FILE", "/dev/null")
        .output()
        .unwrap();
    assert_misconfigured(&output, both_keys);
    let mut command = serve(&taken, "", &url);
    let output = command
        .env("RESET_GATEWAY_SANDBOX", "maybe")
        .output()
        .unwrap();
    assert_misconfigured(
        &output,
        "--sandbox (RESET_GATEWAY_SANDBOX) takes true or false",
    );
}

#[test]
fn a_file_that_cannot_be_used_is_named_by_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let key = "--app-key-file (RESET_GATEWAY_APP_KEY_FILE) takes a file with an application key";
    let audit_key = "--audit-key-file (RESET_GATEWAY_AUDIT_KEY_FILE) takes a file with a secret of at least 32 bytes";
    let ca = "--upstream-ca (RESET_GATEWAY_UPSTREAM_CA) takes a PEM file of certificates";
    for (flag, path, expected) in [
        (
            "--app-key-file",
            "/no/such/file".to_owned(),
            format!("{key} (No such file or directory (os error 2))"),
        ),
        (
            "--app-key-file",
            "/dev/zero".to_owned(),
            format!("{key} (not a regular file)"),
        ),
        (
            "--app-key-file",
            file("long", &"x".repeat(2000)),
            format!("{key} (no key in it)"),
        ),
        (
            "--app-key-file",
            file("empty", "\n"),
            format!("{key} (no key in it)"),
        ),
        (
            "--app-key-file",
            file("two", "s3cret-value\ns3cret-value\n"),
            format!("{key} (no key in it)"),
        ),
        (
            "--audit-key-file",
            "/no/such/file".to_owned(),
            format!("{audit_key} (No such file or directory (os error 2))"),
        ),
        (
            "--audit-key-file",
            file("short", &format!("{}\n\r\n", "x".repeat(31))),
            format!("{audit_key} (the secret in it is shorter)"),
        ),
        (
            "--upstream-ca",
            "/no/such/file".to_owned(),
            format!("{ca} (No such file or directory (os error 2))"),
        ),
        (
            "--upstream-ca",
            file("ca", VALUE),
            format!("{ca} (no certificate in it)"),
        ),
    ] {
        let output = serve(
            &taken,
            "",
            &["--upstream-url", "http://127.0.0.1:1", flag, &path],
        )
        .output()
        .unwrap();
        assert_misconfigured(&output, &expected);
    }
}

#[test]
fn wrong_log_directives_are_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let expected = "RUST_LOG takes a level, or targets such as reset_gateway=debug,info";
    for value in [
        "info,",
        "=info",
        "[s3cret-value]=trace",
        VALUE,
        "a=s3cret-value=c",
    ] {
        let mut command = serve(&taken, "", &["--upstream-url", "http://127.0.0.1:1"]);
        let output = command.env("RUST_LOG", value).output().unwrap();
        assert_misconfigured(&output, expected);
    }
}

/// Starts a gateway with these variables, makes a call, and gives what it warned of: variables, and what they take.
async fn warnings(variables: &[(&str, &OsStr)]) -> Vec<(String, String)> {
    let api = Api::start(Reply::json(200, Call::Reset.success())).await;
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
    command.envs(variables.iter().copied());
    let gateway = Gateway::start(command);
    let mut client = gateway.client().await;
    Call::Reset.make(&mut client, Plain).await.unwrap();
    let log = gateway.stopped().await;
    assert!(!log.contains("s3cret"), "{variables:?}: {log}");
    let lines = log.lines().filter(|line| line.contains("WARN"));
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    lines
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| (text(&line["variable"]), text(&line["expected"])))
        .collect()
}

#[tokio::test]
async fn a_variable_of_opentelemetry_that_is_not_understood_is_one_warning_and_ignored() {
    let url = "takes an http or https URL, such as http://127.0.0.1:4317";
    let number = "takes a whole number from 1 to 2147483647";
    let pairs = "takes key=value pairs, separated by commas";
    let headers = "takes headers as key=value pairs, separated by commas";
    let samplers = "takes one of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio";
    let protocols = "takes grpc or http/protobuf";
    let propagators = "takes a list of tracecontext and baggage, or none";
    for (name, value, expected) in [
        ("OTEL_SDK_DISABLED", "1", "takes true or false"),
        ("OTEL_PROPAGATORS", "tracecontext,baggage,b3", propagators),
        ("OTEL_PROPAGATORS", "tracecontext,", propagators),
        (
            "OTEL_TRACES_EXPORTER",
            "zipkin",
            "takes otlp, console or none",
        ),
        (
            "OTEL_METRICS_EXPORTER",
            VALUE,
            "takes otlp, console, prometheus or none",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", protocols),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", VALUE, protocols),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://s3cret value", url),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", VALUE, url),
        (
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            "ftp://s3cret-value",
            url,
        ),
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            "/no/s3cret-value",
            "takes a PEM file of certificates",
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
            "/dev/null",
            "takes a PEM file of certificates",
        ),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", number),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "10s", number),
        (
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
            VALUE,
            "takes gzip or none",
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,", headers),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a b=c", headers),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=%0a", headers),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            VALUE,
            "takes cumulative, delta or lowmemory",
        ),
        ("OTEL_BSP_SCHEDULE_DELAY", VALUE, number),
        ("OTEL_BSP_EXPORT_TIMEOUT", "0", number),
        (
            "OTEL_BSP_MAX_QUEUE_SIZE",
            "1000000000000",
            "takes a whole number from 1 to 100000",
        ),
        ("OTEL_METRIC_EXPORT_TIMEOUT", VALUE, number),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0", number),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b,", pairs),
        ("OTEL_RESOURCE_ATTRIBUTES", VALUE, pairs),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", samplers),
        (
            "OTEL_TRACES_SAMPLER_ARG",
            "endpoint=http://x",
            "takes a number from 0 to 1",
        ),
    ] {
        assert_eq!(
            warnings(&[(name, value.as_ref())]).await,
            [(name.to_owned(), expected.to_owned())],
            "{name}={value}"
        );
        assert_eq!(warnings(&[(name, "".as_ref())]).await, [], "{name}");
    }
    let name = "OTEL_EXPORTER_OTLP_ENDPOINT";
    assert_eq!(
        warnings(&[(name, OsStr::from_bytes(b"http://s3cret-value\xff"))]).await,
        [(name.to_owned(), url.to_owned())]
    );
}

#[tokio::test]
async fn the_rest_of_a_partly_understood_value_takes_effect() {
    let api = Api::start(Reply::json(200, Call::Token.success())).await;
    let collector = Collector::http().await;
    let mut command = program(&["--upstream-url", &api.url(), "--app-key", KEY]);
    command.envs([
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &*format!("http://{}/", collector.address),
        ),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "brotli"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a,"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=b,,c",
        ),
        ("OTEL_PROPAGATORS", "tracecontext,b3"),
        ("OTEL_TRACES_SAMPLER", "xray"),
    ]);
    let gateway = Gateway::start(command);
    let caller = Metadata(&[(
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )]);
    let mut client = gateway.client().await;
    Call::Token.make(&mut client, caller).await.unwrap();
    gateway.stopped().await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 2);
    assert!(spans[0].trace_id.starts_with(&[0x0a, 0xf7, 0x65]));
    assert_eq!(collector.header("x-tenant").as_deref(), Some("a"));
    let environment = collector.resource("deployment.environment.name");
    assert_eq!(environment.as_deref(), Some("b"));
}

#[tokio::test]
async fn a_client_certificate_and_its_key_go_together() {
    let (one, other) = (SelfSigned::new(), SelfSigned::new());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = (file("one.pem", &one.certificate), file("one.key", &one.key));
    let wrong_key = file("other.key", &other.key);
    let (c, k) = (
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    );
    let key_expected = "takes a PEM file with the key of the client certificate";
    for (variables, ignored) in [
        (&[(c, &certificate), (k, &key)][..], None),
        (
            &[(c, &certificate)],
            Some((
                c,
                "takes effect only together with OTEL_EXPORTER_OTLP_CLIENT_KEY",
            )),
        ),
        (&[(k, &key)], Some((k, key_expected))),
        (
            &[(c, &certificate), (k, &wrong_key)],
            Some((k, key_expected)),
        ),
        (
            &[(c, &certificate), (k, &certificate)],
            Some((k, key_expected)),
        ),
    ] {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, OsStr::new(value.as_str())))
            .collect();
        let expected: Vec<_> = ignored
            .map(|(name, expected)| (name.to_owned(), expected.to_owned()))
            .into_iter()
            .collect();
        assert_eq!(warnings(&variables).await, expected, "{variables:?}");
    }
}

#[test]
fn a_unix_address_that_grpc_libraries_read_in_another_way_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let expected = "--listen (RESET_GATEWAY_LISTEN) takes IP:port, localhost:port, :port or unix:/absolute/path (at most 107 bytes)";
    for address in [
        "unix://no-such-folder/x.sock",
        "unix:no-such-folder/x.sock",
        "unix:////no-such-folder/x.sock",
        "unix://",
        "unix:",
        "unix-abstract:x",
        "/no-such-folder/x.sock",
    ] {
        let rest = ["--upstream-url", "http://127.0.0.1:1", "--listen", address];
        let output = serve(&taken, "", &rest).output().unwrap();
        assert_misconfigured(&output, expected);
        let output = run(&["probe", "--listen", address]);
        assert_misconfigured(&output, expected);
    }
}

#[tokio::test]
async fn the_gateway_and_the_probe_take_every_character_of_a_path_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    for name in ["plain", "a b", "100%", "%20", "a?b", "a#b", "ü", "a:b"] {
        let path = format!("{folder}/{name}");
        for form in ["unix:", "unix://"] {
            let address = format!("{form}{path}");
            let gateway = Gateway::with("http://127.0.0.1:1", &["--listen", &address]);
            assert_eq!(gateway.address(), format!("unix:{path}"));
            assert!(fs::metadata(&path).is_ok(), "{address}");
            for form in ["unix:", "unix://"] {
                let probe = run(&["probe", "--listen", &format!("{form}{path}")]);
                assert_eq!(probe.status.code(), Some(0), "{probe:?}");
            }
            gateway.stopped().await;
        }
    }
}

#[test]
fn two_listeners_cannot_have_one_address() {
    let url = ["--upstream-url", "http://127.0.0.1:1"];
    let takes = "takes an address that no other listener has";
    let unix = [
        "--listen",
        "unix:/tmp/s3cret-value",
        "--listen",
        "unix:/tmp/s3cret-value",
    ];
    for (args, expected) in [
        (
            &["--listen", "127.0.0.1:1", "--listen", "127.0.0.1:1"][..],
            format!("--listen (RESET_GATEWAY_LISTEN) {takes}"),
        ),
        (&unix, format!("--listen (RESET_GATEWAY_LISTEN) {takes}")),
        (
            &["--admin-listen", "127.0.0.1:50051"],
            format!("--admin-listen (RESET_GATEWAY_ADMIN_LISTEN) {takes}"),
        ),
    ] {
        assert_misconfigured(&run(&[&["serve"][..], &url, args].concat()), &expected);
    }
    let args = ["serve", "--sandbox", "--sandbox-listen", "127.0.0.1:9464"];
    assert_misconfigured(
        &run(&args),
        &format!("--sandbox-listen (RESET_GATEWAY_SANDBOX_LISTEN) {takes}"),
    );
}

#[test]
fn a_value_that_is_not_utf8_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let odd = || std::ffi::OsString::from_vec(b"s3cret-value\xff".to_vec());
    for name in ["RESET_GATEWAY_APP_KEY", "RESET_GATEWAY_TIMEOUT", "RUST_LOG"] {
        let output = program(&["serve", "--upstream-url", "http://127.0.0.1:1"])
            .env(name, odd())
            .output()
            .unwrap();
        assert_misconfigured(&output, &format!("{name} must be UTF-8"));
    }
    for option in ["--upstream-url", "--timeout", "--log-format"] {
        let output = program(&["serve", option]).arg(odd()).output().unwrap();
        assert_misconfigured(&output, "arguments must be UTF-8");
    }
}

#[test]
fn the_exit_status_is_right_even_if_nothing_can_be_written() {
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let status = |args: &[&str]| {
        program(args)
            .stdout(full())
            .stderr(full())
            .status()
            .unwrap()
            .code()
    };
    assert_eq!(status(&["serve"]), Some(2));
    assert_eq!(status(&["--help"]), Some(0));
    assert_eq!(
        status(&["explain", "--rpc", "GenerateToken", "/dev/null"]),
        Some(1)
    );
}

#[test]
fn the_other_commands_check_their_settings_too() {
    for (args, expected) in [
        (&["explain"][..], "--rpc (RESET_GATEWAY_RPC) is missing"),
        (
            &["explain", "--rpc", VALUE],
            "--rpc (RESET_GATEWAY_RPC) takes one of ResetPassword, GetSecretQuestion, GenerateToken, UpdatePassword",
        ),
        (
            &["explain", "--rpc", "ResetPassword", "--http-status", "99"],
            "--http-status (RESET_GATEWAY_HTTP_STATUS) takes a whole number from 100 to 999",
        ),
        (
            &["probe", "--listen", VALUE],
            "--listen (RESET_GATEWAY_LISTEN) takes IP:port, localhost:port, :port or unix:/absolute/path (at most 107 bytes)",
        ),
        (
            &["sandbox", "--sandbox-listen", VALUE],
            "--sandbox-listen (RESET_GATEWAY_SANDBOX_LISTEN) takes IP:port, such as 127.0.0.1:9464",
        ),
        (&["authz"], "--policy (RESET_GATEWAY_POLICY) is missing"),
        (
            &["authz", "--policy", "/dev/null", "--path", VALUE],
            "--path (RESET_GATEWAY_PATH) takes the path of a call, such as /grpc.health.v1.Health/Check",
        ),
        (
            &[
                "authz",
                "--policy",
                "/dev/null",
                "--path",
                "/",
                "--header",
                VALUE,
            ],
            "--header (RESET_GATEWAY_HEADER) takes NAME=VALUE, such as x-team=web",
        ),
        (
            &["s3cret-value"],
            "arguments are a command (serve, sandbox, probe, explain, authz, completions) and options as --name VALUE; --help lists them",
        ),
    ] {
        assert_misconfigured(&run(args), expected);
    }
}

#[test]
fn a_port_in_use_is_exit_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = serve(&taken, "", &["--upstream-url", "http://127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let address = taken.local_addr().unwrap();
    let expected = format!(
        "reset-gateway: cannot listen on {address}: Address already in use (os error 98)\n"
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
}

#[test]
fn completions_know_every_command_of_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{shell}");
        for word in ["serve", "explain", "completions", "max-in-flight"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        if shell == "bash" {
            assert!(
                script.contains(r#"-W "enforce audit""#),
                "values that are words"
            );
        }
    }
    for (args, expected) in [
        (
            &["completions", "s3cret-value"][..],
            "<SHELL> takes bash, elvish, fish, powershell or zsh",
        ),
        (&["completions"], "<SHELL> is missing"),
    ] {
        assert_misconfigured(&run(args), expected);
    }
}

#[test]
fn help_shows_every_option_and_no_value() {
    let output = program(&["serve", "--help"])
        .env("RESET_GATEWAY_APP_KEY", VALUE)
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!help.contains(VALUE));
    for option in [
        "--listen",
        "--admin-listen",
        "--upstream-url",
        "--upstream-api-version",
        "--upstream-release",
        "--upstream-ca",
        "--upstream-cert",
        "--upstream-key",
        "--app-key",
        "--app-key-file",
        "--timeout",
        "--connect-timeout",
        "--max-in-flight",
        "--max-connections",
        "--worker-threads",
        "--max-connection-age",
        "--drain-delay",
        "--drain-timeout",
        "--code-attempts",
        "--code-attempts-total",
        "--answer-attempts",
        "--caller-metadata",
        "--authz-policy",
        "--authz-mode",
        "--sandbox",
        "--sandbox-listen",
        "--audit-key-file",
        "--log-format",
    ] {
        assert!(
            help.contains(&format!("{option} ")) || help.contains(&format!("{option}\n")),
            "{option}: {help}"
        );
    }
    assert_eq!(run(&["--version"]).status.code(), Some(0));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[tokio::test]
async fn every_setting_can_come_from_its_variable() {
    let api = Api::start(Reply::json(200, Call::Reset.success())).await;
    let mut command = program(&[]);
    command.envs([
        ("RESET_GATEWAY_UPSTREAM_URL", api.url().as_str()),
        ("RESET_GATEWAY_UPSTREAM_API_VERSION", "3.0"),
        ("RESET_GATEWAY_APP_KEY", KEY),
        ("RESET_GATEWAY_CODE_ATTEMPTS", "2/1h"),
        ("RESET_GATEWAY_CODE_ATTEMPTS_TOTAL", "3/1h"),
        ("RESET_GATEWAY_ANSWER_ATTEMPTS", "1/1h"),
        ("RESET_GATEWAY_CALLER_METADATA", "x-caller"),
    ]);
    let gateway = Gateway::start(command);
    Call::Reset
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    let request = &api.requests()[0];
    assert!(
        request.starts_with("POST /v3.0/") && request.contains("et-app-key: test-key\r\n"),
        "{request}"
    );

    api.reply(Reply::json(400, ""));
    let mut client = gateway.client().await;
    let (one, other) = (
        Metadata(&[("x-caller", "one")]),
        Metadata(&[("x-caller", "other")]),
    );
    for (call, caller, sent) in [
        (Call::Token, &one, [true, true, false]),
        (Call::Token, &other, [true, false, false]),
        (Call::ResetWithAnswer, &one, [true, false, false]),
    ] {
        for is_sent in sent {
            call.make(&mut client, caller).await.unwrap_err();
            assert_eq!(api.requests().len(), usize::from(is_sent), "{call:?}");
        }
    }
}

#[tokio::test]
async fn upstream_ca_names_a_certificate_authority_to_trust() {
    let authority = SelfSigned::new();
    let api = Api::start_tls(
        Reply::json(200, Call::Reset.success()),
        authority.acceptor(),
    )
    .await;
    let url = format!("https://{}", api.address);

    let gateway = Gateway::before(&url);
    let status = Call::Reset
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap_err();
    assert_eq!(
        summary(&status),
        "Unavailable UPSTREAM_UNREACHABLE upstream not_sent"
    );

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &authority.certificate).unwrap();
    let gateway = Gateway::with(
        &url,
        &[
            "--app-key",
            KEY,
            "--upstream-ca",
            file.path().to_str().unwrap(),
        ],
    );
    Call::Reset
        .make(&mut gateway.client().await, Plain)
        .await
        .unwrap();
    assert_eq!(api.requests().len(), 1);
}

#[tokio::test]
async fn worker_threads_sets_the_number_of_workers() {
    let api = Api::start(Reply::json(200, Call::Question.success())).await;
    // A single worker is the main thread.
    for (workers, threads) in [(1, 0), (3, 3)] {
        let gateway = Gateway::with(
            &api.url(),
            &["--app-key", KEY, "--worker-threads", &workers.to_string()],
        );
        let names = || {
            let tasks = fs::read_dir(format!("/proc/{}/task", gateway.id())).unwrap();
            // A thread that ends meanwhile has no name.
            tasks
                .filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok())
                .collect::<Vec<_>>()
        };
        // A thread has the name of the program until it runs for the first time.
        let unnamed = |name: &&String| name.starts_with("reset-gateway");
        while names().iter().filter(unnamed).count() > 1 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let workers = names()
            .iter()
            .filter(|name| name.starts_with("tokio"))
            .count();
        assert_eq!(workers, threads);
    }
}

#[tokio::test]
async fn plain_http_to_another_machine_is_one_warning() {
    const WARNING: &str =
        "--upstream-url is http and not on this machine: keys and passwords travel in clear";
    for (url, warnings) in [
        ("http://192.0.2.1", 1),
        ("http://api.example.com:8080/base", 1),
        ("http://localhost.example.com", 1),
        ("http://[2001:db8::1]", 1),
        ("http://0.0.0.0:8080", 1),
        ("https://api.example.com", 0),
        ("http://localhost:1", 0),
        ("http://127.0.0.1:1", 0),
        ("http://127.1.2.3:1", 0),
        ("http://[::1]:1", 0),
    ] {
        let log = Gateway::with(url, &["--app-key", KEY]).stopped().await;
        let warned = log.lines().filter(|line| line.contains("WARN"));
        assert_eq!(warned.count(), warnings, "{url}: {log}");
        assert_eq!(log.matches(WARNING).count(), warnings, "{url}: {log}");
        assert!(!log.contains(url), "{log}");
    }
    let sandbox = Gateway::start(program(&["serve", "--sandbox"]));
    assert!(!sandbox.stopped().await.contains("WARN"));
}

#[test]
fn only_tls_needs_certificates() {
    let without = |url: &str| {
        let mut command = program(&[
            "--upstream-url",
            url,
            "--app-key",
            KEY,
            "--listen",
            "127.0.0.1:0",
        ]);
        command
            .args(["--admin-listen", "off"])
            .env("SSL_CERT_FILE", "/nonexistent")
            .env("SSL_CERT_DIR", "/nonexistent");
        command
    };
    let needs = "--upstream-ca (RESET_GATEWAY_UPSTREAM_CA) takes a PEM file of certificates, and must be given where the system has none";
    assert_misconfigured(&without("https://127.0.0.1:1").output().unwrap(), needs);
    drop(Gateway::start(without("http://127.0.0.1:1")));
}
