//! Compiles `proto/` with a compiler in pure Rust, so that a build needs no system tool.

use std::{env, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 6] = [
    "platform/v1/platform.proto",
    "inference/v1/ollama_proxy.proto",
    "agents/v1/agent_orchestrator.proto",
    "tasks/v1/task_coordinator.proto",
    "tasks/v1/events.proto",
    "tasks/v1/dead_letters.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES)?;
    let descriptors = compiler.file_descriptor_set();

    let out = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // No `connect` on the clients: `mesh::channel` is their only transport.
        .build_transport(false)
        .bytes(".tasks.v1.Payload.data")
        .compile_fds(descriptors)?;
    Ok(())
}
