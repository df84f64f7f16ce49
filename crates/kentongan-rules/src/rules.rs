//! A compiled rules file: its features and messages, and the one door through which every message comes,
//! [`Rules::admit`]. Immutable; a reload makes a new one.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::contract::{Contract, ContractError, ValidData};
use crate::pattern::{Claim, RoomPattern};
use crate::policy::{Action, Decision, Identity, Policies};
use crate::settings::{Auth, Kind, Presence, Rate, Sender, Server, Show, Tabs, Window};

/// A compiled rules file.
#[derive(Debug)]
pub struct Rules {
    pub(crate) server: Server,
    pub(crate) auth: Auth,
    /// In the order of the file.
    pub(crate) features: Vec<Feature>,
    /// From an event's name to feature and message.
    pub(crate) events: HashMap<String, (usize, usize)>,
    pub(crate) policies: Policies,
}

/// A declared product feature.
#[derive(Debug)]
pub struct Feature {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) room: RoomPattern,
    pub(crate) delay: Duration,
    pub(crate) replay: Option<Window>,
    pub(crate) show: Show,
    pub(crate) tabs: Tabs,
    pub(crate) presence: Option<Presence>,
    pub(crate) messages: Vec<Message>,
}

/// A message type of a feature.
#[derive(Debug)]
pub struct Message {
    pub(crate) name: String,
    pub(crate) event: String,
    pub(crate) kind: Kind,
    pub(crate) from: Sender,
    pub(crate) rate: Rate,
    pub(crate) contract: Contract,
    /// True when there is a schema; without one the message has no data.
    pub(crate) has_data: bool,
}

/// One room: an instance of a feature.
#[derive(Debug, Clone)]
pub struct Room<'r> {
    feature: &'r Feature,
    name: &'r str,
    values: Vec<&'r str>,
}

/// That a message may be sent now: its data is valid and its sender has the right. Only [`Rules::admit`] and
/// [`Rules::admit_backend`] make one.
#[derive(Debug, Clone)]
pub struct Grant<'r> {
    room: Room<'r>,
    message: &'r Message,
    data: ValidData<'r>,
}

/// Who wants to send.
#[derive(Debug, Clone, Copy)]
enum Side<'i> {
    Client(&'i Identity),
    Backend,
}

/// Why a message is not let in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No feature has rooms of this name.
    #[error("there is no such room")]
    NoRoom,
    /// The room's feature has no message of this name.
    #[error("there is no such message in this room")]
    NoMessage,
    /// The data does not fit the contract.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// Clients do not send this message, or no policy permits it.
    #[error("not permitted")]
    Denied,
}

impl Refusal {
    /// Stable name of the refusal.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoRoom => "no_room",
            Self::NoMessage => "no_message",
            Self::Contract(error) => error.code(),
            Self::Denied => "denied",
        }
    }
}

