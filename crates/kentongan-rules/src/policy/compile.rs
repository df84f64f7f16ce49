//! From policy files to [`Policies`]: parsed, named by file and line, validated strictly against the schema of the features.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy::{
    Authorizer, Entity, EntityId, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, Schema,
    ValidationMode, Validator,
};
use miette::Diagnostic as _;
use serde_json::Value;

use super::cache::Cache;
use super::schema::{Subject, room_type, schema};
use super::{ActionEntities, Policies};
use crate::diagnostic::Code;
use crate::limits::POLICIES_MAX;
use crate::pattern::Claim;
use crate::source::{Report, Source};

/// Attributes of a user that many share.
const SHARED: [&str; 3] = ["org", "projects", "roles"];

/// Compiles all policy files. What is wrong is reported; then there are no policies.
pub(crate) fn compile(
    sources: &[Source],
    subjects: &[Subject<'_>],
    claims: BTreeSet<Claim>,
    report: &mut Report,
) -> Option<Policies> {
    let mut loading = Loading::default();
    for source in sources {
        loading.file(source, report);
    }
    let cedar = Schema::from_json_value(schema(subjects, &claims))
        .expect("names and types of a compiled feature make a valid schema");
    let validator = Validator::new(cedar);
    let result = validator.validate(&loading.set, ValidationMode::Strict);
    for error in result.validation_errors() {
        let Some((source, place)) = loading.places.get(error.policy_id()) else {
            continue;
        };
        let span = label(error).unwrap_or_else(|| place.clone());
        let way_out = error.help().map_or_else(
            || "a policy can speak of what the rules file declares; see \"Policies\" in docs/rules.md".to_owned(),
            |help| help.to_string(),
        );
        let message = without_policy(&error.to_string());
        report.push(source.diagnostic(Code::PolicyTypes, &span, message, way_out));
    }
    if !loading.is_complete || !result.validation_passed() {
        return None;
    }
    let is_personal = loading.set.policies().any(looks_at_the_user);
    Some(Policies {
        is_personal,
        set: loading.set,
        names: loading.names,
        claims,
        actions: actions(subjects),
        authorizer: Authorizer::new(),
        user_type: type_name("User"),
        cache: Cache::new(),
    })
}

/// What was read so far.
struct Loading<'s> {
    set: PolicySet,
    names: HashMap<PolicyId, Arc<str>>,
    places: HashMap<PolicyId, (&'s Source, Range<usize>)>,
    ids: HashSet<String>,
    is_complete: bool,
}

impl Default for Loading<'_> {
    fn default() -> Self {
        Self {
            set: PolicySet::new(),
            names: HashMap::new(),
            places: HashMap::new(),
            ids: HashSet::new(),
            is_complete: true,
        }
    }
}

impl<'s> Loading<'s> {
    fn file(&mut self, source: &'s Source, report: &mut Report) {
        let set = match PolicySet::from_str(&source.text) {
            Ok(set) => set,
            Err(errors) => {
                for error in errors.iter() {
                    let span = label(error).unwrap_or(0..0);
                    let way_out = error.help().map_or_else(
                        || {
                            "policies are Cedar: `permit (principal, action, resource) when { … };`"
                                .to_owned()
                        },
                        |help| help.to_string(),
                    );
                    report.push(source.diagnostic(Code::Policy, &span, error.to_string(), way_out));
                }
                self.is_complete = false;
                return;
            }
        };
        if set.num_of_templates() > 0 {
            self.refuse(
                source,
                &(0..0),
                "a policy with `?principal` or `?resource`",
                "write out whom and what it is about: nothing fills in these places",
                report,
            );
        }
        for policy in set.policies() {
            self.policy(source, policy, report);
        }
    }

    fn policy(&mut self, source: &'s Source, policy: &Policy, report: &mut Report) {
        let place = AsRef::as_ref(policy)
            .loc()
            .map_or(0..0, |loc| loc.start()..loc.end());
        let (line, column) = source.position(place.start);
        let id = PolicyId::new(format!("{}:{line}:{column}", source.file));
        let name = match policy.annotation("id") {
            Some(name) => name.to_owned(),
            None => format!("{}:{line}", source.file),
        };
        if policy.annotation("id").is_some() && !self.ids.insert(name.clone()) {
            let message = format!("a second policy with `@id(\"{name}\")`");
            self.refuse(
                source,
                &place,
                &message,
                "give each policy its own id",
                report,
            );
        }
        if self.names.len() >= POLICIES_MAX {
            let message = format!("more than {POLICIES_MAX} policies");
            self.refuse(
                source,
                &place,
                &message,
                "a policy can speak of many rooms at once",
                report,
            );
            return;
        }
        self.names.insert(id.clone(), name.into());
        self.places.insert(id.clone(), (source, place));
        self.set
            .add(policy.new_id(id))
            .expect("each policy has a place of its own, so its id is new");
    }

