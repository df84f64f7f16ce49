//! From a rules file to [`Rules`]: everything that can be known to be wrong is found here, all of it at once, before
//! anyone is served. Reads files through [`Files`] only.

mod contracts;
mod features;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::diagnostic::{Code, Diagnostic};
use crate::pattern::Claim;
use crate::policy;
use crate::policy::schema::Subject;
use crate::rules::{Feature, Rules};
use crate::settings::Claims;
use crate::source::{At, Files, Report, Source};
use crate::syntax::Tree;
use crate::syntax::feature::FeatureNode;
use crate::syntax::table::shortened;

/// Compiles the rules file at `path` and all files that it names. Their paths are relative to its folder.
///
/// # Errors
/// Everything that is wrong, file by file, from top to bottom; at most [`DIAGNOSTICS_MAX`](crate::limits::DIAGNOSTICS_MAX).
pub fn compile(files: &dyn Files, path: &str) -> Result<Rules, Vec<Diagnostic>> {
    let mut report = Report::default();
    let rules = compile_into(files, path, &mut report);
    match rules {
        Some(rules) if report.is_empty() => Ok(rules),
        _ => Err(report.finish()),
    }
}

fn compile_into(files: &dyn Files, path: &str, report: &mut Report) -> Option<Rules> {
    let source = match Source::read(files, path) {
        Ok(source) => source,
        Err(error) => {
            let nothing = Source {
                file: path.to_owned(),
                text: String::new(),
            };
            report.push(nothing.diagnostic(
                Code::File,
                &(0..0),
                format!("the rules file cannot be read: {error}"),
                "name a rules file that is there",
            ));
            return None;
        }
    };
    let tree = Tree::parse(&source, report)?;
    let mut loader = Loader {
        files,
        source: &source,
        folder: path.rsplit_once('/').map_or("", |(folder, _)| folder),
        read: BTreeMap::new(),
    };
    let claims = claims(&tree.auth.settings.claims);
    shared_rooms(&tree.features, &source, report);
    bound_claims(&tree.features, &claims, &source, report);
    let server = &tree.server.settings;
    let features: Vec<Option<Feature>> = tree
        .features
        .iter()
        .map(|node| features::feature(node, server, &mut loader, report))
        .collect();
    let policies = policies(&tree, claims, &mut loader, report);
    let features: Vec<Feature> = features.into_iter().collect::<Option<_>>()?;
    let mut events = HashMap::new();
    for (index, feature) in features.iter().enumerate() {
        for (number, message) in feature.messages.iter().enumerate() {
            events.insert(message.event.clone(), (index, number));
        }
    }
    Some(Rules {
        server: tree.server.settings,
        auth: tree.auth.settings,
        features,
        events,
        policies: policies?,
    })
}

/// Reads the files that a rules file names, each once.
struct Loader<'f> {
    files: &'f dyn Files,
    source: &'f Source,
    folder: &'f str,
    read: BTreeMap<String, Option<Source>>,
}

impl Loader<'_> {
    /// The file that a setting names.
    fn load(&mut self, path: &At<String>, report: &mut Report) -> Option<Source> {
        let parts: Vec<&str> = path.value.split('/').collect();
        let leads_out = parts
            .iter()
            .any(|part| part.is_empty() || *part == "." || *part == "..");
        if leads_out || path.value.contains(['\\', ':', '\0']) {
            report.push(self.source.diagnostic(
                Code::Path,
                &path.span,
                format!(
                    "`{}` is not a path below the folder of the rules file",
                    shortened(&path.value)
                ),
                "write names with `/` between them, such as \"contracts/chat.post.v1.json\"",
            ));
            return None;
        }
        let full = if self.folder.is_empty() {
            path.value.clone()
        } else {
            format!("{}/{}", self.folder, path.value)
        };
        if let Some(known) = self.read.get(&full) {
            return known.clone();
        }
        let found = match Source::read(self.files, &full) {
            Ok(source) => Some(source),
            Err(error) => {
                report.push(self.source.diagnostic(
                    Code::File,
                    &path.span,
                    format!("`{}` cannot be read: {error}", shortened(&path.value)),
                    "paths are relative to the folder of the rules file",
                ));
                None
            }
        };
        self.read.insert(full, found.clone());
        found
    }
}

/// The claims that a token has.
fn claims(names: &Claims) -> BTreeSet<Claim> {
    Claim::ALL
        .into_iter()
        .filter(|claim| match claim {
            Claim::User => true,
            Claim::Org => names.org.is_some(),
            Claim::Projects => names.projects.is_some(),
            Claim::Roles => names.roles.is_some(),
        })
        .collect()
}

/// A room belongs to one feature, whatever its name.
fn shared_rooms(features: &[FeatureNode], source: &Source, report: &mut Report) {
    for (index, later) in features.iter().enumerate() {
        let Some(room) = &later.room else { continue };
        for earlier in features.iter().take(index) {
            let shared = earlier
                .room
                .as_ref()
                .and_then(|other| room.value.shared_with(&other.value));
            if let Some(shared) = shared {
                report.push(source.diagnostic(
                    Code::SharedRoom,
                    &room.span,
                    format!("`{shared}` could be a room of `{}` too", earlier.name.value),
                    "begin each pattern with another word, such as the feature's name",
                ));
            }
        }
    }
}

/// A pattern can ask only for what tokens say.
fn bound_claims(
    features: &[FeatureNode],
    claims: &BTreeSet<Claim>,
    source: &Source,
    report: &mut Report,
) {
    for room in features.iter().filter_map(|feature| feature.room.as_ref()) {
        let bound = room.value.fields().filter_map(|field| field.claim);
        for claim in bound.filter(|claim| !claims.contains(claim)) {
            let claim = claim.as_str();
            report.push(source.diagnostic(
                Code::UnknownClaim,
                &room.span,
                format!("the pattern asks for the claim `{claim}`, and no token has it"),
                format!(
                    "say which claim of the token it is: `[auth] claims = {{ {claim} = \"…\" }}`"
                ),
            ));
        }
    }
}

fn policies(
    tree: &Tree,
    claims: BTreeSet<Claim>,
    loader: &mut Loader<'_>,
    report: &mut Report,
) -> Option<policy::Policies> {
    if let (Some(feature), true) = (tree.features.first(), tree.auth.policies.is_empty()) {
        report.push(loader.source.diagnostic(
            Code::NoPolicies,
            &feature.name.span,
            "there are features, but no policies: nobody could do anything",
            "name policy files: `[auth] policies = [\"policies/main.cedar\"]`",
        ));
    }
    let mut sources = Vec::new();
    for path in &tree.auth.policies {
        let source = loader.load(path, report)?;
        if sources
            .iter()
            .any(|known: &Source| known.file == source.file)
        {
            report.push(loader.source.diagnostic(
                Code::File,
                &path.span,
                format!("`{}` is there twice", shortened(&path.value)),
                "take one of them out",
            ));
            continue;
        }
        sources.push(source);
    }
    let mut subjects = Vec::new();
    for feature in &tree.features {
        // Without its room nothing can be said about what policies may speak of.
        let room = feature.room.as_ref()?;
        subjects.push(Subject {
            feature: &feature.name.value,
            fields: room
                .value
                .fields()
                .map(|field| field.name.as_str())
                .collect(),
            messages: feature
                .messages
                .iter()
                .map(|message| message.name.value.as_str())
                .collect(),
        });
    }
    policy::compile::compile(&sources, &subjects, claims, report)
}
