//! Policies: who may do what in which room. Cedar decides; nothing is allowed that no policy permits.
//! Decisions are remembered, by what they depend on. New policies are a new [`Policies`], with nothing remembered.

pub(crate) mod cache;
pub(crate) mod compile;
pub(crate) mod identity;
pub(crate) mod schema;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId,
    PolicySet, Request, RestrictedExpression,
};

use crate::pattern::Claim;
use crate::rules::Room;
use cache::{Cache, Key};

pub use identity::{Identity, IdentityError};

/// What somebody wants to do in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action<'a> {
    /// Be in the room and get its messages. `join:<feature>` in policies.
    Join,
    /// Read what was said before. `read:<feature>` in policies.
    Read,
    /// See who is in the room. `presence:<feature>` in policies.
    Presence,
    /// Send the message of this name, without the feature's. `<feature>.<message>` in policies.
    Send(&'a str),
}

/// Whether an action is allowed, and which policies decided that.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// True when it is allowed.
    pub allowed: bool,
    policies: Arc<[Arc<str>]>,
}

impl Decision {
    pub(crate) fn new(allowed: bool, policies: Vec<Arc<str>>) -> Self {
        Self {
            allowed,
            policies: policies.into(),
        }
    }

    /// The policies that decided, by their `@id`, or else by file and line; sorted. A refusal without any: no policy permits
    /// it, or the room's name asks for a claim that the user does not have.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        self.policies.iter().map(AsRef::as_ref)
    }
}

/// All policies of a rules file, compiled.
pub struct Policies {
    set: PolicySet,
    names: HashMap<PolicyId, Arc<str>>,
    /// Claims that the schema has.
    claims: BTreeSet<Claim>,
    /// True when some policy looks at who the user is, and not only at organization, projects and roles.
    is_personal: bool,
    /// Each action with the entities that say to which group it belongs.
    actions: BTreeMap<String, Arc<ActionEntities>>,
    authorizer: Authorizer,
    user_type: EntityTypeName,
    cache: Cache,
}

/// An action and its group.
struct ActionEntities {
    action: EntityUid,
    entities: [Entity; 2],
    room_type: EntityTypeName,
}

impl Policies {
    /// Decides. Takes no more than a look into a table when the same was decided before.
    pub(crate) fn authorize(
        &self,
        identity: &Identity,
        action: Action<'_>,
        room: &Room<'_>,
    ) -> Decision {
        if !has_claims_of(identity, room) {
            return Decision::new(false, Vec::new());
        }
        let name = action_name(room.feature().name(), action);
        let key = Key {
            class: &identity.class,
            user: self.is_personal.then_some(&*identity.user),
            action: &name,
            room: room.name(),
        };
        if let Some(decision) = self.cache.find(&key) {
            return decision;
        }
        let decision = self.decide(identity, &name, room);
        self.cache.remember(&key, &identity.class, decision.clone());
        decision
    }

    /// How many decisions are remembered; at most [`DECISIONS_MAX`](crate::limits::DECISIONS_MAX).
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.cache.len()
    }

    /// How many policies there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Decides anew. Whatever goes wrong on the way is a refusal.
    fn decide(&self, identity: &Identity, action: &str, room: &Room<'_>) -> Decision {
        self.evaluate(identity, action, room)
            .unwrap_or_else(|| Decision::new(false, Vec::new()))
    }

    fn evaluate(&self, identity: &Identity, action: &str, room: &Room<'_>) -> Option<Decision> {
        let action = self.actions.get(action)?;
        let user = EntityUid::from_type_name_and_id(
            self.user_type.clone(),
            EntityId::new(identity.user()),
        );
        let resource =
            EntityUid::from_type_name_and_id(action.room_type.clone(), EntityId::new(room.name()));
        let fields = room
            .fields()
            .map(|(name, value)| (name.to_owned(), text(value)))
            .collect();
        let [one, group] = action.entities.clone();
        let entities = [
            Entity::new(user.clone(), self.attributes(identity), HashSet::new()).ok()?,
            Entity::new(resource.clone(), fields, HashSet::new()).ok()?,
            one,
            group,
        ];
        let entities = Entities::from_entities(entities, None).ok()?;
        let request = Request::new(
            user,
            action.action.clone(),
            resource,
            Context::empty(),
            None,
        )
        .ok()?;
        let response = self
            .authorizer
            .is_authorized(&request, &self.set, &entities);
        // A policy that cannot be evaluated is skipped by Cedar. If it forbids, skipping it would permit.
        if response.diagnostics().errors().next().is_some() {
            return None;
        }
        let mut policies: Vec<Arc<str>> = response
            .diagnostics()
            .reason()
            .filter_map(|id| self.names.get(id).cloned())
            .collect();
        policies.sort_unstable();
        let allowed = response.decision() == cedar_policy::Decision::Allow;
        Some(Decision::new(allowed, policies))
    }

    fn attributes(&self, identity: &Identity) -> HashMap<String, RestrictedExpression> {
        let set = |entries: &[String]| {
            RestrictedExpression::new_set(entries.iter().map(|entry| text(entry)))
        };
        let mut attributes = HashMap::from([("id".to_owned(), text(identity.user()))]);
        for claim in &self.claims {
            let value = match claim {
                Claim::User => continue,
                Claim::Org => text(identity.org()),
                Claim::Projects => set(identity.projects()),
                Claim::Roles => set(identity.roles()),
            };
            attributes.insert(claim.as_str().to_owned(), value);
        }
        attributes
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies")
            .field("count", &self.count())
            .field("is_personal", &self.is_personal)
            .finish_non_exhaustive()
    }
}

/// True when every field that is bound to a claim is what the user's token says.
fn has_claims_of(identity: &Identity, room: &Room<'_>) -> bool {
    let has = |set: &[String], value: &str| set.iter().any(|entry| entry == value);
    room.claimed().all(|(claim, value)| match claim {
        Claim::User => identity.user() == value,
        Claim::Org => identity.org() == value,
        Claim::Projects => has(identity.projects(), value),
        Claim::Roles => has(identity.roles(), value),
    })
}

fn action_name(feature: &str, action: Action<'_>) -> String {
    match action {
        Action::Join => format!("join:{feature}"),
        Action::Read => format!("read:{feature}"),
        Action::Presence => format!("presence:{feature}"),
        Action::Send(message) => format!("{feature}.{message}"),
    }
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}
