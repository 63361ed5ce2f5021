//! Undoes a response's compression. Requests ask for none, but intermediaries compress all the same.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// Decodes a body by its `Content-Encoding`, up to `limit` bytes. A body that cannot be decoded stays as it is.
pub(crate) fn decode(body: Vec<u8>, encoding: Option<&str>, limit: usize) -> Vec<u8> {
    let decoded = match encoding.unwrap_or_default().to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(&*body), limit),
        // By RFC 9110 this is zlib's format, but some servers send the raw one.
        "deflate" => read(ZlibDecoder::new(&*body), limit)
            .or_else(|| read(DeflateDecoder::new(&*body), limit)),
        _ => None,
    };
    decoded.unwrap_or(body)
}

fn read(decoder: impl Read, limit: usize) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let read = decoder.take(limit as u64).read_to_end(&mut decoded);
    read.ok().map(|_| decoded)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;

    const TEXT: &[u8] = b"{\"IsSucceed\": true}";

    fn encoded() -> [(&'static str, Vec<u8>); 3] {
        let level = Compression::default;
        let mut gzip = GzEncoder::new(Vec::new(), level());
        let mut zlib = ZlibEncoder::new(Vec::new(), level());
        let mut raw = DeflateEncoder::new(Vec::new(), level());
        gzip.write_all(TEXT).unwrap();
        zlib.write_all(TEXT).unwrap();
        raw.write_all(TEXT).unwrap();
        [
            ("GZip", gzip.finish().unwrap()),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", raw.finish().unwrap()),
        ]
    }

    #[test]
    fn gzip_and_both_kinds_of_deflate_are_read() {
        for (encoding, body) in encoded() {
            assert_eq!(decode(body, Some(encoding), 1024), TEXT, "{encoding}");
        }
    }

    #[test]
    fn only_as_much_is_decoded_as_fits() {
        for (encoding, body) in encoded() {
            assert_eq!(decode(body, Some(encoding), 5), TEXT[..5], "{encoding}");
        }
    }

    #[test]
    fn a_body_that_cannot_be_decoded_stays_as_it_is() {
        for encoding in [
            Some("gzip"),
            Some("deflate"),
            Some("br"),
            Some("identity"),
            None,
        ] {
            assert_eq!(decode(TEXT.to_vec(), encoding, 1024), TEXT, "{encoding:?}");
        }
    }
}