impl Rules {
    /// `[server]`.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// `[auth]`.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// All features, in the order of the file.
    #[must_use]
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// The policies.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The feature of this name.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<&Feature> {
        self.features.iter().find(|feature| feature.name == name)
    }

    /// The message that an event means: `chat.post`.
    #[must_use]
    pub fn message(&self, event: &str) -> Option<(&Feature, &Message)> {
        let (feature, message) = self.events.get(event)?;
        let feature = self.features.get(*feature)?;
        Some((feature, feature.messages.get(*message)?))
    }

    /// The room of this name. At most one feature has it.
    #[must_use]
    pub fn room<'r>(&'r self, name: &'r str) -> Option<Room<'r>> {
        self.features.iter().find_map(|feature| {
            let values = feature.room.matches(name)?;
            Some(Room {
                feature,
                name,
                values,
            })
        })
    }

    /// Whether `identity` may do `action` in `room`. A message that clients do not send is never allowed.
    #[must_use]
    pub fn authorize(&self, identity: &Identity, action: Action<'_>, room: &Room<'_>) -> Decision {
        if let Action::Send(name) = action {
            let message = room.feature.message(name);
            if message.is_none_or(|message| message.from != Sender::Client) {
                return Decision::new(false, Vec::new());
            }
        }
        self.policies.authorize(identity, action, room)
    }

    /// Lets a client's message in: event, room, version and raw JSON data.
    ///
    /// # Errors
    /// The first thing that speaks against it, the cheapest first: room and message, size, form and schema, right.
    pub fn admit<'r>(
        &'r self,
        identity: &Identity,
        event: &str,
        room: &'r str,
        version: u32,
        raw: &'r str,
    ) -> Result<Grant<'r>, Refusal> {
        self.admit_from(Side::Client(identity), event, room, version, raw)
    }

    /// Lets a message of the backend in. The contract holds for the backend too; policies are about clients.
    ///
    /// # Errors
    /// Like [`Rules::admit`], except [`Refusal::Denied`].
    pub fn admit_backend<'r>(
        &'r self,
        event: &str,
        room: &'r str,
        version: u32,
        raw: &'r str,
    ) -> Result<Grant<'r>, Refusal> {
        self.admit_from(Side::Backend, event, room, version, raw)
    }

    fn admit_from<'r>(
        &'r self,
        side: Side<'_>,
        event: &str,
        room: &'r str,
        version: u32,
        raw: &'r str,
    ) -> Result<Grant<'r>, Refusal> {
        let (feature, message) = self.message(event).ok_or(Refusal::NoMessage)?;
        let room = self.room(room).ok_or(Refusal::NoRoom)?;
        if room.feature.name != feature.name {
            return Err(Refusal::NoMessage);
        }
        let data = message.contract.check(version, raw)?;
        if let Side::Client(identity) = side {
            let decision = self.authorize(identity, Action::Send(&message.name), &room);
            if !decision.allowed {
                return Err(Refusal::Denied);
            }
        }
        Ok(Grant {
            room,
            message,
            data,
        })
    }
}

impl Feature {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its delivery kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The names of its rooms.
    #[must_use]
    pub fn pattern(&self) -> &RoomPattern {
        &self.room
    }

    /// How long a message may be held, to go out with others.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// How much can be had again. A `log` always has a window, others never.
    #[must_use]
    pub fn replay(&self) -> Option<Window> {
        self.replay
    }

    /// From when the user is told what.
    #[must_use]
    pub fn show(&self) -> Show {
        self.show
    }

    /// What several tabs do.
    #[must_use]
    pub fn tabs(&self) -> Tabs {
        self.tabs
    }

    /// Whether it is known who is here.
    #[must_use]
    pub fn presence(&self) -> Option<Presence> {
        self.presence
    }

    /// Its messages, in the order of the file.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The message of this name, without the feature's.
    #[must_use]
    pub fn message(&self, name: &str) -> Option<&Message> {
        self.messages.iter().find(|message| message.name == name)
    }
}

impl Message {
    /// Its name within the feature: `post`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name as an event: `chat.post`.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.event
    }

    /// Its delivery kind: the feature's, or `signal`.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Who sends it.
    #[must_use]
    pub fn from(&self) -> Sender {
        self.from
    }

    /// How often one user may send it.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// What its data may be.
    #[must_use]
    pub fn contract(&self) -> &Contract {
        &self.contract
    }
}

impl<'r> Room<'r> {
    /// The feature that it is an instance of.
    #[must_use]
    pub fn feature(&self) -> &'r Feature {
        self.feature
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'r str {
        self.name
    }

    /// Names and values of the fields of its pattern.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let names = self.feature.room.fields().map(|field| field.name.as_str());
        names.zip(self.values.iter().copied())
    }

    /// The fields that must be what the user's token says.
    pub(crate) fn claimed(&self) -> impl Iterator<Item = (Claim, &str)> {
        let fields = self.feature.room.fields().zip(self.values.iter().copied());
        fields.filter_map(|(field, value)| Some((field.claim?, value)))
    }
}

impl<'r> Grant<'r> {
    /// The room.
    #[must_use]
    pub fn room(&self) -> &Room<'r> {
        &self.room
    }

    /// The message type.
    #[must_use]
    pub fn message(&self) -> &'r Message {
        self.message
    }

    /// The data, byte for byte as it came, with the proof that it is valid.
    #[must_use]
    pub fn data(&self) -> &ValidData<'r> {
        &self.data
    }
}

impl fmt::Display for Room<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
