//! The REST API: nginx with one worker, which answers from memory.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Stdio,
};

use crate::{leash, port, process::Process, wait};

/// The question that everybody has.
pub(crate) const QUESTION: &str = "What street did you live on in third grade?";
/// Who asks for it. The API knows nobody else, so that nobody can leave that out.
pub(crate) const USERNAME: &str = "robert.zak";
/// Where it answers.
pub(crate) const PATH: &str = "/v1.0/users/password/secret-question";

/// What it answers.
pub(crate) fn answer() -> String {
    format!(r#"{{"Model":"{QUESTION}","Errors":[],"IsSucceed":true}}"#)
}

/// The running API.
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    _process: Process,
}

impl Api {
    pub(crate) fn start(nginx: &Path, scratch: &Path) -> Self {
        let address = port::free();
        fs::write(scratch.join("nginx.conf"), configuration(address)).unwrap();
        let child = leash::command(nginx)
            .arg("-p")
            .arg(scratch)
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let process = Process(child);
        assert!(
            wait::until(|| port::is_open(address)),
            "nginx does not listen"
        );
        Self {
            address,
            _process: process,
        }
    }

    /// What a candidate asks it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{PATH}?username={USERNAME}", self.address)
    }

    /// How many requests it has seen, this one included.
    pub(crate) fn requests(&self) -> u64 {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(b"GET /status HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        // Active connections: 1\nserver accepts handled requests\n 2 2 3\n
        let (_, counts) = answer.split_once("requests").unwrap();
        counts.split_whitespace().nth(2).unwrap().parse().unwrap()
    }
}

/// One process alone, which a signal ends for sure. The paths are below the scratch directory: what is compiled in need
/// not exist.
fn configuration(address: SocketAddr) -> String {
    let answer = answer();
    format!(
        "daemon off;
        master_process off;
        pid nginx.pid;
        error_log stderr crit;
        events {{ worker_connections 8192; }}
        http {{
            access_log off;
            client_body_temp_path body;
            proxy_temp_path proxy;
            fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi;
            scgi_temp_path scgi;
            keepalive_requests 1000000000;
            keepalive_timeout 1h;
            server {{
                listen {address} backlog=4096;
                location = {PATH} {{
                    default_type application/json;
                    if ($arg_username != {USERNAME}) {{ return 404; }}
                    return 200 '{answer}';
                }}
                location = /status {{ stub_status; }}
            }}
        }}"
    )
}
