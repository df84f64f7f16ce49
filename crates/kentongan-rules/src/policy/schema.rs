//! The Cedar schema of the features: what policies can speak of, so that a policy that speaks of something else is an
//! error when the rules are compiled.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::pattern::Claim;

/// What a feature brings into the schema.
#[derive(Debug)]
pub(crate) struct Subject<'f> {
    pub(crate) feature: &'f str,
    pub(crate) fields: Vec<&'f str>,
    pub(crate) messages: Vec<&'f str>,
}

/// Actions on the room as a whole, besides sending messages.
pub(crate) const ROOM_ACTIONS: [&str; 3] = ["join", "read", "presence"];

/// The schema, in Cedar's JSON form.
///
/// `User` with `id` and those claims that the token has; `Room::<feature>` with the fields of its pattern; the action
/// group `<feature>` with `join:<feature>`, `read:<feature>`, `presence:<feature>` and `<feature>.<message>`.
pub(crate) fn schema(subjects: &[Subject<'_>], claims: &BTreeSet<Claim>) -> Value {
    let text = json!({"type": "String"});
    let texts = json!({"type": "Set", "element": {"type": "String"}});
    let mut user = Map::new();
    user.insert("id".to_owned(), text.clone());
    for claim in claims {
        let of_type = match claim {
            Claim::User => continue,
            Claim::Org => &text,
            Claim::Projects | Claim::Roles => &texts,
        };
        user.insert(claim.as_str().to_owned(), of_type.clone());
    }
    let mut rooms = Map::new();
    let mut actions = Map::new();
    for subject in subjects {
        let fields: Map<String, Value> = subject
            .fields
            .iter()
            .map(|field| ((*field).to_owned(), text.clone()))
            .collect();
        rooms.insert(
            subject.feature.to_owned(),
            json!({"shape": record(&fields)}),
        );
        actions.insert(subject.feature.to_owned(), json!({}));
        for action in subject.actions() {
            let applies = json!({
                "memberOf": [{"id": subject.feature}],
                "appliesTo": {
                    "principalTypes": ["User"],
                    "resourceTypes": [room_type(subject.feature)],
                },
            });
            actions.insert(action, applies);
        }
    }
    json!({
        "": {"entityTypes": {"User": {"shape": record(&user)}}, "actions": actions},
        "Room": {"entityTypes": rooms, "actions": {}},
    })
}

impl Subject<'_> {
    /// The names of all actions of the feature.
    pub(crate) fn actions(&self) -> Vec<String> {
        let on_room = ROOM_ACTIONS.map(|action| format!("{action}:{}", self.feature));
        let sending = self.messages.iter();
        let sending = sending.map(|message| format!("{}.{message}", self.feature));
        on_room.into_iter().chain(sending).collect()
    }
}

/// The type of a feature's rooms.
pub(crate) fn room_type(feature: &str) -> String {
    format!("Room::{feature}")
}

fn record(attributes: &Map<String, Value>) -> Value {
    json!({"type": "Record", "attributes": attributes})
}

#[cfg(test)]
mod tests {
    use cedar_policy::{EntityTypeName, Schema};

    use super::*;
    use crate::syntax::table::check_name;

    #[test]
    fn every_name_that_is_taken_makes_a_schema() {
        let mut taken = 0;
        for name in [
            "action",
            "bool",
            "context",
            "datetime",
            "decimal",
            "duration",
            "else",
            "entity",
            "extension",
            "false",
            "forbid",
            "has",
            "id",
            "if",
            "in",
            "ip",
            "ipaddr",
            "is",
            "like",
            "long",
            "namespace",
            "permit",
            "principal",
            "record",
            "resource",
            "room",
            "set",
            "string",
            "tags",
            "then",
            "true",
            "type",
            "unless",
            "user",
            "when",
            "a1_",
            "a__cedar",
        ] {
            let subject = Subject {
                feature: name,
                fields: vec![name],
                messages: vec![name],
            };
            let made = Schema::from_json_value(schema(&[subject], &Claim::ALL.into()));
            let type_name: Result<EntityTypeName, _> = room_type(name).parse();
            if check_name(name).is_ok() {
                taken += 1;
                assert!(made.is_ok(), "{name}: {}", made.err().unwrap());
                assert!(type_name.is_ok(), "{name}");
            }
        }
        assert_eq!(taken, 28);
    }
}
