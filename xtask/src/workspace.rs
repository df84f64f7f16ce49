//! Where things are: the root of the repository, the target folder, the files that belong to the project.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// Folders that hold what was built or fetched, never what was written.
const FOLDERS_NOT_OURS: [&str; 7] = [
    ".git",
    ".venv",
    "__pycache__",
    "artifacts",
    "dist",
    "node_modules",
    "target",
];

/// The cargo profile of what tests and the demo run: optimized, and quick to build. It is also a folder of the target.
pub(crate) const PROFILE: &str = "optimized";

/// The repository on this machine.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's target folder; logs, tools and virtual environments of the tasks live in it too.
    pub(crate) target: PathBuf,
    /// This program, found once at the start: a test run may replace the file while it is running.
    pub(crate) xtask: PathBuf,
}

impl Workspace {
    pub(crate) fn locate() -> Result<Self, Failure> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .ok_or_else(|| Failure::new("xtask must lie in a folder of the workspace"))?
            .to_path_buf();
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |target| root.join(target));
        Ok(Self {
            root,
            target,
            xtask: env::current_exe()?,
        })
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.target.join("xtask-logs")
    }

    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Every file of the project, sorted; what was built or fetched is left out.
    pub(crate) fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        collect(&self.root, &mut files)?;
        files.sort();
        Ok(files)
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name();
        if kind.is_dir() {
            if !FOLDERS_NOT_OURS.iter().any(|folder| name == *folder) {
                collect(&entry.path(), files)?;
            }
        } else if kind.is_file() && name != ".git" {
            files.push(entry.path());
        }
    }
    Ok(())
}
