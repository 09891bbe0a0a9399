//! Files that read top to bottom: short ones.

use crate::tree::Tree;

/// Longest file, in lines, its trailing test module not counted.
const LONGEST: usize = 500;
/// What half of the files have to keep.
const MEDIAN: usize = 120;
/// What nine of ten files have to keep.
const NINE_OF_TEN: usize = 350;

fn faults(tree: &Tree) -> Vec<String> {
    let mut lengths: Vec<(usize, &str)> = tree
        .files()
        .filter(|(path, _)| path.ends_with(".rs"))
        .map(|(path, text)| {
            (
                text.lines()
                    .take_while(|line| !line.starts_with("#[cfg(test)]"))
                    .count(),
                path,
            )
        })
        .collect();
    lengths.sort_unstable();
    let long = lengths.iter().filter(|(lines, _)| *lines > LONGEST);
    let mut faults: Vec<String> = long
        .map(|(lines, path)| format!("{path} has {lines} lines, more than {LONGEST}"))
        .collect();
    for (name, at, limit) in [("median", 50, MEDIAN), ("ninth decile", 90, NINE_OF_TEN)] {
        let Some((lines, _)) = lengths.get(lengths.len() * at / 100) else {
            continue;
        };
        if *lines > limit {
            faults.push(format!(
                "the {name} file has {lines} lines, more than {limit}"
            ));
        }
    }
    faults
}

#[test]
fn files_keep_their_budget() {
    crate::assert_none(&faults(&crate::repository()));
}

#[test]
fn a_planted_giant_is_found() {
    let giant = "fn f() {}\n".repeat(LONGEST + 1);
    let tests = format!("fn f() {{}}\n#[cfg(test)]\n{giant}");
    let tree = Tree::of([
        ("a.rs", ""),
        ("b.rs", ""),
        ("c.rs", ""),
        ("d.rs", ""),
        ("e.rs", &tests),
    ]);
    crate::assert_none(&faults(&tree));
    let filler: Vec<String> = (0..20).map(|i| format!("{i}.rs")).collect();
    let mut files: Vec<(&str, &str)> = filler.iter().map(|path| (path.as_str(), "")).collect();
    files.push(("giant.rs", &giant));
    let tree = Tree::of::<21>(files.try_into().expect("twenty-one files"));
    crate::assert_found(&faults(&tree), "giant.rs");
}

#[test]
fn a_tree_of_long_files_is_found() {
    let long = "fn f() {}\n".repeat(MEDIAN + 1);
    crate::assert_found(&faults(&Tree::of([("a.rs", &long)])), "median");
}
