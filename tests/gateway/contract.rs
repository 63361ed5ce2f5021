//! Parts of the contract that the code repeats agree with it: REST bindings, field names, reasons, and redacted fields.

use std::{collections::BTreeSet, fmt::Debug};

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, ServiceDescriptor, Value,
};
use reset_gateway::{
    proto::{
        ErrorReason, FILE_DESCRIPTOR_SET, GenerateTokenRequest, GenerateTokenResponse,
        GetSecretQuestionRequest, GetSecretQuestionResponse, ResetPasswordRequest,
        ResetPasswordResponse, UpdatePasswordRequest, UpdatePasswordResponse,
    },
    rpc::{API_VERSION, REQUEST_FIELDS, Rpc, UpstreamRelease},
};
use serde_json::{Value as Json, json};

const PACKAGE: &str = "autoshares.passwordreset.v1";
const CANARY: &str = "canary-6b1f";
const CONTRACT: &str = include_str!("../../proto/autoshares/passwordreset/v1/password_reset.proto");

fn pool() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap()
}

fn service() -> ServiceDescriptor {
    pool()
        .get_service_by_name(&format!("{PACKAGE}.PasswordResetService"))
        .unwrap()
}

/// `{:?}` and `{:#?}` of the Rust message that decodes from this one.
fn debug_of(message: &DynamicMessage) -> String {
    fn shown<M: Message + Default + Debug>(bytes: &[u8]) -> String {
        let message = M::decode(bytes).unwrap();
        format!("{message:?} {message:#?}")
    }
    let bytes = message.encode_to_vec();
    match message.descriptor().name() {
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

/// The HTTP method and the path in the rpc's comment.
fn rest_call(rpc: Rpc) -> &'static str {
    let (comment, _) = CONTRACT
        .split_once(&format!("  rpc {}(", rpc.name()))
        .unwrap();
    let line = comment.lines().next_back().unwrap();
    line.strip_prefix("  // REST: ").unwrap()
}

#[test]
fn every_rpc_is_bound_as_the_contract_says() {
    const NO_SIDE_EFFECTS: i32 = 1;
    let methods: Vec<_> = service().methods().collect();
    assert_eq!(methods.len(), Rpc::ALL.len());
    for (method, rpc) in methods.iter().zip(Rpc::ALL) {
        let full_name = format!("{}/{}", service().full_name(), method.name());
        let rest = |release| {
            let path = rpc.http_path(release);
            format!("{} /v{API_VERSION}{path}", rpc.http_method())
        };
        let options = method.options();
        let idempotency_level = options.get_field_by_name("idempotency_level").unwrap();
        assert_eq!(rpc.name(), method.name());
        assert_eq!(rpc.full_name(), full_name);
        assert_eq!(Rpc::by_path(&format!("/{full_name}")), Some(rpc));
        let etna = rest(UpstreamRelease::Etna);
        let rest = rest(UpstreamRelease::AutoShares);
        if rpc == Rpc::GenerateToken {
            assert_eq!(rest_call(rpc), format!("{rest}, in newer releases {etna}"));
        } else {
            assert_eq!((rest_call(rpc), &*etna), (&*rest, &*rest));
        }
        assert_eq!(
            idempotency_level.as_enum_number() == Some(NO_SIDE_EFFECTS),
            rpc.is_read_only(),
            "{rpc:?}"
        );
    }
}

#[test]
fn the_request_fields_are_those_of_the_contract() {
    let fields: BTreeSet<_> = service()
        .methods()
        .flat_map(|method| method.input().fields().collect::<Vec<_>>())
        .map(|field| field.name().to_owned())
        .collect();
    assert_eq!(fields, REQUEST_FIELDS.map(str::to_owned).into());
}

#[test]
fn debug_shows_no_value_of_any_field() {
    let is_ours = |message: &MessageDescriptor| message.package_name() == PACKAGE;
    let mut fields = 0;
    for descriptor in pool().all_messages().filter(is_ours) {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            fields += 1;
            message.set_field(&field, Value::String(CANARY.to_owned()));
        }
        let shown = debug_of(&message);
        assert!(!shown.contains(CANARY), "{shown}");
        assert!(shown.contains(descriptor.name()), "{shown}");
    }
    assert_eq!(fields, 12);
}

#[test]
fn every_reason_is_a_valid_error_info_reason() {
    let reasons = pool()
        .get_enum_by_name(&format!("{PACKAGE}.ErrorReason"))
        .unwrap();
    for reason in reasons.values() {
        let name = reason.name();
        assert!(name.len() <= 63, "{name}");
        assert!(
            name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'),
            "{name}"
        );
        let generated = ErrorReason::try_from(reason.number()).unwrap();
        assert_eq!(generated.as_str_name(), name);
    }
}

#[test]
fn the_contract_imports_nothing() {
    let file = pool().get_file_by_name("autoshares/passwordreset/v1/password_reset.proto");
    assert_eq!(file.unwrap().dependencies().count(), 0);
    assert_eq!(pool().files().count(), 1);
}

/// Asserts that the text is a service config by gRFC A6 that retries only what is safe to call again, and gives the names
/// of its methods.
fn retried(config: &str) -> Vec<String> {
    let config: Json = serde_json::from_str(config).unwrap();
    let [methods] = &config["methodConfig"].as_array().unwrap()[..] else {
        panic!("{config}")
    };
    let policy = &methods["retryPolicy"];
    let seconds = |key: &str| -> f64 {
        let text = policy[key].as_str().unwrap().strip_suffix('s').unwrap();
        text.parse().unwrap()
    };
    assert_eq!(policy["retryableStatusCodes"], json!(["UNAVAILABLE"]));
    assert!((2..=5).contains(&policy["maxAttempts"].as_u64().unwrap()));
    assert!(0.0 < seconds("initialBackoff") && seconds("initialBackoff") <= seconds("maxBackoff"));
    assert!(policy["backoffMultiplier"].as_f64().unwrap() > 0.0);
    let throttling = &config["retryThrottling"];
    assert!((1..=1000).contains(&throttling["maxTokens"].as_u64().unwrap()));
    assert!(throttling["tokenRatio"].as_f64().unwrap() > 0.0);
    assert_eq!(methods.as_object().unwrap().len(), 2, "{methods}");
    assert_eq!(policy.as_object().unwrap().len(), 5, "{policy}");
    let names = methods["name"].as_array().unwrap();
    names.iter().flat_map(methods_named).collect()
}

/// The methods that a name in a service config stands for. Without a method it is all of the service's.
fn methods_named(name: &Json) -> Vec<String> {
    assert_eq!(name["service"], service().full_name());
    let is_named = |rpc: &Rpc| {
        name.get("method")
            .is_none_or(|method| *method == *rpc.name())
    };
    let named: Vec<_> = Rpc::ALL.into_iter().filter(is_named).collect();
    assert!(!named.is_empty(), "{name} does not exist");
    named.iter().map(|rpc| rpc.name().to_owned()).collect()
}

#[test]
fn the_service_configs_retry_methods_of_the_contract() {
    let reads = Rpc::ALL.into_iter().filter(|rpc| rpc.is_read_only());
    assert_eq!(
        retried(include_str!("../../deploy/grpc/retry-reads.json")),
        reads.map(Rpc::name).collect::<Vec<_>>()
    );
    assert_eq!(
        retried(include_str!("../../deploy/grpc/retry-with-request-id.json")),
        Rpc::ALL.map(Rpc::name)
    );
}
