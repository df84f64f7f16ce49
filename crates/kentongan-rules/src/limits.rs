//! Every limit of this crate, with a name and a reason. Nothing here can be set: what can be set is in `settings`.

/// Bytes of one file: rules, schema, cast or policies. All of them are written by hand.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Problems that one run reports. Whoever has a hundred wants to see the first.
pub const DIAGNOSTICS_MAX: usize = 100;
/// Features in one rules file.
pub const FEATURES_MAX: usize = 256;
/// Message types in one feature.
pub const MESSAGES_MAX: usize = 256;
/// Bytes of a feature's or message's name. They become event names and metric labels.
pub const NAME_BYTES_MAX: usize = 64;
/// Segments of a room pattern.
pub const PATTERN_SEGMENTS_MAX: usize = 16;
/// Bytes of a room's name.
pub const ROOM_BYTES_MAX: usize = 256;
/// Bytes around the data of a message: names of event and room, ids, brackets. `max` and this fit into the server's limit.
pub const ENVELOPE_BYTES: u64 = 1024;
/// How deep the data of a message may be nested. `serde_json` itself stops at 128.
pub const DATA_DEPTH_MAX: usize = 64;
/// Values (including keys) in the data of one message.
pub const DATA_VALUES_MAX: usize = 10_000;
/// Subschemas that may apply to one value of the data. Keeps the work per value bounded.
pub const SCHEMA_STEPS_MAX: usize = 1_000;
/// Bytes that one compiled regular expression of a schema may take.
pub const REGEX_BYTES_MAX: usize = 1024 * 1024;
/// Older versions of one message.
pub const OLDER_MAX: usize = 16;
/// Operations of one cast.
pub const CAST_OPERATIONS_MAX: usize = 64;
/// `copy` operations of one cast. Each can double the data.
pub const CAST_COPIES_MAX: usize = 4;
/// Policies in all files together. A decision that is not remembered looks at each of them.
pub const POLICIES_MAX: usize = 1_000;
/// Remembered decisions. When it is reached, the half that is older goes.
pub const DECISIONS_MAX: usize = 65_536;
/// Projects, and roles, of one user.
pub const CLAIM_ENTRIES_MAX: usize = 1_000;
/// Bytes of one claim: user, organization, a project, a role.
pub const CLAIM_BYTES_MAX: usize = 256;

const _: () = assert!(DATA_DEPTH_MAX < 128, "serde_json would stop first");
const _: () = assert!(DECISIONS_MAX >= 2, "two halves");
