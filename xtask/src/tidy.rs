//! `cargo xtask tidy`: the rules of the tree that the compiler does not know.
//!
//! Each rule is a pure function from text to findings, in a file of its own; here the files are read and handed out.
//! The same run is a test of this crate, so `cargo test` finds an untidy tree too.

mod attacks;
mod graph;
mod links;
mod lock;
mod mask;
mod source;
mod text;
mod words;

use std::{fmt, fs, path::PathBuf};

use crate::{child, failure::Failure, tidy::mask::Masked, toolchain, workspace::Workspace};

/// One thing to put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The line, counted from 1; 0 when the whole file is meant.
    line: usize,
    text: String,
}

impl Finding {
    fn new(line: usize, text: impl Into<String>) -> Self {
        Self {
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str(&self.text)
        } else {
            write!(f, "{}: {}", self.line, self.text)
        }
    }
}

/// A text file of the project; files that are not UTF-8 (pictures) are not looked at.
struct SourceFile {
    /// From the root, with forward slashes.
    path: String,
    text: String,
}

/// Prints every finding; fails when there is one.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Failure> {
    let files = read(workspace)?;
    let findings = findings(workspace, &files)?;
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} files, {} findings", files.len(), findings.len());
    if findings.is_empty() {
        Ok(())
    } else {
        Err(Failure::new("the tree is not tidy"))
    }
}

fn findings(workspace: &Workspace, files: &[SourceFile]) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    let mut tests = Vec::new();
    for file in files {
        let mut found = text::check(&file.path, &file.text);
        found.extend(lock::check(&file.path, &file.text));
        if file.path.ends_with(".rs") {
            let masked = Masked::of(&file.text);
            found.extend(source::check(&file.path, &file.text, &masked));
            found.extend(words::check_rust(&file.path, &masked));
            tests.extend(attacks::test_names(&masked));
        }
        if file.path.ends_with(".md") {
            found.extend(words::check_markdown(&file.text));
            found.extend(links::check(&file.text, |link| {
                link_resolves(workspace, &file.path, link)
            }));
        }
        all.extend(
            found
                .into_iter()
                .map(|finding| format!("{}:{finding}", file.path)),
        );
    }

    match files.iter().find(|file| file.path == attacks::LIST) {
        Some(list) => all.extend(
            attacks::check(&list.text, &tests)
                .iter()
                .map(|finding| format!("{}:{finding}", attacks::LIST)),
        ),
        None => all.push(format!("{} is missing", attacks::LIST)),
    }
    let manifest = workspace.root.join("Cargo.toml");
    let metadata = child::output(
        "cargo",
        &[
            "metadata",
            "--format-version",
            "1",
            "--locked",
            // What other systems need does not reach this one.
            "--filter-platform",
            &toolchain::host()?,
            "--manifest-path",
            &manifest.to_string_lossy(),
        ],
    )
    .ok_or_else(|| Failure::new("`cargo metadata --locked` fails; is Cargo.lock up to date?"))?;
    all.extend(graph::check(&metadata)?);
    Ok(all)
}

fn read(workspace: &Workspace) -> Result<Vec<SourceFile>, Failure> {
    let mut files = Vec::new();
    for path in workspace.files()? {
        let Ok(text) = String::from_utf8(fs::read(&path)?) else {
            continue;
        };
        let relative = path.strip_prefix(&workspace.root).unwrap_or(&path);
        let path = relative
            .iter()
            .map(|part| part.to_string_lossy())
            .collect::<Vec<_>>()
            .join("/");
        files.push(SourceFile { path, text });
    }
    Ok(files)
}

fn link_resolves(workspace: &Workspace, document: &str, link: &str) -> bool {
    let mut path: PathBuf = workspace.root.join(document);
    path.pop();
    path.join(link).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_tree_is_tidy() {
        let workspace = Workspace::locate().unwrap();
        let files = read(&workspace).unwrap();
        assert!(
            files.iter().any(|file| file.path == "xtask/src/tidy.rs"),
            "the walk does not find this very file"
        );
        let findings = findings(&workspace, &files).unwrap();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}