    fn refuse(
        &mut self,
        source: &Source,
        place: &Range<usize>,
        message: &str,
        way_out: &str,
        report: &mut Report,
    ) {
        self.is_complete = false;
        report.push(source.diagnostic(Code::Policy, place, message, way_out));
    }
}

/// The first place that an error of Cedar points to.
fn label(error: &dyn miette::Diagnostic) -> Option<Range<usize>> {
    let label = error.labels()?.next()?;
    Some(label.offset()..label.offset() + label.len())
}

/// Cedar begins its messages with the id of the policy; ours say the place already.
fn without_policy(message: &str) -> String {
    let rest = message
        .strip_prefix("for policy `")
        .and_then(|rest| rest.split_once("`, "));
    rest.map_or(message, |(_, rest)| rest).to_owned()
}

/// True unless the policy is about what users have in common. In doubt it is true: then decisions are remembered for each
/// user, which costs memory and nothing else.
fn looks_at_the_user(policy: &Policy) -> bool {
    let Ok(policy) = policy.to_json() else {
        return true;
    };
    let scope = policy.pointer("/principal/op").and_then(Value::as_str);
    let is_scope_shared =
        matches!(scope, Some("All" | "is")) && policy.pointer("/principal/in").is_none();
    let conditions = policy.get("conditions").unwrap_or(&Value::Null);
    !is_scope_shared || uses_principal(conditions)
}

/// True when an expression uses the principal otherwise than for one of its shared attributes.
fn uses_principal(expression: &Value) -> bool {
    match expression {
        Value::Array(entries) => entries.iter().any(uses_principal),
        Value::Object(map) => {
            if map.get("Var").is_some_and(|name| name == "principal") {
                return true;
            }
            map.iter().any(|(operator, operand)| {
                let is_shared = matches!(operator.as_str(), "." | "has")
                    && operand
                        .pointer("/left/Var")
                        .is_some_and(|var| var == "principal")
                    && operand
                        .get("attr")
                        .and_then(Value::as_str)
                        .is_some_and(|attribute| SHARED.contains(&attribute));
                !is_shared && uses_principal(operand)
            })
        }
        _ => false,
    }
}

fn actions(subjects: &[Subject<'_>]) -> BTreeMap<String, Arc<ActionEntities>> {
    let uid =
        |name: &str| EntityUid::from_type_name_and_id(type_name("Action"), EntityId::new(name));
    let mut actions = BTreeMap::new();
    for subject in subjects {
        for name in subject.actions() {
            let (action, group) = (uid(&name), uid(subject.feature));
            let entities = [
                Entity::new_no_attrs(action.clone(), HashSet::from([group.clone()])),
                Entity::new_no_attrs(group, HashSet::new()),
            ];
            let room_type = type_name(&room_type(subject.feature));
            let entry = ActionEntities {
                action,
                entities,
                room_type,
            };
            actions.insert(name, Arc::new(entry));
        }
    }
    actions
}

fn type_name(name: &str) -> EntityTypeName {
    EntityTypeName::from_str(name).expect("names of features are identifiers of Cedar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_that_look_at_the_user_are_known() {
        for (condition, expected) in [
            ("true", false),
            ("principal.org == resource.org", false),
            (
                "principal.roles.contains(\"admin\") && !(principal has org)",
                false,
            ),
            ("principal.id == resource.user", true),
            ("principal == User::\"anna\"", true),
            ("principal has id", true),
            ("[principal].contains(User::\"anna\")", true),
            ("{\"x\": principal}.x.org == \"a\"", true),
            (
                "if principal.org == \"a\" then principal.id == \"b\" else false",
                true,
            ),
        ] {
            let text = format!("permit (principal, action, resource) when {{ {condition} }};");
            let policy = Policy::parse(None, &text).unwrap();
            assert_eq!(looks_at_the_user(&policy), expected, "{condition}");
        }
        for (scope, expected) in [
            ("principal is User", false),
            ("principal == User::\"anna\"", true),
            ("principal in User::\"anna\"", true),
            ("principal is User in User::\"anna\"", true),
        ] {
            let text = format!("permit ({scope}, action, resource);");
            let policy = Policy::parse(None, &text).unwrap();
            assert_eq!(looks_at_the_user(&policy), expected, "{scope}");
        }
    }
}
