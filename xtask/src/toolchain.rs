//! What the Rust toolchain says of itself.

use crate::{child, failure::Failure};

/// The system that rustc builds for, such as `x86_64-unknown-linux-gnu`.
pub(crate) fn host() -> Result<String, Failure> {
    let version =
        child::output("rustc", &["-vV"]).ok_or_else(|| Failure::new("rustc does not answer"))?;
    named(&version)
        .map(str::to_owned)
        .ok_or_else(|| Failure::new("rustc does not name its host"))
}

fn named(version: &str) -> Option<&str> {
    version.lines().find_map(|line| line.strip_prefix("host: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_read_from_what_rustc_says() {
        assert_eq!(
            named("rustc 1.95.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n"),
            Some("x86_64-unknown-linux-gnu")
        );
        assert_eq!(named("rustc 1.95.0\n"), None);
    }
}
