//! HTTP/2 by hand, right or wrong, as no library would send it.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::support::{
    gateway::Gateway,
    over_tls::{Stream, open},
};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Settings without a parameter.
pub const NO_SETTINGS: &[u8] = &[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
/// The flag; the kind of frame is `PRIORITY`.
pub const HAS_PRIORITY: u8 = 0x20;

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Settings with one parameter.
pub fn setting(name: u16, value: u32) -> Vec<u8> {
    frame(
        SETTINGS,
        0,
        0,
        &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat(),
    )
}

/// The header block of a gRPC call, with further headers.
pub fn call_to(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    call_to_authority(&field(":authority", "gateway"), path, more)
}

/// The same with these bytes for the authority.
pub fn call_to_authority(authority: &[u8], path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let call = [(":method", "POST"), (":scheme", "http"), (":path", path)];
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let rest = call
        .iter()
        .chain(&grpc)
        .chain(more)
        .flat_map(|(name, value)| field(name, value));
    authority.iter().copied().chain(rest).collect()
}

/// A header, never indexed and without Huffman's code.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0x10], &text(name)[..], &text(value)].concat()
}

/// A text with its length, without Huffman's code.
pub fn text(text: &str) -> Vec<u8> {
    const PREFIX: usize = 0x7f;
    let mut bytes = Vec::new();
    if text.len() < PREFIX {
        bytes.push(text.len() as u8);
    } else {
        bytes.push(PREFIX as u8);
        let mut rest = text.len() - PREFIX;
        while rest >= 0x80 {
            bytes.push((rest % 0x80) as u8 | 0x80);
            rest /= 0x80;
        }
        bytes.push(rest as u8);
    }
    bytes.extend(text.as_bytes());
    bytes
}

/// A connection that has sent these bytes.
pub async fn begin_with(gateway: &Gateway, bytes: &[u8]) -> Stream {
    let mut stream = open(gateway).await;
    // The gateway may have had enough before the end.
    let _ = stream.write_all(bytes).await;
    stream
}

/// A connection that has sent the preface and its settings.
pub async fn greet(gateway: &Gateway, settings: &[u8]) -> Stream {
    begin_with(gateway, &[PREFACE, settings].concat()).await
}

/// All that the gateway sends until it closes the connection; it must do so within that time.
pub async fn until_closed(stream: &mut (impl AsyncRead + Unpin), most: Duration) -> Vec<u8> {
    let mut received = Vec::new();
    let end = timeout(most, stream.read_to_end(&mut received)).await;
    assert!(
        end.is_ok(),
        "not closed within {most:?}; received {:?}",
        String::from_utf8_lossy(&received)
    );
    received
}

/// The frames in these bytes: kind, flags, stream, payload.
pub fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [a, b, c, kind, flags, s1, s2, s3, s4, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            break;
        };
        frames.push((
            *kind,
            *flags,
            u32::from_be_bytes([*s1, *s2, *s3, *s4]),
            payload.to_vec(),
        ));
        bytes = rest;
    }
    frames
}

/// Why the gateway went away, if it said so: HTTP/2's error code.
pub fn reason(bytes: &[u8]) -> Option<u32> {
    let frames = frames(bytes);
    let payload = frames
        .iter()
        .find_map(|(kind, _, _, payload)| (*kind == GOAWAY).then_some(payload))?;
    Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()))
}
