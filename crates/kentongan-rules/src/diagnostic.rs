//! What is wrong in a rules file, or a file that it names: where, what, and a way out, as data and as text with a caret.

use std::fmt;

/// One problem. Its `Display` is the text for a terminal, with a caret under the place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Stable name of the kind of problem.
    pub code: Code,
    /// The file, as the rules file names it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters of `text` stand before the place. Less than `column` on very long lines.
    pub indent: usize,
    /// How many characters are meant, at least 1.
    pub width: usize,
    /// The line of the file, or what stands around the place. A secret in it is blanked out.
    pub text: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub way_out: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, .. } = self;
        let number = line.to_string();
        let gap = " ".repeat(number.len());
        // Control characters would move the caret, or the terminal's cursor.
        let text: String = self.text.chars().map(visible).collect();
        let caret = " ".repeat(self.indent) + &"^".repeat(self.width);
        writeln!(f, "error[{}]: {}", self.code, self.message)?;
        writeln!(f, "{gap}--> {}:{line}:{column}", self.file)?;
        writeln!(f, "{gap} |")?;
        writeln!(f, "{number} | {}", text.trim_end())?;
        writeln!(f, "{gap} | {caret}")?;
        write!(f, "{gap} = help: {}", self.way_out)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Kinds of problems. The names are stable: they are for programs and for searching.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All codes, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name as text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// A file that is named cannot be read.
    File = "file",
    /// A path that leads out of the folder of the rules file.
    Path = "path",
    /// The rules file is not TOML.
    Syntax = "syntax",
    /// A setting that does not exist.
    UnknownSetting = "unknown_setting",
    /// A setting that has to be there.
    MissingSetting = "missing_setting",
    /// A value of the wrong type.
    WrongType = "wrong_type",
    /// A value that is not one of those that exist.
    UnknownValue = "unknown_value",
    /// Not a duration.
    Duration = "duration",
    /// Not a size.
    Size = "size",
    /// A number outside its range.
    Range = "range",
    /// More of something than is possible.
    TooMany = "too_many",
    /// A name that cannot be one.
    Name = "name",
    /// A room pattern that cannot be one.
    Pattern = "pattern",
    /// A room pattern with a claim that is not in the token.
    UnknownClaim = "unknown_claim",
    /// Two features could both own one room.
    SharedRoom = "shared_room",
    /// A secret that stands in the rules file.
    SecretInFile = "secret_in_file",
    /// An address, origin or store that cannot be one.
    Address = "address",
    /// Thresholds that contradict each other.
    Order = "order",
    /// `stale` is shorter than the heartbeat can notice.
    StaleTooShort = "stale_too_short",
    /// A log without a window.
    NoWindow = "no_window",
    /// A setting that has no meaning for this delivery kind.
    NotForKind = "not_for_kind",
    /// A message larger than the server takes.
    OverWireLimit = "over_wire_limit",
    /// A file that is not JSON, or has a key twice.
    Json = "json",
    /// Not a JSON Schema 2020-12, or one that we do not take.
    Schema = "schema",
    /// A schema that leads to other documents.
    RemoteReference = "remote_reference",
    /// A schema that applies to itself without end, or too many subschemas to one value.
    SchemaWork = "schema_work",
    /// A schema that does not accept its own example.
    Example = "example",
    /// Versions with holes, or casts without anything that proves them.
    Versions = "versions",
    /// Not a JSON Patch, or one that we do not take.
    Cast = "cast",
    /// A cast whose result the other version does not accept.
    CastResult = "cast_result",
    /// Not a Cedar policy.
    Policy = "policy",
    /// A policy that does not fit the features.
    PolicyTypes = "policy_types",
    /// Features, but no policy: nobody could do anything.
    NoPolicies = "no_policies",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The most similar of `known`, as a question, or a list of all of them.
pub(crate) fn did_you_mean(given: &str, known: &[&str]) -> String {
    nearest(given, known).unwrap_or_else(|| format!("there is {}", list(known)))
}

/// The most similar of `known`, as a question, when one is similar enough to be a slip.
pub(crate) fn nearest(given: &str, known: &[&str]) -> Option<String> {
    // The distance takes time in proportion to the length.
    const GIVEN_BYTES_MAX: usize = 64;
    if given.len() > GIVEN_BYTES_MAX {
        return None;
    }
    let best = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .min();
    match best {
        Some((distance, name)) if distance <= 2 && distance < name.len() => {
            Some(format!("did you mean `{name}`?"))
        }
        _ => None,
    }
}

/// "`a`, `b` and `c`"
pub(crate) fn list(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => format!("`{one}`"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|name| format!("`{name}`")).collect();
            format!("{} and `{last}`", first.join(", "))
        }
    }
}

/// A character that takes one column and does nothing else.
pub(crate) fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        control if control.is_control() => '\u{fffd}',
        // Characters that turn the direction of the text could show a line that is not there.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => '\u{fffd}',
        other => other,
    }
}
