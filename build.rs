//! Compiles the contract in `proto/` to Rust with protox, so that a build needs no `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

const PROTO: &str = "autoshares/passwordreset/v1/password_reset.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).open_files([PROTO])?;

    // Reflection serves this set.
    fs::write(
        out_dir.join("password_reset.bin"),
        compiler.encode_file_descriptor_set(),
    )?;

    // `src/proto.rs` implements `Debug` for every message, without the values.
    let descriptors = compiler.file_descriptor_set();
    let messages: Vec<_> = descriptors
        .file
        .iter()
        .flat_map(|file| file.message_type.iter().map(|m| (file.package(), m.name())))
        .map(|(package, message)| format!(".{package}.{message}"))
        .collect();
    tonic_prost_build::configure()
        .skip_debug(messages)
        .compile_fds(descriptors)?;
    Ok(())
}
