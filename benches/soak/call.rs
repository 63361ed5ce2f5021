//! The callers: random rpcs with random deadlines, some of them cancelled.

use std::{ops::Range, time::Duration};

use rand::Rng;
use reset_gateway::proto::{
    GenerateTokenRequest, GetSecretQuestionRequest, ResetPasswordRequest, UpdatePasswordRequest,
    password_reset_service_client::PasswordResetServiceClient,
};
use tokio::time::timeout;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt;

pub(crate) type Client = PasswordResetServiceClient<Channel>;

/// A call that has ended.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) only_reads: bool,
    pub(crate) end: End,
}

/// How a call ended for its caller.
#[derive(Debug)]
pub(crate) enum End {
    Ok,
    /// With the gateway's status.
    Failed {
        code: Code,
        outcome: String,
    },
    /// The caller cancelled it, or its client library did at the deadline.
    Cancelled,
}

impl Call {
    /// Makes the call with this number.
    pub(crate) async fn make(client: &mut Client, id: u64) -> Self {
        let rpc = rand::rng().random_range(0..4);
        let deadline = one_in(20, 5..50).unwrap_or(2_000);
        let patience = Duration::from_millis(one_in(30, 0..20).unwrap_or(10_000));
        let response = timeout(patience, send(client, rpc, id, deadline)).await;
        Self {
            only_reads: rpc == 0,
            end: response.map_or(End::Cancelled, End::new),
        }
    }
}

impl End {
    fn new(response: Result<(), Status>) -> Self {
        let Err(status) = response else {
            return Self::Ok;
        };
        match status.get_details_error_info() {
            Some(info) => Self::Failed {
                code: status.code(),
                outcome: info.metadata["outcome"].clone(),
            },
            // The client's own timer can fire before the gateway's status is read.
            None if status.code() == Code::Cancelled => Self::Cancelled,
            None => panic!("{status:?}"),
        }
    }
}

/// A random number from the range for one call in `n`.
fn one_in(n: u32, range: Range<u64>) -> Option<u64> {
    let mut random = rand::rng();
    random
        .random_ratio(1, n)
        .then(|| random.random_range(range))
}

async fn send(client: &mut Client, rpc: u32, id: u64, deadline: u64) -> Result<(), Status> {
    let id = format!("id-{id}-");
    match rpc {
        0 => {
            let request = GetSecretQuestionRequest { username: id };
            let response = client.get_secret_question(with_deadline(request, deadline));
            response.await.map(drop)
        }
        1 => {
            let request = ResetPasswordRequest {
                user: id,
                ..Default::default()
            };
            let response = client.reset_password(with_deadline(request, deadline));
            response.await.map(drop)
        }
        2 => {
            let request = GenerateTokenRequest {
                request_id: None,
                code: id,
            };
            let response = client.generate_token(with_deadline(request, deadline));
            response.await.map(drop)
        }
        _ => {
            let request = UpdatePasswordRequest {
                token: id,
                password: "a new password".to_owned(),
                ..Default::default()
            };
            let response = client.update_password(with_deadline(request, deadline));
            response.await.map(drop)
        }
    }
}

fn with_deadline<T>(message: T, milliseconds: u64) -> Request<T> {
    let mut request = Request::new(message);
    let timeout = format!("{milliseconds}m").parse().unwrap();
    request.metadata_mut().insert("grpc-timeout", timeout);
    request
}
