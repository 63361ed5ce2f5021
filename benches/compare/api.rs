//! The REST API: nginx with one worker, which answers from memory.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use crate::{
    process::Process,
    programs::{command, free_address},
};

pub(crate) const USERNAME: &str = "robert.zak";
pub(crate) const QUESTION: &str = "What street did you live on in third grade?";
pub(crate) const PATH: &str = "/v1.0/users/password/secret-question";

pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    _process: Process,
}

impl Api {
    pub(crate) fn start(nginx: &Path, scratch: &Path) -> Self {
        let address = free_address();
        let configuration = include_str!("nginx.conf")
            .replace("ADDRESS", &address.to_string())
            .replace("PATH", PATH)
            .replace("USERNAME", USERNAME)
            .replace("BODY", &body());
        fs::write(scratch.join("nginx.conf"), configuration).unwrap();
        let process = command(nginx)
            .arg("-p")
            .arg(scratch)
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .spawn()
            .expect("nginx starts; benches/compare/run fetches it");
        let process = Process(process);
        for _ in 0..1000 {
            if TcpStream::connect(address).is_ok() {
                return Self {
                    address,
                    _process: process,
                };
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("nginx does not listen");
    }

    /// How many requests it has seen, not counting this one.
    pub(crate) fn requests(&self) -> u64 {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(b"GET /status HTTP/1.0\r\n\r\n").unwrap();
        let mut status = String::new();
        stream.read_to_string(&mut status).unwrap();
        // Active connections: 1\nserver accepts handled requests\n 2 2 3\n
        let (_, counts) = status.split_once("requests").unwrap();
        let requests: u64 = counts.split_whitespace().nth(2).unwrap().parse().unwrap();
        requests - 1
    }
}

/// The body of every response.
pub(crate) fn body() -> String {
    format!(r#"{{"Model":"{QUESTION}","Errors":[],"IsSucceed":true}}"#)
}
