//! The tables of the documents agree with the program: options, reasons and metrics. `src/status.rs` compares the statuses.

use std::{collections::BTreeSet, fs};

use prost_reflect::DescriptorPool;
use reset_gateway::proto::FILE_DESCRIPTOR_SET;

use crate::support::{
    gateway::{Gateway, get, run},
    tls::SelfSigned,
};

const CONFIGURATION: &str = include_str!("../../docs/configuration.md");
const ERRORS: &str = include_str!("../../docs/errors.md");
const OBSERVABILITY: &str = include_str!("../../docs/observability.md");
const METRICS: &str = include_str!("../../deploy/observability/metrics.txt");

/// An option: the heading that it stands under, its flag, and its default or nothing.
type Described = (String, String, String);

/// The text from a heading up to the next one of the same level.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("\n{heading}\n")).unwrap();
    let (level, _) = heading.split_once(' ').unwrap();
    rest.split(&format!("\n{level} ")).next().unwrap()
}

/// The cells of each row of a table, without the header of it.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
}

/// The texts between backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The options of a command by docs/configuration.md.
fn documented(command: &str) -> BTreeSet<Described> {
    let section = section(CONFIGURATION, &format!("## Options of {command}"));
    let mut options = BTreeSet::new();
    for part in section.split("\n### ") {
        let heading = match command {
            "serve" => part.lines().next().unwrap_or_default(),
            _ => "Options",
        };
        for row in rows(part) {
            let default = row[1].trim_matches('`').replace("none", "");
            options.insert((heading.to_owned(), row[0].replace('`', ""), default));
        }
    }
    options
}

/// The options of a command by `--help`.
fn described(command: &str) -> BTreeSet<Described> {
    let help = String::from_utf8(run(&[command, "--help"]).stdout).unwrap();
    let mut options = Vec::<Described>::new();
    let mut heading = "";
    for line in help.lines() {
        if let Some(title) = line.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
            heading = title;
        } else if let Some(flag) = line.strip_prefix("      --") {
            let name = flag.split([' ', '\n']).next().unwrap();
            options.push((heading.to_owned(), format!("--{name}"), String::new()));
        }
        if let Some((_, default)) = line.split_once("[default: ") {
            let (default, _) = default.split_once(']').unwrap();
            default.clone_into(&mut options.last_mut().unwrap().2);
        }
    }
    options.into_iter().collect()
}

/// The commands that have options, by `--help`.
fn commands() -> Vec<String> {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let lines = commands.lines().take_while(|line| line.starts_with("  "));
    let names = lines.map(|line| line.split_whitespace().next().unwrap().to_owned());
    let without_options = ["completions", "help"];
    names
        .filter(|name| !without_options.contains(&name.as_str()))
        .collect()
}

#[test]
fn the_options_in_the_configuration_page_are_those_of_help() {
    let commands = commands();
    assert!(commands.contains(&"serve".to_owned()), "{commands:?}");
    for command in &commands {
        assert_eq!(documented(command), described(command), "{command}");
    }
}

#[test]
fn the_error_page_knows_every_reason_and_no_other() {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let reasons = pool.get_enum_by_name("autoshares.passwordreset.v1.ErrorReason");
    let reasons = reasons.unwrap();
    let names = reasons.values().filter(|value| value.number() != 0);
    let names: BTreeSet<_> = names.map(|value| value.name().to_owned()).collect();
    let advice = rows(section(ERRORS, "## If the reason is X, do Y"));
    let advised: BTreeSet<_> = advice.flat_map(|row| quoted(row[0])).collect();
    assert_eq!(advised, names);
}

/// The metrics in a section of docs/observability.md, by their name at `/metrics`.
fn listed(heading: &str) -> BTreeSet<String> {
    let rows = rows(section(OBSERVABILITY, heading));
    rows.map(|row| {
        let [name, at_metrics] = [row[0], row[1]].map(|cell| cell.replace('`', ""));
        let prefix = name.replace('.', "_");
        assert!(at_metrics.starts_with(&prefix), "{name}: {at_metrics}");
        at_metrics
    })
    .collect()
}

#[test]
fn the_observability_page_lists_the_metrics_of_the_dashboard() {
    let known: BTreeSet<_> = METRICS.lines().map(str::to_owned).collect();
    let sections = ["### Always", "### With TLS", "### With a policy"];
    let listed: BTreeSet<_> = sections.into_iter().flat_map(listed).collect();
    assert_eq!(listed, known);
}

/// The metrics that a gateway with these options has beside those of every gateway.
async fn further(options: &[&str]) -> BTreeSet<String> {
    let gateway = Gateway::with("http://127.0.0.1:1", options);
    let (_, text) = get(&format!("{}/metrics", gateway.announced("admin on "))).await;
    let names = text.lines().filter_map(|line| {
        let name = line.strip_prefix("# TYPE ")?.split(' ').next()?;
        Some(name.to_owned())
    });
    let always = listed("### Always");
    names.filter(|name| !always.contains(name)).collect()
}

#[tokio::test]
async fn the_observability_page_lists_the_metrics_of_tls_and_of_a_policy() {
    let certificate = SelfSigned::new();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate_file = file("cert.pem", &certificate.certificate);
    let key_file = file("key.pem", &certificate.key);
    let policy = file(
        "policy.json",
        r#"{"name": "all", "allow_rules": [{"name": "all"}]}"#,
    );
    let tls = ["--tls-cert", &certificate_file, "--tls-key", &key_file];
    assert_eq!(listed("### With TLS"), further(&tls).await);
    let with_policy = ["--authz-policy", &policy];
    assert_eq!(listed("### With a policy"), further(&with_policy).await);
}
