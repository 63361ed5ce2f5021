//! An API that answers from memory, on threads of its own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use reset_gateway::rpc::Rpc;

use super::answers::{REFUSED, success};

/// Starts it; it goes with the process.
pub(super) fn start() -> SocketAddr {
    start_over(|connection| connection)
}

/// Starts it over what is made of each connection, such as TLS.
pub(super) fn start_over<C: Read + Write>(
    made_of: impl Fn(TcpStream) -> C + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let (connection, made_of) = (connection.unwrap(), made_of.clone());
            thread::spawn(move || serve(made_of(connection)));
        }
    });
    address
}

/// Answers one request after the other.
fn serve(connection: impl Read + Write) {
    let mut requests = BufReader::new(connection);
    while let Some((path, body)) = read(&mut requests) {
        let answer = answer(&path, &body);
        let length = answer.len();
        let response = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: {length}\r\n\r\n{answer}"
        );
        requests.get_mut().write_all(response.as_bytes()).unwrap();
    }
}

/// The path and the body of the next request.
fn read(requests: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    let mut path = None;
    let mut length = 0;
    while requests.read_line(&mut line).ok()? > 0 {
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap()
            }
            None if path.is_none() => path = line.split(' ').nth(1).map(str::to_owned),
            None => {
                let mut body = vec![0; length];
                requests.read_exact(&mut body).unwrap();
                return path.map(|path| (path, body));
            }
            Some(_) => {}
        }
        line.clear();
    }
    None
}

/// As the real one does, it wants the answer to the secret question.
fn answer(path: &str, body: &[u8]) -> &'static str {
    let has_answer = || body.windows(8).any(|part| part == b"Peterson");
    match path.split('?').next() {
        Some("/v1.0/users/password/reset") if !has_answer() => REFUSED,
        Some("/v1.0/users/password/reset") => success(Rpc::ResetPassword),
        Some("/v1.0/users/password/secret-question") => success(Rpc::GetSecretQuestion),
        Some("/v1.0/users/password/reset/code") => success(Rpc::GenerateToken),
        Some("/v1.0/users/passwords/reset/") => success(Rpc::UpdatePassword),
        _ => panic!("no such path: {path}"),
    }
}
