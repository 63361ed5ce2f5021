//! Counts the instructions of a part: this program runs itself under valgrind, which counts while one function runs, and
//! only on the thread that runs it.

use std::{env, process::Command};

use super::cases::Case;

/// The argument that makes this program do what is counted.
pub(super) const REPEAT: &str = "--repeat";

/// How often a part is done before it is counted: by then it has connected, and allocated what it keeps.
const WARM_UP: u32 = 20;
const REPETITIONS: u32 = 100;

/// The instructions that a part takes.
pub(super) fn count(case: &Case) -> u64 {
    let output = valgrind()
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--toggle-collect=instructions::callgrind::counted",
        ])
        .arg(env::current_exe().unwrap())
        .args([REPEAT, case.name])
        .output()
        .expect("valgrind is installed");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let total = log.lines().find_map(|line| {
        line.split_once("Collected : ")?
            .1
            .trim()
            .parse::<u64>()
            .ok()
    });
    let count = total.unwrap_or_else(|| panic!("no count: {log}")) / u64::from(REPETITIONS);
    assert!(count > 0, "valgrind does not know the function by its name");
    count
}

/// Does a part as often as is needed to count.
pub(super) fn repeat(case: &Case) {
    for _ in 0..WARM_UP {
        case.run();
    }
    counted(case);
}

/// Known to valgrind by its name.
#[inline(never)]
fn counted(case: &Case) {
    for _ in 0..REPETITIONS {
        case.run();
    }
}

/// What the counts depend on, beside the code.
pub(super) fn tools() -> String {
    let version = |mut command: Command| {
        let output = command.arg("--version").output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    format!(
        "{}, {}",
        version(Command::new("rustc")),
        version(valgrind())
    )
}

/// Valgrind without this environment, whose settings are none of the parts', and whose size moves the stack.
fn valgrind() -> Command {
    let kept = ["PATH", "VALGRIND_LIB"]
        .into_iter()
        .filter_map(|name| Some((name, env::var_os(name)?)));
    let mut valgrind = Command::new("valgrind");
    valgrind.env_clear().envs(kept);
    valgrind
}
