//! Every field of the contracts says what it means.

use crate::tree::Tree;

fn faults(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| path.ends_with(".proto")) {
        let mut before = "";
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if is_field(line) && !before.starts_with("//") {
                faults.push(format!("{path}:{} has no comment: {line}", number + 1));
            }
            before = line;
        }
    }
    faults
}

/// `type name = number;`, perhaps with a label; values of enums have no type.
fn is_field(line: &str) -> bool {
    let Some((left, right)) = line.split_once(" = ") else {
        return false;
    };
    let numbered = right
        .strip_suffix(';')
        .is_some_and(|number| number.parse::<u32>().is_ok());
    numbered && left.contains(' ')
}

#[test]
fn fields_say_what_they_mean() {
    crate::assert_none(&faults(&crate::repository()));
}

#[test]
fn a_planted_silent_field_is_found() {
    let text = "message A {\n  // Name.\n  string name = 1;\n  repeated string mute = 2;\n}\nenum E {\n  E_NONE = 0;\n}";
    let tree = Tree::of([("proto/a.proto", text)]);
    crate::assert_found(&faults(&tree), "mute");
}
