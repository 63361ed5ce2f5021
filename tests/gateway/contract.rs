//! The contract as the build turns it into Rust: nothing private shows in a `Debug`, and the reasons are spelled as sent.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, Value};
use reset_gateway::proto::{
    ErrorReason, FILE_DESCRIPTOR_SET, GenerateTokenRequest, GenerateTokenResponse,
    GetSecretQuestionRequest, GetSecretQuestionResponse, ResetPasswordRequest,
    ResetPasswordResponse, UpdatePasswordRequest, UpdatePasswordResponse,
};

const PACKAGE: &str = "autoshares.passwordreset.v1";
const CANARY: &str = "canary-6b1f";

fn pool() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap()
}

fn messages() -> Vec<MessageDescriptor> {
    pool()
        .all_messages()
        .filter(|message| message.package_name() == PACKAGE)
        .collect()
}

fn is_redacted(field: &FieldDescriptor) -> bool {
    field
        .options()
        .get_field_by_name("debug_redact")
        .is_some_and(|value| value.as_bool() == Some(true))
}

/// The `Debug` of the Rust message, `{:?}` and `{:#?}`, with that value in that field.
fn debug_of(message: &MessageDescriptor, field: &FieldDescriptor, value: &str) -> String {
    let mut dynamic = DynamicMessage::new(message.clone());
    dynamic.set_field(field, Value::String(value.to_owned()));
    let bytes = dynamic.encode_to_vec();
    fn shown<M: Message + Default + std::fmt::Debug>(bytes: &[u8]) -> String {
        let message = M::decode(bytes).unwrap();
        format!("{message:?} {message:#?}")
    }
    match message.name() {
        "ResetPasswordRequest" => shown::<ResetPasswordRequest>(&bytes),
        "ResetPasswordResponse" => shown::<ResetPasswordResponse>(&bytes),
        "GetSecretQuestionRequest" => shown::<GetSecretQuestionRequest>(&bytes),
        "GetSecretQuestionResponse" => shown::<GetSecretQuestionResponse>(&bytes),
        "GenerateTokenRequest" => shown::<GenerateTokenRequest>(&bytes),
        "GenerateTokenResponse" => shown::<GenerateTokenResponse>(&bytes),
        "UpdatePasswordRequest" => shown::<UpdatePasswordRequest>(&bytes),
        "UpdatePasswordResponse" => shown::<UpdatePasswordResponse>(&bytes),
        other => panic!("{other} is not known to this test"),
    }
}

#[test]
fn every_field_is_marked_private_and_kept_out_of_debug() {
    let mut fields = 0;
    for message in messages() {
        for field in message.fields() {
            fields += 1;
            assert!(
                is_redacted(&field),
                "{}: anything that a message holds is private",
                field.full_name()
            );
            let shown = debug_of(&message, &field, CANARY);
            assert!(
                shown.contains(field.name()) && shown.contains("[redacted]"),
                "{shown}"
            );
            assert!(!shown.contains(CANARY), "{shown}");
        }
    }
    assert_eq!(fields, 9);
}

#[test]
fn an_absent_field_is_shown_as_absent() {
    let message = ResetPasswordRequest {
        user: "x".to_owned(),
        secret_question_answer: None,
    };
    assert_eq!(
        format!("{message:?}"),
        "ResetPasswordRequest { user: [redacted], secret_question_answer: None }"
    );
}

#[test]
fn every_reason_is_fit_for_an_error_info() {
    let reasons = pool()
        .get_enum_by_name(&format!("{PACKAGE}.ErrorReason"))
        .unwrap();
    for reason in reasons.values() {
        let name = reason.name();
        assert!(
            name.len() <= 63 && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'),
            "{name}"
        );
        assert_eq!(
            ErrorReason::try_from(reason.number())
                .unwrap()
                .as_str_name(),
            name
        );
    }
}

#[test]
fn reads_alone_are_marked_free_of_side_effects() {
    let service = pool()
        .get_service_by_name(&format!("{PACKAGE}.PasswordResetService"))
        .unwrap();
    for method in service.methods() {
        let level = method
            .options()
            .get_field_by_name("idempotency_level")
            .unwrap()
            .as_enum_number();
        let is_read = method.name() == "GetSecretQuestion";
        assert_eq!(level == Some(1), is_read, "{}", method.name());
    }
}
