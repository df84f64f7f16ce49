//! The contract of one message: its files read and compiled, its versions without holes, its casts proven by the examples.

use serde_json::Value;

use super::Loader;
use crate::contract::cast::Cast;
use crate::contract::json::{self, Bounds};
use crate::contract::locate::locate;
use crate::contract::schema::Schema;
use crate::contract::{Contract, Shape, Version};
use crate::defaults;
use crate::diagnostic::Code;
use crate::source::{At, Report, Source};
use crate::syntax::feature::MessageNode;

const JSON_WAY_OUT: &str = "write plain JSON (RFC 8259), each key once";

/// Compiles a contract. None when something is wrong; it was reported then.
pub(super) fn contract(
    node: &MessageNode,
    max: u64,
    loader: &mut Loader<'_>,
    report: &mut Report,
) -> Option<Contract> {
    let bytes_max = usize::try_from(max).unwrap_or(usize::MAX);
    let current = node
        .version
        .as_ref()
        .map_or(defaults::VERSION, |at| at.value);
    let Some(path) = &node.schema else {
        if let Some(older) = node.older.first() {
            report.push(loader.source.diagnostic(
                Code::Versions,
                &older.version.span,
                "an older version of a message without `schema`",
                "add `schema`, or take `older` out: without data there are no versions",
            ));
            return None;
        }
        let version = Version {
            number: current,
            shape: Shape::Empty,
            up: None,
            down: None,
        };
        return Some(Contract::new(vec![version], bytes_max));
    };
    let is_dense = dense(node, current, loader.source, report);
    let mut versions = Vec::new();
    let mut examples = Vec::new();
    // All files are read, whatever is wrong with one, so that all that is wrong is said at once.
    for older in &node.older {
        let loaded = older
            .schema
            .as_ref()
            .and_then(|path| load_schema(path, bytes_max, loader, report));
        let up = older
            .up
            .as_ref()
            .and_then(|path| load_cast(path, loader, report));
        let down = older
            .down
            .as_ref()
            .map(|path| load_cast(path, loader, report));
        let version = (|| {
            let (schema, found) = loaded?;
            let down = match down {
                Some(down) => Some(down?),
                None => None,
            };
            examples.push(found);
            Some(Version {
                number: older.version.value,
                shape: Shape::Schema(schema),
                up: Some(up?),
                down,
            })
        })();
        versions.push(version);
    }
    let last = load_schema(path, bytes_max, loader, report).map(|(schema, found)| {
        examples.push(found);
        Version {
            number: current,
            shape: Shape::Schema(schema),
            up: None,
            down: None,
        }
    });
    versions.push(last);
    let versions: Vec<Version> = versions.into_iter().collect::<Option<_>>()?;
    if !is_dense {
        return None;
    }
    let contract = Contract::new(versions, bytes_max);
    prove(node, &contract, &examples, loader.source, report);
    Some(contract)
}

/// Versions have no holes: each older one leads to the next.
fn dense(node: &MessageNode, current: u32, source: &Source, report: &mut Report) -> bool {
    let mut is_dense = true;
    let next = node.older.iter().skip(1).map(|older| older.version.value);
    let next = next.chain([current]);
    for (older, next) in node.older.iter().zip(next) {
        let number = older.version.value;
        if number.checked_add(1) != Some(next) {
            is_dense = false;
            report.push(source.diagnostic(
                Code::Versions,
                &older.version.span,
                format!(
                    "version {number} leads to {}, and the next one here is {next}",
                    u64::from(number) + 1
                ),
                "number the versions without holes, up to `version`",
            ));
        }
    }
    is_dense
}

