//! Whole calls: through the same layers as in the running program, to an API that answers from memory.

use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Version, request::Parts};
use http_body_util::{BodyExt, Full};
use prost::Message;
use reset_gateway::{
    config::{self, Command},
    contract::Rpc,
    parts::Gateway,
    proto::{
        GenerateTokenRequest, GetSecretQuestionRequest, ResetPasswordRequest, UpdatePasswordRequest,
    },
};
use tokio::runtime::{Builder, Runtime};
use tonic::{Code, body::Body};

use super::api;

/// A call, and how it is to end.
pub(super) struct Call {
    head: Parts,
    body: Bytes,
    expected: Code,
}

/// The gateway, and what it runs on.
struct Running {
    runtime: Runtime,
    gateway: Gateway,
}

/// Started by the first call.
static RUNNING: LazyLock<Running> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let api = format!("http://{}", api::start());
    let options = [
        "reset-gateway",
        "--upstream-url",
        &api,
        "--app-key",
        "bench",
        "--log-format",
        "json",
    ];
    let Ok(Ok(Command::Serve(config))) = config::parse(options.map(Into::into)) else {
        panic!("the options are not accepted")
    };
    let gateway = runtime.block_on(Gateway::start(*config));
    Running { runtime, gateway }
});

impl Call {
    pub(super) fn reset_password(answer: Option<&str>, expected: Code) -> Self {
        let secret_question_answer = answer.map(str::to_owned);
        let request = ResetPasswordRequest {
            user: "robert.zak".to_owned(),
            secret_question_answer,
        };
        Self::new(Rpc::ResetPassword, &request, expected)
    }

    pub(super) fn get_secret_question(username: &str, expected: Code) -> Self {
        Self::new(
            Rpc::GetSecretQuestion,
            &GetSecretQuestionRequest {
                username: username.to_owned(),
            },
            expected,
        )
    }

    pub(super) fn generate_token(expected: Code) -> Self {
        Self::new(
            Rpc::GenerateToken,
            &GenerateTokenRequest {
                code: "741175".to_owned(),
            },
            expected,
        )
    }

    pub(super) fn update_password(expected: Code) -> Self {
        let (token, password) = (
            "ba6b8cac-6738-4434-bd26-825db020a05c".to_owned(),
            "correct horse".to_owned(),
        );
        let request = UpdatePasswordRequest {
            token,
            password,
            password_confirmation: None,
        };
        Self::new(Rpc::UpdatePassword, &request, expected)
    }

    fn new(rpc: Rpc, message: &impl Message, expected: Code) -> Self {
        let request = Request::post(format!("http://gateway/{}", rpc.full_name()))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "grpc-rust/0.14")
            .header("grpc-timeout", "5S");
        let (head, ()) = request.body(()).unwrap().into_parts();
        let mut body = BytesMut::new();
        // Not compressed, and the length.
        body.put_u8(0);
        body.put_u32(message.encoded_len() as u32);
        message.encode(&mut body).unwrap();
        Self {
            head,
            body: body.freeze(),
            expected,
        }
    }

    /// Makes the call and reads the answer to its end.
    pub(super) fn make(&self) {
        let Running { runtime, gateway } = &*RUNNING;
        let request =
            Request::from_parts(self.head.clone(), Body::new(Full::new(self.body.clone())));
        let code = runtime.block_on(async {
            let (head, mut body) = gateway.call(request).await.into_parts();
            let mut code = code(&head.headers);
            while let Some(frame) = body.frame().await {
                code = code.or(frame.unwrap().trailers_ref().and_then(self::code));
            }
            code
        });
        assert_eq!(code, Some(self.expected));
    }
}

/// The call's code, which is among the headers or the trailers.
fn code(fields: &HeaderMap) -> Option<Code> {
    fields
        .get("grpc-status")
        .map(|code| Code::from_bytes(code.as_bytes()))
}
