//! Turns the contract in `proto/` into Rust, without protoc: the messages and the service, the REST binding of each
//! rpc, and a `Debug` for each message that keeps the fields marked `debug_redact` to itself.

use std::{collections::BTreeSet, env, error::Error, fmt::Write, fs, path::PathBuf};

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, Value};

const PROTO: &str = "autoshares/passwordreset/v1/password_reset.proto";
const SERVICE: &str = "autoshares.passwordreset.v1.PasswordResetService";
/// The API version that the contract is written against. `--upstream-api-version` puts another in its place, so a
/// path is kept without it.
const API_VERSION: &str = "1.0";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_source_info(true)
        .include_imports(true)
        .open_files([PROTO])?;
    let pool = compiler.descriptor_pool();
    let private: Vec<_> = messages(&pool)
        .filter(|message| message.fields().any(|f| is_redacted(&f.options())))
        .collect();

    // `compile_fds` would not write it, and `file_descriptor_set` drops the options that reflection has to show.
    fs::write(
        out.join("password_reset.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    fs::write(out.join("bindings.rs"), bindings(&pool)?)?;
    fs::write(
        out.join("redacted_debug.rs"),
        private.iter().map(redacted_debug).collect::<String>(),
    )?;
    tonic_prost_build::configure()
        .codec_path("crate::codec::Codec")
        .skip_debug(private.iter().map(|message| message.full_name()))
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// The messages of our own package.
fn messages(pool: &DescriptorPool) -> impl Iterator<Item = MessageDescriptor> + '_ {
    pool.all_messages().filter(|message| {
        SERVICE.starts_with(message.package_name()) && message.package_name() != ""
    })
}

fn is_redacted(field_options: &DynamicMessage) -> bool {
    field_options
        .get_field_by_name("debug_redact")
        .is_some_and(|value| value.as_bool() == Some(true))
}

/// `impl Debug` that shows whether a redacted field has a value, and nothing of the value.
fn redacted_debug(message: &MessageDescriptor) -> String {
    let mut fields = String::new();
    for field in message.fields() {
        let name = field.name();
        let shown = match (is_redacted(&field.options()), field.supports_presence()) {
            (false, _) => format!("&self.{name}"),
            (true, false) => "&format_args!(\"[redacted]\")".to_owned(),
            (true, true) => format!("&self.{name}.as_ref().map(|_| format_args!(\"[redacted]\"))"),
        };
        fields += &format!(".field({name:?}, {shown})");
    }
    format!(
        "impl ::core::fmt::Debug for {name} {{
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{
                f.debug_struct({name:?}){fields}.finish()
            }}
        }}\n",
        name = message.name()
    )
}

/// `Rpc::binding`, one arm an rpc: a new rpc in the contract does not compile before the code knows it.
fn bindings(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let service = pool
        .get_service_by_name(SERVICE)
        .ok_or("the contract has lost its service")?;
    let fields: BTreeSet<_> = service
        .methods()
        .flat_map(|method| {
            method
                .input()
                .fields()
                .map(|field| field.name().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    let fields = Vec::from_iter(fields);
    let mut arms = String::new();
    for method in service.methods() {
        let (verb, path) = http_rule(pool, &method)
            .ok_or_else(|| format!("{} has no google.api.http", method.name()))?;
        let path = path
            .strip_prefix(&format!("/v{API_VERSION}"))
            .ok_or_else(|| {
                format!(
                    "{}: {path} does not begin with /v{API_VERSION}",
                    method.name()
                )
            })?;
        writeln!(
            arms,
            "Self::{name} => &Binding {{ name: {name:?}, full_name: \"{SERVICE}/{name}\", http_method: http::Method::{verb}, \
             http_path: {path:?}, only_reads: {only_reads} }},",
            name = method.name(),
            only_reads = only_reads(&method),
        )?;
    }
    Ok(format!(
        "/// The API version that the contract is written against.
        pub const API_VERSION: &str = {API_VERSION:?};
        /// The names of the fields that requests have.
        pub(crate) const REQUEST_FIELDS: &[&str] = &{fields:?};
        impl Rpc {{ const fn binding(self) -> &'static Binding {{ match self {{ {arms} }} }} }}"
    ))
}

/// The HTTP method, in capitals, and the path of the rpc's `google.api.http` option.
fn http_rule(pool: &DescriptorPool, method: &MethodDescriptor) -> Option<(String, String)> {
    let extension = pool.get_extension_by_name("google.api.http")?;
    let options = method.options();
    let rule = options.get_extension(&extension).as_message()?.clone();
    let (verb, path) = ["get", "put", "post", "delete", "patch"]
        .into_iter()
        .find_map(|verb| {
            let path = rule.get_field_by_name(verb)?;
            path.as_str()
                .filter(|path| !path.is_empty())
                .map(|path| (verb.to_uppercase(), path.to_owned()))
        })?;
    Some((verb, path))
}

/// Whether the rpc is marked `NO_SIDE_EFFECTS`.
fn only_reads(method: &MethodDescriptor) -> bool {
    const NO_SIDE_EFFECTS: i32 = 1;
    let level = method
        .options()
        .get_field_by_name("idempotency_level")
        .map(|value| value.into_owned());
    level == Some(Value::EnumNumber(NO_SIDE_EFFECTS))
}