/// A schema and its examples, each of which it accepts.
fn load_schema(
    path: &At<String>,
    bytes_max: usize,
    loader: &mut Loader<'_>,
    report: &mut Report,
) -> Option<(Schema, Vec<Value>)> {
    let source = loader.load(path, report)?;
    let value = load_json(&source, report)?;
    let schema = match Schema::new(&value) {
        Ok(schema) => schema,
        Err(error) => {
            let span = locate(&source.text, &error.pointer);
            report.push(source.diagnostic(error.code, &span, error.message, error.way_out));
            return None;
        }
    };
    let examples = value.get("examples").and_then(Value::as_array);
    let examples = examples.cloned().unwrap_or_default();
    for (index, example) in examples.iter().enumerate() {
        let pointer = format!("/examples/{index}");
        let length = example.to_string().len();
        if length > bytes_max {
            report.push(source.diagnostic(
                Code::Example,
                &locate(&source.text, &pointer),
                format!("example {index} has {length} bytes, and `max` is {bytes_max}"),
                "shorten the example, or raise `max` of the message",
            ));
        }
        if let Err(error) = schema.check(example) {
            let place = format!("{pointer}{}", error.path());
            report.push(source.diagnostic(
                Code::Example,
                &locate(&source.text, &place),
                format!("the schema does not accept its own example {index}: {error}"),
                "correct the schema or the example",
            ));
        }
    }
    Some((schema, examples))
}

fn load_cast(path: &At<String>, loader: &mut Loader<'_>, report: &mut Report) -> Option<Cast> {
    let source = loader.load(path, report)?;
    let value = load_json(&source, report)?;
    match Cast::new(&value) {
        Ok(cast) => Some(cast),
        Err(error) => {
            report.push(source.diagnostic(
                Code::Cast,
                &locate(&source.text, ""),
                format!("not a cast: {error}"),
                "a cast is a JSON Patch (RFC 6902): `[{\"op\": \"add\", \"path\": \"/lang\", \"value\": \"en\"}]`",
            ));
            None
        }
    }
}

fn load_json(source: &Source, report: &mut Report) -> Option<Value> {
    match json::parse_at(&source.text, Bounds::FILE) {
        Ok(value) => Some(value),
        Err((error, offset)) => {
            let span = offset..offset + 1;
            let message = error.to_string();
            report.push(source.diagnostic(Code::Json, &span, message, JSON_WAY_OUT));
            None
        }
    }
}

/// Every example of every version becomes every version that it has a way to.
fn prove(
    node: &MessageNode,
    contract: &Contract,
    examples: &[Vec<Value>],
    source: &Source,
    report: &mut Report,
) {
    if contract.versions().len() < 2 {
        return;
    }
    let numbers: Vec<u32> = contract.versions().iter().map(|v| v.number).collect();
    for (index, (from, examples)) in numbers.iter().zip(examples).enumerate() {
        if examples.is_empty() {
            let older = node.older.get(index);
            let span = older
                .and_then(|older| older.schema.as_ref())
                .or(node.schema.as_ref())
                .map_or(&node.name.span, |path| &path.span);
            report.push(source.diagnostic(
                Code::Versions,
                span,
                format!(
                    "the schema of version {from} has no `examples`, so nothing proves its casts"
                ),
                "add `examples` to the schema: a list of data as it really comes",
            ));
        }
        // Outwards, and no further than to the first failure: what lies behind it would fail for the same reason.
        let upwards = numbers.iter().skip(index + 1);
        let downwards = numbers.iter().take(index).rev();
        prove_way(node, contract, *from, upwards, examples, source, report);
        prove_way(node, contract, *from, downwards, examples, source, report);
    }
}

fn prove_way<'v>(
    node: &MessageNode,
    contract: &Contract,
    from: u32,
    targets: impl Iterator<Item = &'v u32>,
    examples: &[Value],
    source: &Source,
    report: &mut Report,
) {
    for to in targets.copied().filter(|to| contract.has_way(from, *to)) {
        for (number, example) in examples.iter().enumerate() {
            let Err(error) = contract.cast_value(example.clone(), from, to) else {
                continue;
            };
            let is_up = from < to;
            let lower = if is_up { to.saturating_sub(1) } else { to };
            let step = node.older.iter().find(|older| older.version.value == lower);
            let cast = step.and_then(|step| {
                if is_up {
                    step.up.as_ref()
                } else {
                    step.down.as_ref()
                }
            });
            let span = cast.map_or(&node.name.span, |path| &path.span);
            report.push(source.diagnostic(
                Code::CastResult,
                span,
                format!("example {number} of version {from} does not become version {to}: {error}"),
                "correct the cast, or the schema of the version that it leads to",
            ));
            return;
        }
    }
}
