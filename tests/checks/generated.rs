//! What is generated equals what is committed; `make generate` writes it anew.

use crate::tree::Tree;

/// Each generated file with its text as of now.
fn generated() -> Vec<(&'static str, String)> {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    sutazai_cli::generate::files(root).expect("every file can be rendered")
}

fn faults(tree: &Tree, generated: &[(&'static str, String)]) -> Vec<String> {
    let stale = generated
        .iter()
        .filter(|(path, text)| tree.text(path) != Some(text.as_str()));
    stale
        .map(|(path, _)| format!("{path} is stale: run `make generate`"))
        .collect()
}

#[test]
fn generated_files_are_fresh() {
    let generated = generated();
    assert!(!generated.is_empty());
    crate::assert_none(&faults(&crate::repository(), &generated));
}

#[test]
fn an_edited_file_is_found() {
    let generated = [(".env.example", "A=1\n".to_owned())];
    let tree = Tree::of([(".env.example", "A=2\n")]);
    crate::assert_found(&faults(&tree, &generated), ".env.example");
}
