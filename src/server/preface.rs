//! The first bytes of a connection, by which HTTP/2 is told from HTTP/1.

use std::{io, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::rewind::Rewind;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The response to a peer that speaks HTTP/1.
const HTTP_1_RESPONSE: &[u8] = b"HTTP/1.1 415 Unsupported Media Type\r\n\
    content-type: text/plain\r\ncontent-length: 84\r\nconnection: close\r\n\r\n\
    this is a gRPC server: it takes POST over HTTP/2 with content-type application/grpc\n";
/// How long a peer that is refused has to read why.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads the preface. `None` if the peer does not speak HTTP/2.
pub(super) async fn expect_http2<S>(mut stream: S) -> Option<Rewind<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut first_bytes = Vec::with_capacity(PREFACE.len());
    if read_preface(&mut stream, &mut first_bytes).await.ok()? {
        return Some(Rewind::new(Bytes::from_static(PREFACE), stream));
    }
    if first_bytes.first().is_some_and(u8::is_ascii_uppercase)
        && stream.write_all(HTTP_1_RESPONSE).await.is_ok()
    {
        close(stream).await;
    }
    None
}

/// Reads until the bytes are HTTP/2's preface, or can't become it.
async fn read_preface(
    stream: &mut (impl AsyncRead + Unpin),
    first_bytes: &mut Vec<u8>,
) -> io::Result<bool> {
    while first_bytes.len() < PREFACE.len() {
        let missing = (PREFACE.len() - first_bytes.len()) as u64;
        if (&mut *stream).take(missing).read_buf(first_bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !PREFACE.starts_with(first_bytes) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Closes a connection so that its peer can read what was written last. A socket that is closed with unread bytes is reset,
/// and the peer might lose it.
pub(super) async fn close(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    const MAX_DISCARDED: u64 = 64 * 1024;
    let closed = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_DISCARDED), &mut tokio::io::sink()).await
    };
    // A peer that has gone reads nothing.
    let _ = timeout(CLOSE_TIMEOUT, closed).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_to_http_1_says_its_length() {
        let text = std::str::from_utf8(HTTP_1_RESPONSE).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    }
}
