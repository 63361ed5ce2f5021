//! Recognizes gRPC requests and reads response codes, by the gRPC-over-HTTP/2 specification.

use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use tonic::{Code, body::Body};

/// Whether the path belongs to health or reflection, which ask about the server itself.
pub(super) fn is_health_or_reflection(path: &str) -> bool {
    path.starts_with("/grpc.health.") || path.starts_with("/grpc.reflection.")
}

/// Whether the request is a gRPC call. tonic checks neither the method nor the content type.
pub(super) fn is_grpc<B>(request: &Request<B>) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let split = content_type.and_then(|it| it.as_bytes().split_at_checked(GRPC.len()));
    let Some((start, format)) = split else {
        return false;
    };
    request.method() == Method::POST
        && start.eq_ignore_ascii_case(GRPC)
        && matches!(format.first(), None | Some(b'+' | b';'))
}

/// The response to a request that is no gRPC call.
pub(super) fn not_grpc() -> Response<Body> {
    let hint =
        "this is a gRPC server: it takes POST over HTTP/2 with content-type application/grpc\n";
    Response::builder()
        .status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Body::new(hint.to_owned()))
        .expect("the parts are constants")
}

/// The size of headers as HTTP/2 counts it: 32 bytes for each beside its name and value (RFC 9113, section 6.5.2).
pub(super) fn header_list_size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum()
}

/// The code of a response: in the headers if the call failed, in the trailers to come if it did not.
pub(super) fn code_of(response: &Response<Body>) -> Code {
    const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
    let code = response.headers().get(GRPC_STATUS);
    code.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}
