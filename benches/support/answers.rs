//! Answers of the API, as documented and not.

use reset_gateway::{contract::Rpc, parts::Answer};
use serde_json::json;

/// What the request held: nothing of it may be told.
const VALUES: [&str; 3] = ["robert.zak", "Peterson", "c3b8f0de-the-key"];
const JSON: &str = "application/json; charset=utf-8";

pub(super) const REFUSED: &str = r#"{"Errors":["Answer is incorrect, try again."],"ErrorsCode":["ErrorIncorrectAnswer"],"StatusCode":"Continue","IsSucceed":false}"#;
const VALIDATION: &str = r#"{"Message":"Validation error occured while processing entity","ModelState":{"userPassword.Password":["Password is required","Password must have 8 characters"],"userPassword.PasswordConfirmation":["Passwords do not match"]}}"#;
const HTML: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body bgcolor=\"white\">\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";
const KEY_REJECTED: &str = r#"{"error":"Application key is not defined or does not exist"}"#;
const CUT_OFF: &str = r#"{"Model":"What street did you live on in thi"#;

/// The body of a success.
pub(super) const fn success(rpc: Rpc) -> &'static str {
    match rpc {
        Rpc::ResetPassword => r#"{"Errors":[],"IsSucceed":false}"#,
        Rpc::GetSecretQuestion => {
            r#"{"Model":"What street did you live on in third grade?","Errors":[],"IsSucceed":true}"#
        }
        Rpc::GenerateToken => {
            r#"{"Model":"ba6b8cac-6738-4434-bd26-825db020a05c","Errors":[],"IsSucceed":true}"#
        }
        Rpc::UpdatePassword => r#"{"Errors":[],"IsSucceed":true}"#,
    }
}

pub(super) fn success_of(rpc: Rpc) -> Answer {
    Answer::new(rpc, 200, JSON, success(rpc), &VALUES)
}

/// A documented error.
pub(super) fn refused() -> Answer {
    Answer::new(Rpc::ResetPassword, 200, JSON, REFUSED, &VALUES)
}

/// What the API says of single fields.
pub(super) fn validation() -> Answer {
    Answer::new(Rpc::UpdatePassword, 422, JSON, VALIDATION, &VALUES)
}

/// A page of what stands before the API.
pub(super) fn html() -> Answer {
    Answer::new(Rpc::GetSecretQuestion, 502, "text/html", HTML, &VALUES)
}

/// The gateway's own key.
pub(super) fn key_rejected() -> Answer {
    Answer::new(Rpc::GenerateToken, 403, JSON, KEY_REJECTED, &VALUES)
}

/// Half of an answer.
pub(super) fn cut_off() -> Answer {
    Answer::new(Rpc::GetSecretQuestion, 200, JSON, CUT_OFF, &VALUES)
}

/// Nearly the longest text that is passed on: with markup, escapes, and values of the request throughout.
pub(super) fn long_text() -> Answer {
    let text = "<p class=\"error\">User <b>Robert.Zak</b> &amp; others:\r\n wait, or call 1%2D800&#45;555\\u002d0100</p> ";
    let body =
        json!({ "Errors": [text.repeat(40)], "ErrorsCode": ["ErrorLocked"], "IsSucceed": false });
    Answer::new(Rpc::GenerateToken, 200, JSON, &body.to_string(), &VALUES)
}
