//! What a request is, and what an answer says, by gRPC over HTTP/2.

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use tonic::{Code, body::Body};

/// Health and reflection: asked all the time, and no work.
pub(super) fn is_about_the_server(path: &str) -> bool {
    path.starts_with("/grpc.health.") || path.starts_with("/grpc.reflection.")
}

/// Whether the request is a gRPC call. tonic would take any method and any content type for one.
pub(super) fn is_grpc(request: &Request<Body>) -> bool {
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let format = content_type.strip_prefix(b"application/grpc");
    request.version() == Version::HTTP_2
        && request.method() == Method::POST
        && format.is_some_and(|format| matches!(format.first(), None | Some(b'+' | b';')))
}

pub(super) fn not_grpc() -> Response<Body> {
    let hint =
        "this is a gRPC server: it takes POST over HTTP/2 with content-type application/grpc\n";
    let mut response = Response::new(Body::new(hint.to_owned()));
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// The code of an answer: in the headers if it failed, in the trailers to come if it did not.
pub(super) fn code_of(response: &Response<Body>) -> Code {
    response
        .headers()
        .get("grpc-status")
        .map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}
