//! A rules file, compiled: features, contracts, policies, and the pure decisions that are made from them.
//!
//! This crate owns what a `kentongan.toml` means. It reads texts through [`Files`], which the caller implements, and knows no
//! sockets, no clock, no runtime and no store. `docs/rules.md` is the reference of the file, `docs/defaults.md` lists
//! what holds when it is silent.
//!
//! ```
//! use std::collections::BTreeMap;
//! use kentongan_rules::{Action, Identity, compile, plan};
//!
//! let files = BTreeMap::from([
//!     (
//!         "kentongan.toml".to_owned(),
//!         r#"
//!             [auth]
//!             claims   = { org = "org" }
//!             policies = ["main.cedar"]
//!
//!             [features.chat]
//!             kind   = "log"
//!             room   = "chat/{org}/{room}"
//!             replay = { messages = 1000, age = "7d" }
//!
//!             [features.chat.messages.wave]
//!         "#
//!         .to_owned(),
//!     ),
//!     (
//!         "main.cedar".to_owned(),
//!         "permit (principal, action in Action::\"chat\", resource) when { principal.org == resource.org };".to_owned(),
//!     ),
//! ]);
//! let rules = compile(&files, "kentongan.toml").expect("nothing is wrong with it");
//! let anna = Identity::new("anna", "acme", [], []).expect("a user");
//! let room = rules.room("chat/acme/general").expect("a room of the chat");
//! assert!(rules.authorize(&anna, Action::Join, &room).allowed);
//!
//! let grant = rules
//!     .admit(&anna, "chat.wave", "chat/acme/general", 1, "null")
//!     .expect("she may");
//! assert!(plan(&grant).append);
//! assert!(rules.admit(&anna, "chat.wave", "chat/other/general", 1, "null").is_err());
//! ```
#![warn(clippy::indexing_slicing)]

mod compile;
mod contract;
mod defaults;
mod delivery;
mod describe;
mod diagnostic;
pub mod limits;
mod pattern;
mod policy;
mod rules;
pub mod settings;
mod source;
mod syntax;

pub use compile::compile;
pub use contract::{Contract, ContractError, ValidData};
pub use delivery::{Class, Plan, Reply, Targets, plan};
pub use diagnostic::{Code, Diagnostic};
pub use pattern::{Claim, Field, PatternError, RoomPattern};
pub use policy::{Action, Decision, Identity, IdentityError, Policies};
pub use rules::{Feature, Grant, Message, Refusal, Room, Rules};
pub use source::{Files, ReadError};
