//! The rules file as a tree: what was written, and where. Says nothing yet about whether it makes sense together.
//! Text comes from [`crate::source`]; the tree goes to [`crate::compile`].

pub(crate) mod feature;
pub(crate) mod server;
pub(crate) mod table;
pub(crate) mod units;

use toml::de::DeTable;

use crate::diagnostic::Code;
use crate::limits::FEATURES_MAX;
use crate::source::{Report, Source};

use feature::FeatureNode;
use server::{AuthNode, ServerNode};
use table::Table;

/// A whole rules file.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) server: ServerNode,
    pub(crate) auth: AuthNode,
    pub(crate) features: Vec<FeatureNode>,
}

impl Tree {
    /// Reads a rules file. Whatever cannot be read is reported and left out.
    pub(crate) fn parse(source: &Source, report: &mut Report) -> Option<Self> {
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            let message = error
                .message()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            report.push(source.diagnostic(
                Code::Syntax,
                &span,
                message,
                "the rules file is TOML 1.1; text values stand in double quotes",
            ));
        }
        if !errors.is_empty() {
            return None;
        }
        let mut root = Table::new(source, root.get_ref(), 0..0, String::new());
        let server = ServerNode::read(root.table("server", report), report);
        let auth = AuthNode::read(root.table("auth", report), report);
        let mut features = Vec::new();
        if let Some(table) = root.table("features", report) {
            let entries = table.entries(FEATURES_MAX, "features", report);
            for (name, table) in entries {
                features.push(FeatureNode::read(name, table, report));
            }
        }
        root.finish(report);
        // Tables come in the order of their names; what follows speaks of them in the order of the file.
        features.sort_by_key(|feature: &FeatureNode| feature.name.span.start);
        Some(Self {
            server,
            auth,
            features,
        })
    }
}
