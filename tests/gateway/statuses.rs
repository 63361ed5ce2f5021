//! The status table: every row, by every body that the API is documented to send.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use tokio::io::AsyncWriteExt;

use crate::support::{
    api::{Api, Reply, bytes},
    gateway::{Call, Gateway, KEY, Metadata, Plain, UNLIMITED},
    raw::{post, send, status_of},
    status::{check, summary},
};

use Call::{Password, Question, Reset, ResetWithAnswer, Token};

/// An answer of the API and what the caller is told.
pub struct Case {
    pub call: Call,
    pub reply: Reply,
    pub expected: &'static str,
}

fn case(call: Call, http_status: u16, body: &str, expected: &'static str) -> Case {
    Case {
        call,
        reply: Reply::json(http_status, body),
        expected,
    }
}

fn raw(call: Call, reply: Reply, expected: &'static str) -> Case {
    Case {
        call,
        reply,
        expected,
    }
}

const HTML: &str = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";

/// The answers of the API itself, one or more for each row.
pub fn answers() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(refusals());
    cases.extend(named_statuses());
    cases.extend(parallel_lists());
    cases.extend(unexplained());
    cases.extend(client_errors());
    cases.extend(key_errors());
    cases.extend(missing());
    cases.extend(server_errors());
    cases.extend(malformed());
    cases
}

fn refusals() -> Vec<Case> {
    let documented = r#"{"Errors":["Answer is incorrect, try again."],"ErrorsCode":["ErrorIncorrectAnswer"],"IsSucceed":false}"#;
    let older = r#"{ "Errors": ["Answer is incorrect, try again."], "IsSucceed": false }"#;
    vec![
        case(
            Reset,
            200,
            documented,
            "FailedPrecondition SECRET_QUESTION_ANSWER_REQUIRED caller refused httpStatus=200 upstreamCodes=ErrorIncorrectAnswer <SECRET_QUESTION_ANSWER secret_question_answer call GetSecretQuestion, ask the trader, and call again with the answer> \"Answer is incorrect, try again.\"",
        ),
        case(
            ResetWithAnswer,
            200,
            documented,
            "InvalidArgument SECRET_QUESTION_ANSWER_INCORRECT caller refused httpStatus=200 upstreamCodes=ErrorIncorrectAnswer [secret_question_answer: must be the answer to the trader's secret question] \"Answer is incorrect, try again.\"",
        ),
        case(
            Reset,
            200,
            older,
            "FailedPrecondition SECRET_QUESTION_ANSWER_REQUIRED caller refused httpStatus=200 <SECRET_QUESTION_ANSWER secret_question_answer call GetSecretQuestion, ask the trader, and call again with the answer> \"Answer is incorrect, try again.\"",
        ),
        case(
            ResetWithAnswer,
            200,
            older,
            "InvalidArgument SECRET_QUESTION_ANSWER_INCORRECT caller refused httpStatus=200 [secret_question_answer: must be the answer to the trader's secret question] \"Answer is incorrect, try again.\"",
        ),
        case(
            Reset,
            200,
            r#"{"ERRORS":["ANSWER IS INCORRECT"],"errorscode":null,"isSucceed":false,"statusCode":"Continue"}"#,
            "FailedPrecondition SECRET_QUESTION_ANSWER_REQUIRED caller refused httpStatus=200 <SECRET_QUESTION_ANSWER secret_question_answer call GetSecretQuestion, ask the trader, and call again with the answer> \"ANSWER IS INCORRECT\"",
        ),
        case(
            Reset,
            200,
            r#"{"Errors":null,"ErrorsCode":["errorincorrectanswer"],"IsSucceed":false}"#,
            "FailedPrecondition SECRET_QUESTION_ANSWER_REQUIRED caller refused httpStatus=200 upstreamCodes=errorincorrectanswer <SECRET_QUESTION_ANSWER secret_question_answer call GetSecretQuestion, ask the trader, and call again with the answer>",
        ),
        case(
            ResetWithAnswer,
            400,
            documented,
            "InvalidArgument SECRET_QUESTION_ANSWER_INCORRECT caller refused httpStatus=400 upstreamCodes=ErrorIncorrectAnswer [secret_question_answer: must be the answer to the trader's secret question] \"Answer is incorrect, try again.\"",
        ),
        // A text that is not the answer's, though it says "incorrect", and a code that comes before any text.
        case(
            Reset,
            200,
            r#"{"Errors":["User is incorrect"],"IsSucceed":false}"#,
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200 \"User is incorrect\"",
        ),
        case(
            Reset,
            200,
            r#"{"Errors":["Answer is incorrect"],"ErrorsCode":["ErrorLocked"],"IsSucceed":false}"#,
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200 upstreamCodes=ErrorLocked \"Answer is incorrect\"",
        ),
        // The other steps have no answer.
        case(
            Token,
            200,
            r#"{"Errors":["Code is incorrect"],"ErrorsCode":["ErrorIncorrectCode"],"IsSucceed":false}"#,
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200 upstreamCodes=ErrorIncorrectCode \"Code is incorrect\"",
        ),
        case(
            Password,
            200,
            documented,
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200 upstreamCodes=ErrorIncorrectAnswer \"Answer is incorrect, try again.\"",
        ),
        case(
            Token,
            200,
            r#"{"Model":null,"Errors":["No."],"ErrorsCode":null,"StatusCode":"Continue","IsSucceed":false}"#,
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200 \"No.\"",
        ),
        case(
            Token,
            200,
            r#"{"Errors":["No.", "Never."],"IsSucceed":true}"#,
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200 \"No. Never.\"",
        ),
        case(
            Question,
            200,
            r#"{"Errors":["No."],"StatusCode":"NotFound","IsSucceed":false}"#,
            "NotFound UPSTREAM_REFUSED caller refused httpStatus=200 \"No.\"",
        ),
        case(
            Password,
            200,
            r#"{"Errors":["No."],"StatusCode":"BadRequest","IsSucceed":false}"#,
            "InvalidArgument UPSTREAM_REFUSED caller refused httpStatus=200 \"No.\"",
        ),
        case(
            Password,
            200,
            r#"{"Errors":["No."],"StatusCode":"Unauthorized"}"#,
            "PermissionDenied UPSTREAM_REFUSED caller refused httpStatus=200 \"No.\"",
        ),
        case(
            Password,
            200,
            r#"{"Errors":["No."],"StatusCode":"Forbidden"}"#,
            "PermissionDenied UPSTREAM_REFUSED caller refused httpStatus=200 \"No.\"",
        ),
        case(
            Password,
            200,
            r#"{"Errors":["No."],"StatusCode":"Conflict"}"#,
            "Aborted UPSTREAM_REFUSED caller refused httpStatus=200 \"No.\"",
        ),
        case(
            Password,
            200,
            r#"{"Errors":["No."],"StatusCode":"TooManyRequests"}"#,
            "ResourceExhausted UPSTREAM_REFUSED upstream refused httpStatus=200 \"No.\"",
        ),
        case(
            Password,
            200,
            r#"{"Errors":["No."],"StatusCode":"NotImplemented"}"#,
            "Unimplemented UPSTREAM_REFUSED upstream refused httpStatus=200 \"No.\"",
        ),
        case(
            Password,
            200,
            r#"{"Errors":["No."],"StatusCode":"InternalServerError"}"#,
            "Internal UPSTREAM_REFUSED upstream unknown httpStatus=200 \"No.\"",
        ),
        case(
            Password,
            200,
            r#"{"Errors":["No."],"StatusCode":"ServiceUnavailable"}"#,
            "Internal UPSTREAM_REFUSED upstream unknown httpStatus=200 \"No.\"",
        ),
        case(
            Password,
            200,
            r#"{"Errors":["No."],"StatusCode":"GatewayTimeout"}"#,
            "DeadlineExceeded UPSTREAM_REFUSED upstream unknown httpStatus=200 \"No.\"",
        ),
        case(
            Password,
            200,
            r#"{"Errors":["No."],"StatusCode":"Teapot"}"#,
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200 \"No.\"",
        ),
    ]
}

