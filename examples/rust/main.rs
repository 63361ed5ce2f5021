//! A password reset: `cargo run --example rust -- TARGET [TLS]`
//!
//! In a project of your own, `tonic_prost_build::compile_protos("proto/autoshares/passwordreset/v1/password_reset.proto")`
//! in `build.rs` generates the code. tonic knows no service config: repeat a call by hand, with its `request_id`, when the
//! code is UNAVAILABLE and the status has an `ErrorInfo`.

use std::{env, error::Error, fs, path::Path, process::Command, time::Duration};

use reset_gateway::proto::{
    GenerateTokenRequest, GetSecretQuestionRequest, ResetPasswordRequest, UpdatePasswordRequest,
    password_reset_service_client::PasswordResetServiceClient,
};
use tonic::{
    Request,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::StatusExt;
use uuid::Uuid;

const MAILBOX: &str = "http://127.0.0.1:8080/sandbox/mailbox/robert.zak";
/// A little more than the gateway's own.
const TIMEOUT: Duration = Duration::from_secs(12);

type Service = PasswordResetServiceClient<Channel>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let target = arguments.next().ok_or("no target")?;
    let endpoint = endpoint(&target, arguments.next().as_deref())?;
    let mut service = PasswordResetServiceClient::new(endpoint.connect().await?);

    if let Err(status) = service.reset_password(call(reset(None))).await {
        // None: a library or a proxy made the status.
        match status.get_details_error_info() {
            Some(info) if info.reason == "SECRET_QUESTION_ANSWER_REQUIRED" => {
                println!("{}, outcome: {}", info.reason, info.metadata["outcome"]);
            }
            _ => return Err(status.into()),
        }
        answer_the_question(&mut service).await?;
    }
    set_password(&mut service, mailed_code()?).await
}

fn endpoint(target: &str, tls: Option<&str>) -> Result<Endpoint, Box<dyn Error>> {
    Ok(match tls {
        None if target.starts_with("unix:") => Endpoint::from_shared(target.to_owned())?,
        None => Endpoint::from_shared(format!("http://{target}"))?,
        Some(folder) => {
            let endpoint = Endpoint::from_shared(format!("https://{target}"))?;
            endpoint.tls_config(mutual_tls(Path::new(folder))?)?
        }
    })
}

fn mutual_tls(folder: &Path) -> Result<ClientTlsConfig, Box<dyn Error>> {
    let read = |name| fs::read(folder.join(name));
    Ok(ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read("ca.pem")?))
        .identity(Identity::from_pem(
            read("client.pem")?,
            read("client-key.pem")?,
        )))
}

async fn answer_the_question(service: &mut Service) -> Result<(), Box<dyn Error>> {
    let username = "robert.zak".to_owned();
    let request = call(GetSecretQuestionRequest { username });
    let question = service.get_secret_question(request).await?.into_inner();
    println!("{}", question.secret_question());
    service
        .reset_password(call(reset(Some("Peterson"))))
        .await?;
    Ok(())
}

async fn set_password(service: &mut Service, code: String) -> Result<(), Box<dyn Error>> {
    let request = call(GenerateTokenRequest {
        code,
        request_id: new_id(),
    });
    let token = service.generate_token(request).await?.into_inner().token;
    let request = call(UpdatePasswordRequest {
        token,
        password: "correct horse".to_owned(),
        password_confirmation: None,
        request_id: new_id(),
    });
    service.update_password(request).await?;
    println!("the password is set");
    Ok(())
}

fn reset(answer: Option<&str>) -> ResetPasswordRequest {
    ResetPasswordRequest {
        user: "robert.zak".to_owned(),
        secret_question_answer: answer.map(str::to_owned),
        request_id: new_id(),
    }
}

/// A call with a deadline.
fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(TIMEOUT);
    request
}

fn new_id() -> Option<String> {
    Some(Uuid::new_v4().to_string())
}

fn mailed_code() -> Result<String, Box<dyn Error>> {
    let mail = Command::new("curl").args(["-fsS", MAILBOX]).output()?;
    let mail: serde_json::Value = serde_json::from_slice(&mail.stdout)?;
    Ok(mail["code"].as_str().ok_or("no code is mailed")?.to_owned())
}