/// "or by `StatusCode` when that says something"
fn named_statuses() -> Vec<Case> {
    [
        (
            "BadRequest",
            "InvalidArgument UPSTREAM_REFUSED caller refused httpStatus=200",
        ),
        (
            "badrequest",
            "InvalidArgument UPSTREAM_REFUSED caller refused httpStatus=200",
        ),
        (
            "RequestEntityTooLarge",
            "InvalidArgument UPSTREAM_REFUSED caller refused httpStatus=200",
        ),
        (
            "UnprocessableEntity",
            "InvalidArgument UPSTREAM_REFUSED caller refused httpStatus=200",
        ),
        (
            "UnprocessableContent",
            "InvalidArgument UPSTREAM_REFUSED caller refused httpStatus=200",
        ),
        (
            "PaymentRequired",
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200",
        ),
        (
            "NotAcceptable",
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200",
        ),
        (
            "PreconditionFailed",
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200",
        ),
        (
            "Locked",
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200",
        ),
        (
            "OK",
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200",
        ),
        (
            "Gone",
            "NotFound UPSTREAM_REFUSED caller refused httpStatus=200",
        ),
        (
            "MethodNotAllowed",
            "Unimplemented UPSTREAM_REFUSED upstream refused httpStatus=200",
        ),
        (
            "RequestTimeout",
            "DeadlineExceeded UPSTREAM_REFUSED upstream unknown httpStatus=200",
        ),
        (
            "BadGateway",
            "Internal UPSTREAM_REFUSED upstream unknown httpStatus=200",
        ),
    ]
    .into_iter()
    .map(|(name, expected)| {
        case(
            Token,
            200,
            &format!(r#"{{"ErrorsCode":[null],"StatusCode":"{name}"}}"#),
            expected,
        )
    })
    .collect()
}

/// `Errors` and `ErrorsCode` are parallel, and an entry of either may be missing.
fn parallel_lists() -> Vec<Case> {
    let incorrect = "Answer is incorrect, try again.";
    vec![
        case(
            Reset,
            200,
            r#"{"Errors":[null],"IsSucceed":false}"#,
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200",
        ),
        case(
            Password,
            200,
            r#"{"Errors":[null],"IsSucceed":true}"#,
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=200",
        ),
        case(
            Reset,
            200,
            &format!(r#"{{"Errors":["{incorrect}"],"ErrorsCode":[""],"IsSucceed":false}}"#),
            "FailedPrecondition SECRET_QUESTION_ANSWER_REQUIRED caller refused httpStatus=200 <SECRET_QUESTION_ANSWER secret_question_answer call GetSecretQuestion, ask the trader, and call again with the answer> \"Answer is incorrect, try again.\"",
        ),
        case(
            ResetWithAnswer,
            200,
            &format!(
                r#"{{"Errors":["{incorrect}","Locked."],"ErrorsCode":[null,"ErrorLocked"],"IsSucceed":false}}"#
            ),
            "InvalidArgument SECRET_QUESTION_ANSWER_INCORRECT caller refused httpStatus=200 upstreamCodes=ErrorLocked [secret_question_answer: must be the answer to the trader's secret question] \"Answer is incorrect, try again. Locked.\"",
        ),
    ]
}

fn unexplained() -> Vec<Case> {
    let silent = r#"{ "Errors": [], "IsSucceed": false }"#;
    let expected = "Unknown UPSTREAM_UNEXPLAINED upstream unknown httpStatus=200";
    vec![
        case(Question, 200, silent, expected),
        case(Token, 200, silent, expected),
        case(Password, 200, r#"{ "IsSucceed": false }"#, expected),
        case(
            Password,
            200,
            r#"{ "errors": [], "issucceed": false }"#,
            expected,
        ),
        case(
            Password,
            200,
            r#"{ "Errors": null, "ErrorsCode": null, "Model": null, "StatusCode": null, "IsSucceed": false }"#,
            expected,
        ),
    ]
}

fn client_errors() -> Vec<Case> {
    let state = r#"{"Message":"Validation error occured while processing entity","ModelState":{"userPassword.OldPassword":["Password is required"]}}"#;
    vec![
        case(
            Password,
            400,
            r#"{"Message":"The request is invalid."}"#,
            "InvalidArgument UPSTREAM_REFUSED caller refused httpStatus=400",
        ),
        case(
            Reset,
            400,
            r#"{"message":"The request is invalid."}"#,
            "InvalidArgument UPSTREAM_REFUSED caller refused httpStatus=400",
        ),
        case(
            Reset,
            400,
            r#"{"MESSAGE":null}"#,
            "InvalidArgument UPSTREAM_REFUSED caller refused httpStatus=400",
        ),
        case(
            Reset,
            400,
            "",
            "InvalidArgument UPSTREAM_REFUSED caller refused httpStatus=400",
        ),
        raw(
            Reset,
            Reply::with(400, &[("Content-Type", "text/html")], HTML),
            "InvalidArgument UPSTREAM_REFUSED caller refused httpStatus=400",
        ),
        case(
            Password,
            422,
            state,
            "InvalidArgument VALIDATION_FAILED caller refused httpStatus=422 [old_password: Password is required]",
        ),
        case(
            Password,
            422,
            r#"{"message":"…","modelstate":{"PasswordConfirmation":"must equal","x.token":["is used","is old"]}}"#,
            "InvalidArgument VALIDATION_FAILED caller refused httpStatus=422 [password_confirmation: must equal] [token: is used is old]",
        ),
        case(
            Password,
            422,
            r#"{"Message":"Validation error occured","ModelState":null}"#,
            "InvalidArgument VALIDATION_FAILED caller refused httpStatus=422",
        ),
        case(
            Password,
            422,
            r#"{"Message":"Validation error occured"}"#,
            "InvalidArgument VALIDATION_FAILED caller refused httpStatus=422",
        ),
        case(
            Password,
            422,
            r#"{"MODELSTATE":{"USERPASSWORD.PASSWORDCONFIRMATION":["x",null],"x.oldPassword":"y","x.token[0]":[null]}}"#,
            "InvalidArgument VALIDATION_FAILED caller refused httpStatus=422 [password_confirmation: x] [old_password: y] [token: ]",
        ),
        case(
            Password,
            422,
            r#"{"ModelState":{"":["a"],"x. b":["c"],"x.<i>":["d"]}}"#,
            "InvalidArgument VALIDATION_FAILED caller refused httpStatus=422 [: a] [: c] [: d]",
        ),
        case(
            Password,
            422,
            r#"{"Errors":["no"],"ErrorsCode":["Error Locked","1Error","<b>","ErrorOk"]}"#,
            "InvalidArgument VALIDATION_FAILED caller refused httpStatus=422 upstreamCodes=ErrorOk \"no\"",
        ),
        case(
            Password,
            422,
            "",
            "InvalidArgument VALIDATION_FAILED caller refused httpStatus=422",
        ),
        case(
            Reset,
            400,
            r#"{"Message":"The request is invalid.","ModelState":{"reset.User":["is required"]}}"#,
            "InvalidArgument VALIDATION_FAILED caller refused httpStatus=400 [user: is required]",
        ),
        case(
            Reset,
            403,
            r#"{"Message":"Not from here."}"#,
            "PermissionDenied UPSTREAM_REFUSED caller refused httpStatus=403",
        ),
        raw(
            Reset,
            Reply::with(403, &[("Content-Type", "text/html")], HTML),
            "PermissionDenied UPSTREAM_REFUSED caller refused httpStatus=403",
        ),
        case(
            Password,
            409,
            r#"{"Message":"Conflict"}"#,
            "Aborted UPSTREAM_CONFLICT caller refused httpStatus=409",
        ),
        case(
            Password,
            409,
            r#"{"message":null}"#,
            "Aborted UPSTREAM_CONFLICT caller refused httpStatus=409",
        ),
        case(
            Password,
            409,
            "",
            "Aborted UPSTREAM_CONFLICT caller refused httpStatus=409",
        ),
        case(
            Token,
            429,
            r#"{"Message":"Too many"}"#,
            "ResourceExhausted UPSTREAM_RATE_LIMITED upstream refused httpStatus=429",
        ),
        raw(
            Token,
            Reply::with(429, &[("Retry-After", "7")], ""),
            "ResourceExhausted UPSTREAM_RATE_LIMITED upstream refused httpStatus=429 retry=7s",
        ),
        raw(
            Token,
            Reply::with(429, &[("Retry-After", "86400")], ""),
            "ResourceExhausted UPSTREAM_RATE_LIMITED upstream refused httpStatus=429 retry=300s",
        ),
        raw(
            Token,
            Reply::with(429, &[("Retry-After", "Sat, 21 Nov 2015 12:00:00 GMT")], ""),
            "ResourceExhausted UPSTREAM_RATE_LIMITED upstream refused httpStatus=429 retry=0s",
        ),
        raw(
            Token,
            Reply::with(429, &[("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT")], ""),
            "ResourceExhausted UPSTREAM_RATE_LIMITED upstream refused httpStatus=429 retry=300s",
        ),
        case(
            Token,
            418,
            "",
            "FailedPrecondition UPSTREAM_REFUSED caller refused httpStatus=418",
        ),
        case(
            Token,
            408,
            "",
            "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown httpStatus=408",
        ),
    ]
}

/// With the gateway's own key.
fn key_errors() -> Vec<Case> {
    let key = r#"{"error":"Application key is not defined or does not exist"}"#;
    vec![
        case(
            Reset,
            403,
            key,
            "Internal APP_KEY_REJECTED gateway refused httpStatus=403",
        ),
        case(
            Question,
            403,
            r#"{"Error":"APPLICATION KEY is not defined"}"#,
            "Internal APP_KEY_REJECTED gateway refused httpStatus=403",
        ),
        case(
            Token,
            401,
            r#"{"Message":"Authorization has been denied for this request."}"#,
            "Internal APP_KEY_REJECTED gateway refused httpStatus=401",
        ),
        case(
            Password,
            401,
            "",
            "Internal APP_KEY_REJECTED gateway refused httpStatus=401",
        ),
    ]
}

fn missing() -> Vec<Case> {
    let found = "NotFound UPSTREAM_NOT_FOUND caller refused httpStatus=404";
    let missing = |status: u16| match status {
        400 => {
            "Unimplemented UPSTREAM_ENDPOINT_MISSING upstream refused httpStatus=400 upstreamCodes=UnsupportedApiVersion"
        }
        _ => {
            "Unimplemented UPSTREAM_ENDPOINT_MISSING upstream refused httpStatus=405 upstreamCodes=UnsupportedApiVersion"
        }
    };
    let version = r#"{"Error":{"Code":"UnsupportedApiVersion","Message":"The requested resource with API version '1.0' does not support HTTP method 'GET'."}}"#;
    vec![
        case(
            Question,
            404,
            r#"{"Message":"Resource was not found"}"#,
            found,
        ),
        case(
            Question,
            404,
            r#"{"message":"Resource was not found"}"#,
            found,
        ),
        case(Question, 404, r#"{"Message":null}"#, found),
        case(Question, 404, "{}", found),
        case(Question, 404, "null", found),
        case(Question, 404, "\r\n", found),
        raw(
            Question,
            Reply::with(
                404,
                &[("Content-Type", "text/html")],
                r#"{"Message":"Resource was not found"}"#,
            ),
            found,
        ),
        case(Question, 404, "", found),
        case(
            Reset,
            404,
            r#"{"message":"no http resource was found that matches the request URI 'https://api/'."}"#,
            "Unimplemented UPSTREAM_ENDPOINT_MISSING upstream refused httpStatus=404",
        ),
        case(
            Reset,
            404,
            r#"{"Message":"No HTTP resource was found that matches the request URI 'https://api/v1.0/users?username=some.trader'."}"#,
            "Unimplemented UPSTREAM_ENDPOINT_MISSING upstream refused httpStatus=404",
        ),
        raw(
            Reset,
            Reply::with(404, &[("Content-Type", "text/html")], HTML),
            "Unimplemented UPSTREAM_ENDPOINT_MISSING upstream refused httpStatus=404",
        ),
        raw(
            Reset,
            Reply::with(404, &[("Content-Type", "text/plain")], "404 page not found"),
            "Unimplemented UPSTREAM_ENDPOINT_MISSING upstream refused httpStatus=404",
        ),
        case(
            Token,
            405,
            "",
            "Unimplemented UPSTREAM_ENDPOINT_MISSING upstream refused httpStatus=405",
        ),
        case(Token, 405, version, missing(405)),
        case(Token, 400, version, missing(400)),
        case(
            Token,
            400,
            r#"{"error":{"code":"unsupportedapiversion","message":"…"}}"#,
            "Unimplemented UPSTREAM_ENDPOINT_MISSING upstream refused httpStatus=400 upstreamCodes=unsupportedapiversion",
        ),
        case(
            Token,
            405,
            r#"{"error":{"code":"UnsupportedApiVersion"}}"#,
            missing(405),
        ),
        case(
            Token,
            400,
            r#"{"Error":null}"#,
            "InvalidArgument UPSTREAM_REFUSED caller refused httpStatus=400",
        ),
        case(
            Token,
            400,
            r#"{"Error":{"Code":null}}"#,
            "InvalidArgument UPSTREAM_REFUSED caller refused httpStatus=400",
        ),
        case(
            Token,
            501,
            "",
            "Unimplemented UPSTREAM_ENDPOINT_MISSING upstream refused httpStatus=501",
        ),
    ]
}

fn server_errors() -> Vec<Case> {
    let fault = r#"{"message":"An error occurred while processing your request","error":"Unexpected server error","ExceptionMessage":"secret","ExceptionType":"T","StackTrace":"at"}"#;
    vec![
        case(
            Reset,
            500,
            fault,
            "Internal UPSTREAM_FAILED upstream unknown httpStatus=500",
        ),
        case(
            Reset,
            500,
            r#"{"Message":"An error has occurred.","Error":null}"#,
            "Internal UPSTREAM_FAILED upstream unknown httpStatus=500",
        ),
        case(
            Question,
            500,
            "",
            "Internal UPSTREAM_FAILED upstream unknown httpStatus=500",
        ),
        // The texts of a server fault are not passed on.
        case(
            Password,
            500,
            r#"{"Errors":["at System.Data.SqlClient"],"ErrorsCode":["ErrorSql"],"IsSucceed":false}"#,
            "Internal UPSTREAM_FAILED upstream unknown httpStatus=500 upstreamCodes=ErrorSql",
        ),
        case(
            Password,
            507,
            "",
            "Internal UPSTREAM_FAILED upstream unknown httpStatus=507",
        ),
        raw(
            Question,
            Reply::with(502, &[("Content-Type", "text/html")], HTML),
            "Unavailable UPSTREAM_UNAVAILABLE upstream refused httpStatus=502",
        ),
        raw(
            Password,
            Reply::with(502, &[("Content-Type", "text/html")], HTML),
            "Unknown UPSTREAM_OUTCOME_UNKNOWN upstream unknown httpStatus=502",
        ),
        case(
            Reset,
            502,
            "",
            "Unknown UPSTREAM_OUTCOME_UNKNOWN upstream unknown httpStatus=502",
        ),
        case(
            Token,
            502,
            "",
            "Unknown UPSTREAM_OUTCOME_UNKNOWN upstream unknown httpStatus=502",
        ),
        case(
            Password,
            503,
            "",
            "Unavailable UPSTREAM_UNAVAILABLE upstream refused httpStatus=503",
        ),
        raw(
            Question,
            Reply::with(503, &[("Retry-After", "7")], HTML),
            "Unavailable UPSTREAM_UNAVAILABLE upstream refused httpStatus=503 retry=7s",
        ),
        case(
            Question,
            504,
            "",
            "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown httpStatus=504",
        ),
        case(
            Password,
            504,
            HTML,
            "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown httpStatus=504",
        ),
        raw(
            Password,
            Reply::with(
                307,
                &[("Location", "http://elsewhere.invalid/?x=secret")],
                "",
            ),
            "Internal UPSTREAM_REDIRECTED upstream unknown httpStatus=307",
        ),
        raw(
            Question,
            Reply::with(302, &[("Location", "/login")], HTML),
            "Internal UPSTREAM_REDIRECTED upstream unknown httpStatus=302",
        ),
    ]
}

fn malformed() -> Vec<Case> {
    let malformed = "Internal UPSTREAM_MALFORMED upstream unknown httpStatus=200";
    let json = |body: &str| (Question, Reply::json(200, body));
    let mut cases: Vec<_> = [
        json(""),
        json("null"),
        json("[]"),
        json("\"ok\""),
        json("{}"),
        json(r#"{"Model":"cut o"#),
        json(r#"{"Model":7,"Errors":[],"IsSucceed":true}"#),
        json(r#"{"Model":"x","Errors":[],"IsSucceed":"true"}"#),
        json(r#"{"Model":"x","Errors":"none","IsSucceed":true}"#),
        json(r#"{"Model":"x","Errors":[],"IsSucceed":true,"issucceed":false}"#),
        json(r#"{"Model":"x","Errors":[],"IsSucceed":true} trailing"#),
        (Token, Reply::json(200, r#"{"Errors":[],"IsSucceed":true}"#)),
        (
            Token,
            Reply::json(200, r#"{"Model":"","Errors":[],"IsSucceed":true}"#),
        ),
        (
            Token,
            Reply::json(200, r#"{"Model":null,"Errors":[],"IsSucceed":true}"#),
        ),
        (Reset, Reply::json(200, r#"{"Errors":[]}"#)),
        (
            Reset,
            Reply::with(
                200,
                &[("Content-Type", "text/html")],
                "<html>Welcome</html>",
            ),
        ),
        (
            Password,
            Reply::with(
                200,
                &[("Content-Type", "text/html")],
                r#"{"Errors":[],"IsSucceed":true}"#,
            ),
        ),
        (
            Password,
            Reply::with(
                200,
                &[("Content-Type", "TEXT/HTML")],
                r#"{"Errors":[],"IsSucceed":true}"#,
            ),
        ),
        (
            Password,
            Reply::json(
                200,
                r#"{"Errors":["Half an answer."],"Model":[],"IsSucceed":7}"#,
            ),
        ),
        (
            Password,
            Reply::with(200, &[("Content-Type", "text/plain")], "OK"),
        ),
    ]
    .into_iter()
    .map(|(call, reply)| raw(call, reply, malformed))
    .collect();
    cases.push(raw(
        Password,
        Reply::with(204, &[], ""),
        "Internal UPSTREAM_MALFORMED upstream unknown httpStatus=204",
    ));
    let long = "x".repeat(64 * 1024 + 1);
    cases.push(case(
        Token,
        200,
        &long,
        "Internal UPSTREAM_RESPONSE_TOO_LARGE upstream unknown httpStatus=200",
    ));
    cases
}

#[tokio::test]
async fn every_answer_becomes_the_status_of_the_table() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &[&["--app-key", KEY][..], &UNLIMITED].concat());
    let mut client = gateway.client().await;
    let mut sentences = HashMap::new();
    for Case {
        call,
        reply,
        expected,
    } in answers()
    {
        let shown = format!("{call:?} {}", text(&reply));
        api.reply(reply);
        let status = call.make(&mut client, Plain).await.expect_err(&shown);
        check(&status);
        let reason = expected.split(' ').nth(1).unwrap();
        let sentence = sentences
            .entry(reason)
            .or_insert_with(|| status.message().to_owned());
        assert_eq!(status.message(), sentence, "one sentence a reason: {shown}");
        assert_eq!(summary(&status), expected, "{shown}");
        let passes = call == Question
            && ["502", "504"]
                .iter()
                .any(|it| expected.ends_with(&format!("httpStatus={it}")));
        assert_eq!(api.requests().len(), if passes { 3 } else { 1 }, "{shown}");
    }
}

#[tokio::test]
async fn every_documented_success_is_ok() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    let mut successes: Vec<_> = Call::ALL
        .into_iter()
        .map(|call| (call, call.success()))
        .collect();
    successes.extend([
        (Reset, r#"{ "Errors": [], "IsSucceed": true }"#),
        (
            Reset,
            r#"{ "Errors": null, "ErrorsCode": null, "Model": null, "StatusCode": "Continue", "IsSucceed": false }"#,
        ),
        (Reset, r#"{ "isSucceed": false }"#),
        (Reset, r#"{ "Errors": [], "StatusCode": "BadRequest", "IsSucceed": false }"#),
        (Question, r#"{ "model": "x", "errors": [], "errorsCode": [], "statusCode": "OK", "isSucceed": true }"#),
        (Question, r#"{ "Model": "", "Errors": [], "IsSucceed": true }"#),
        (Question, r#"{ "Model": null, "IsSucceed": true }"#),
        (Password, "\u{feff}{ \"Errors\": [], \"IsSucceed\": true }"),
        (Password, r#"{ "Model": {"any": ["thing"]}, "Errors": [], "IsSucceed": true, "More": {"nested": [1]} }"#),
    ]);
    for (call, body) in successes {
        api.reply(Reply::json(200, body));
        assert!(
            call.make(&mut client, Plain).await.is_ok(),
            "{call:?} {body}"
        );
    }
    for http_status in [201, 202] {
        api.reply(Reply::json(http_status, Token.success()));
        assert!(
            Token.make(&mut client, Plain).await.is_ok(),
            "{http_status}"
        );
    }
    // Whatever the type that the API forgets or gets wrong.
    for headers in [
        &[][..],
        &[("Content-Type", "text/json")],
        &[("Content-Type", "text/plain")],
    ] {
        api.reply(Reply::with(200, headers, Password.success()));
        assert!(
            Password.make(&mut client, Plain).await.is_ok(),
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn a_rejected_key_is_the_callers_when_the_caller_sent_it() {
    let api = Api::start(Reply::json(
        403,
        r#"{"error":"Application key is not defined or does not exist"}"#,
    ))
    .await;
    let gateway = Gateway::with(&api.url(), &[]);
    let mut client = gateway.client().await;
    for (http_status, body, expected) in [
        (
            403,
            r#"{"error":"Application key is not defined or does not exist"}"#,
            "Unauthenticated APP_KEY_REJECTED caller refused httpStatus=403",
        ),
        (
            401,
            r#"{"Message":"Authorization has been denied for this request."}"#,
            "Unauthenticated APP_KEY_REJECTED caller refused httpStatus=401",
        ),
    ] {
        api.reply(Reply::json(http_status, body));
        let status = Reset
            .make(&mut client, Metadata(&[("et-app-key", "callers-key")]))
            .await
            .unwrap_err();
        assert_eq!(summary(&status), expected);
        assert!(api.requests()[0].contains("\r\net-app-key: callers-key\r\n"));
    }
}

#[tokio::test]
async fn without_any_key_nothing_is_sent() {
    let api = Api::start(Reply::json(200, Reset.success())).await;
    let gateway = Gateway::with(&api.url(), &[]);
    let mut client = gateway.client().await;
    for metadata in [
        Metadata(&[]),
        Metadata(&[("et-app-key", "")]),
        Metadata(&[("et-app-key", "not a key")]),
    ] {
        let status = Reset.make(&mut client, metadata).await.unwrap_err();
        assert_eq!(
            summary(&status),
            "Unauthenticated APP_KEY_MISSING caller not_sent"
        );
    }
    assert!(api.requests().is_empty());
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_is_unavailable() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let plain = no_tls().await;
    // No name has a part of more than 63 characters, so this one is looked up nowhere.
    let unresolvable = format!("http://{}.invalid", "x".repeat(64));
    for url in [
        format!("http://{closed}"),
        unresolvable,
        format!("https://{plain}"),
    ] {
        for call in Call::ALL {
            // A new one each time, which has not yet found out.
            let gateway = Gateway::before(&url);
            let status = call
                .make(&mut gateway.client().await, Plain)
                .await
                .unwrap_err();
            check(&status);
            assert_eq!(
                summary(&status),
                "Unavailable UPSTREAM_UNREACHABLE upstream not_sent",
                "{url} {call:?}"
            );
        }
    }
}

/// The address of a server that does not understand TLS.
async fn no_tls() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream
                .write_all(&bytes(400, &[], b"this is plain HTTP"))
                .await;
        }
    });
    address
}

#[tokio::test]
async fn a_connection_that_breaks_is_unknown_for_writes_alone() {
    let api = Api::start(Reply::Last(Vec::new())).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    let half = bytes(200, &[("Content-Length", "100")], b"");
    let half = half[..half.len() - b"Content-Length: 0\r\n\r\n".len()].to_vec();
    let cut_off = [half, b"\r\n{\"Model\":".to_vec()].concat();
    for reply in [Vec::new(), b"not HTTP".to_vec(), cut_off] {
        api.reply(Reply::Last(reply.clone()));
        for call in Call::ALL {
            let status = call.make(&mut client, Plain).await.unwrap_err();
            check(&status);
            let expected = match call {
                Question => "Unavailable UPSTREAM_UNAVAILABLE upstream refused",
                _ => "Unknown UPSTREAM_OUTCOME_UNKNOWN upstream unknown",
            };
            assert_eq!(
                summary(&status),
                expected,
                "{call:?} {}",
                String::from_utf8_lossy(&reply)
            );
            assert_eq!(
                api.requests().len(),
                if call == Question { 3 } else { 1 },
                "{call:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_passed_deadline_tells_whether_the_call_was_sent() {
    let silent = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&silent.url());
    for call in Call::ALL {
        let status = within_500_ms(&gateway, call).await;
        assert_eq!(
            status, "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown",
            "{call:?}"
        );
    }
    assert_eq!(silent.requests().len(), Call::ALL.len());

    let (full, mute) = (
        FullListener::start().await,
        Api::start(Reply::Silence).await,
    );
    for url in [full.url(), mute.url().replace("http:", "https:")] {
        let gateway = Gateway::before(&url);
        for call in Call::ALL {
            let status = within_500_ms(&gateway, call).await;
            assert_eq!(
                status, "DeadlineExceeded UPSTREAM_TIMEOUT upstream not_sent",
                "{url} {call:?}"
            );
        }
    }
}

/// The status of a call whose caller has no more patience than that, and no timer of its own.
async fn within_500_ms(gateway: &Gateway, call: Call) -> String {
    let path = format!(
        "/autoshares.passwordreset.v1.PasswordResetService/{}",
        call.rpc()
    );
    let request = post(&path, "application/grpc").header("grpc-timeout", "500m");
    status_of(&send(gateway, request, call.framed()).await.1)
}

#[tokio::test]
async fn the_gateways_own_deadline_counts_without_a_callers() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", "k", "--timeout", "100ms"]);
    let mut client = gateway.client().await;
    let status = Password.make(&mut client, Plain).await.unwrap_err();
    assert_eq!(
        summary(&status),
        "DeadlineExceeded UPSTREAM_TIMEOUT upstream unknown"
    );
}

#[tokio::test]
async fn a_connection_that_is_never_made_is_unreachable() {
    let full = FullListener::start().await;
    for call in Call::ALL {
        let gateway = Gateway::with(
            &full.url(),
            &["--app-key", "k", "--connect-timeout", "100ms"],
        );
        let status = call
            .make(&mut gateway.client().await, Plain)
            .await
            .unwrap_err();
        assert_eq!(
            summary(&status),
            "Unavailable UPSTREAM_UNREACHABLE upstream not_sent",
            "{call:?}"
        );
    }
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", "k", "--max-in-flight", "1"]);
    let mut waiting = gateway.client().await;
    let waiting = tokio::spawn(async move { Reset.make(&mut waiting, Plain).await });
    crate::support::gateway::within(|| !api.requests().is_empty()).await;
    let mut client = gateway.client().await;
    let status = Reset.make(&mut client, Plain).await.unwrap_err();
    assert_eq!(
        summary(&status),
        "ResourceExhausted GATEWAY_OVERLOADED gateway not_sent retry=1s"
    );
    assert!(api.requests().is_empty());
    waiting.abort();
}

#[tokio::test]
async fn what_the_api_says_is_cut_to_size_and_never_repeats_the_request() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    let field = |n: usize| {
        format!(
            r#""x.Field{n}{}":["{} a-token {} A NEW PASSWORD"]"#,
            "y".repeat(40),
            "ü".repeat(600),
            "<p>"
        )
    };
    let state: Vec<_> = (0..30).map(field).collect();
    let codes = vec![format!("\"{}\"", "E".repeat(64)); 100].join(",");
    let body = format!(
        r#"{{"ModelState":{{{}}},"ErrorsCode":[{codes}],"Errors":["a%20new%20password","no a-token"]}}"#,
        state.join(",")
    );
    api.reply(Reply::json(422, &body));
    let status = Password.make(&mut client, Plain).await.unwrap_err();
    check(&status);
    let text = summary(&status);
    for private in ["a-token", "A NEW PASSWORD", "a%20new%20password"] {
        assert!(
            !text.to_lowercase().contains(&private.to_lowercase()),
            "{text}"
        );
    }
    assert!(
        text.matches('[').count() <= 8 && text.matches("EEEE,").count() <= 8,
        "{text}"
    );
    let passed_on: usize = text.matches('ü').count() * 'ü'.len_utf8();
    assert!(
        (400..=512).contains(&passed_on),
        "{passed_on} bytes of {text}"
    );
}

#[tokio::test]
async fn no_code_name_or_text_repeats_a_value_or_the_key() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::with(&api.url(), &["--app-key", "GWKEY-0f3a9"]);
    let mut client = gateway.client().await;
    for (http_status, body) in [
        (
            200,
            r#"{"Errors":["Application GWKEY-0f3a9 is over its quota"],"ErrorsCode":["GWKEY-0f3a9","a-token","ErrorQuota"]}"#,
        ),
        (
            422,
            r#"{"ModelState":{"x.aNewPassword":["no"],"x.GWKEY_0f3a9":["gwkey-0F3A9"],"x.A_TOKEN":["a&#45;token"]}}"#,
        ),
    ] {
        api.reply(Reply::json(http_status, body));
        let status = Password.make(&mut client, Plain).await.unwrap_err();
        let text = format!(
            "{} {}",
            summary(&status),
            String::from_utf8_lossy(status.details())
        )
        .to_lowercase();
        for private in [
            "gwkey",
            "0f3a9",
            "a-token",
            "a_token",
            "a_new_password",
            "&#45;",
        ] {
            assert!(!text.contains(private), "{private}: {text}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_length_is_cut_off_at_the_limit() {
    let api = Api::start(Reply::Silence).await;
    let gateway = Gateway::before(&api.url());
    let mut client = gateway.client().await;
    let endless = |length: usize| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
        Reply::Last([&head[..], Token.success().as_bytes(), &vec![b' '; length]].concat())
    };
    api.reply(endless(1000));
    Token.make(&mut client, Plain).await.unwrap();
    api.reply(endless(70_000));
    let status = Token.make(&mut client, Plain).await.unwrap_err();
    assert_eq!(
        summary(&status),
        "Internal UPSTREAM_RESPONSE_TOO_LARGE upstream unknown httpStatus=200"
    );
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Bytes(bytes) | Reply::Last(bytes) | Reply::Late(_, bytes) | Reply::Held(bytes) => {
            String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
        }
        Reply::Silence | Reply::By(_) => "nothing".to_owned(),
        Reply::Reset => "a reset".to_owned(),
    }
}

/// An address where connections are neither made nor refused: the listener's queue is full.
pub struct FullListener {
    listener: tokio::net::TcpListener,
    _queued: Vec<tokio::net::TcpStream>,
}

impl FullListener {
    pub async fn start() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        let connect = || {
            tokio::time::timeout(
                Duration::from_millis(100),
                tokio::net::TcpStream::connect(address),
            )
        };
        while let Ok(stream) = connect().await {
            queued.push(stream.unwrap());
        }
        Self {
            listener,
            _queued: queued,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }
}
