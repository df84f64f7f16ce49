//! One JSON Schema 2020-12, compiled. Takes a part of the standard whose work is bounded: no other documents, regular
//! expressions in linear time, no schema that applies to itself without going deeper into the data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use super::{ContractError, Fault};
use crate::diagnostic::Code;
use crate::limits::{REGEX_BYTES_MAX, SCHEMA_STEPS_MAX};

/// A compiled schema.
pub(crate) struct Schema {
    validator: Validator,
}

/// Why a schema is not taken: code, JSON pointer into the schema, what is wrong, a way out.
#[derive(Debug)]
pub(crate) struct SchemaError {
    pub(crate) code: Code,
    pub(crate) pointer: String,
    pub(crate) message: String,
    pub(crate) way_out: &'static str,
}

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Keywords that change what a reference means, or find their target only while data is checked.
const REFUSED: [(&str, &str); 4] = [
    ("$dynamicRef", "use `$ref` with `#/$defs/…`"),
    ("$recursiveRef", "use `$ref` with `#/$defs/…`"),
    ("$anchor", "refer to it with `#/$defs/…`"),
    ("$dynamicAnchor", "refer to it with `#/$defs/…`"),
];
/// Keywords with one schema for the same value.
const SAME_VALUE: [&str; 4] = ["if", "then", "else", "not"];
/// Keywords with a list of schemas for the same value.
const SAME_VALUE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords with one schema for values further down.
const DEEPER: [&str; 6] = [
    "additionalProperties",
    "contains",
    "items",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords with a map of schemas for values further down, or for nothing by themselves.
const DEEPER_MAPS: [&str; 3] = ["$defs", "patternProperties", "properties"];
const WORK_WAY_OUT: &str =
    "let it refer to itself only below `properties` or `items`, and combine fewer schemas";

impl Schema {
    /// Compiles a schema.
    pub(crate) fn new(value: &Value) -> Result<Self, SchemaError> {
        if let Some(dialect) = value.get("$schema")
            && dialect != DIALECT
        {
            return Err(SchemaError {
                code: Code::Schema,
                pointer: "/$schema".to_owned(),
                message: "contracts are JSON Schema 2020-12".to_owned(),
                way_out: "write `\"$schema\": \"https://json-schema.org/draft/2020-12/schema\"`",
            });
        }
        let mut walk = Walk {
            root: value,
            steps: BTreeMap::new(),
            seen: BTreeSet::new(),
        };
        walk.keywords(value, "")?;
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex().size_limit(REGEX_BYTES_MAX))
            .offline()
            .build(value)
            .map_err(|error| SchemaError {
                code: Code::Schema,
                pointer: error.instance_path().as_str().to_owned(),
                message: error.to_string(),
                way_out: "see https://json-schema.org/draft/2020-12; regular expressions have no look-around and no back references",
            })?;
        Ok(Self { validator })
    }

    /// Checks a value. Reports the first thing that is wrong, without its value.
    pub(crate) fn check(&self, value: &Value) -> Result<(), ContractError> {
        let Err(error) = self.validator.validate(value) else {
            return Ok(());
        };
        let path = error.instance_path().as_str().to_owned();
        Err(ContractError::new(
            Fault::Schema,
            path,
            error.masked().to_string(),
        ))
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema")
    }
}

/// Goes through a schema before it is compiled.
struct Walk<'s> {
    root: &'s Value,
    /// For each subschema how many subschemas apply to the value that it applies to. None while it is being counted.
    steps: BTreeMap<*const Value, Option<usize>>,
    seen: BTreeSet<*const Value>,
}

impl<'s> Walk<'s> {
    /// Looks at every subschema once, those included that only a reference leads to.
    fn keywords(&mut self, schema: &'s Value, pointer: &str) -> Result<(), SchemaError> {
        let Value::Object(map) = schema else {
            return Ok(());
        };
        if !self.seen.insert(std::ptr::from_ref(schema)) {
            return Ok(());
        }
        for (keyword, way_out) in REFUSED {
            if map.contains_key(keyword) {
                return Err(SchemaError {
                    code: Code::Schema,
                    pointer: format!("{pointer}/{keyword}"),
                    message: format!("`{keyword}` is not taken in contracts"),
                    way_out,
                });
            }
        }
        if map.contains_key("$id") && !pointer.is_empty() {
            return Err(SchemaError {
                code: Code::Schema,
                pointer: format!("{pointer}/$id"),
                message: "a second document within the schema".to_owned(),
                way_out: "take this `$id` out, and refer to the part with `#/$defs/…`",
            });
        }
        self.count(schema, pointer)?;
        for (keyword, value) in map {
            let pointer = format!("{pointer}/{}", escaped(keyword));
            let keyword = keyword.as_str();
            if SAME_VALUE.contains(&keyword) || DEEPER.contains(&keyword) {
                self.keywords(value, &pointer)?;
            } else if SAME_VALUE_LISTS.contains(&keyword) || keyword == "prefixItems" {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    self.keywords(value, &format!("{pointer}/{index}"))?;
                }
            } else if DEEPER_MAPS.contains(&keyword) || keyword == "dependentSchemas" {
                for (key, value) in value.as_object().into_iter().flatten() {
                    self.keywords(value, &format!("{pointer}/{}", escaped(key)))?;
                }
            } else if keyword == "$ref" {
                let (target, pointer) = self.resolve(value, pointer)?;
                self.keywords(target, &pointer)?;
            }
        }
        Ok(())
    }

    /// How many subschemas apply to the same value as `schema`, itself included.
    fn count(&mut self, schema: &'s Value, pointer: &str) -> Result<usize, SchemaError> {
        let id = std::ptr::from_ref(schema);
        let too_much = |message: String| SchemaError {
            code: Code::SchemaWork,
            pointer: pointer.to_owned(),
            message,
            way_out: WORK_WAY_OUT,
        };
        match self.steps.get(&id) {
            Some(Some(steps)) => return Ok(*steps),
            Some(None) => {
                return Err(too_much(
                    "this schema applies to itself without end".to_owned(),
                ));
            }
            None => {}
        }
        self.steps.insert(id, None);
        let mut steps = 1_usize;
        for (schema, pointer) in self.same_value(schema, pointer)? {
            steps += self.count(schema, &pointer)?;
            if steps > SCHEMA_STEPS_MAX {
                return Err(too_much(format!(
                    "more than {SCHEMA_STEPS_MAX} schemas apply to one value"
                )));
            }
        }
        self.steps.insert(id, Some(steps));
        Ok(steps)
    }

    /// The subschemas that apply to the same value.
    fn same_value(
        &self,
        schema: &'s Value,
        pointer: &str,
    ) -> Result<Vec<(&'s Value, String)>, SchemaError> {
        let mut found = Vec::new();
        for keyword in SAME_VALUE {
            if let Some(value) = schema.get(keyword) {
                found.push((value, format!("{pointer}/{keyword}")));
            }
        }
        for keyword in SAME_VALUE_LISTS {
            let list = schema.get(keyword).and_then(Value::as_array);
            for (index, value) in list.into_iter().flatten().enumerate() {
                found.push((value, format!("{pointer}/{keyword}/{index}")));
            }
        }
        let dependent = schema.get("dependentSchemas").and_then(Value::as_object);
        for (key, value) in dependent.into_iter().flatten() {
            let key = escaped(key);
            found.push((value, format!("{pointer}/dependentSchemas/{key}")));
        }
        if let Some(reference) = schema.get("$ref") {
            let here = format!("{pointer}/$ref");
            found.push(self.resolve(reference, here)?);
        }
        Ok(found)
    }

    fn resolve(
        &self,
        reference: &Value,
        pointer: String,
    ) -> Result<(&'s Value, String), SchemaError> {
        let inner = reference.as_str().and_then(|text| text.strip_prefix('#'));
        let Some(inner) = inner.filter(|inner| inner.is_empty() || inner.starts_with('/')) else {
            return Err(SchemaError {
                code: Code::RemoteReference,
                pointer,
                message: "a reference that leads out of this file".to_owned(),
                way_out: "copy what it means below `$defs`, and refer to it with `#/$defs/…`",
            });
        };
        // A `%` would be a second way to write the same pointer.
        let target = self.root.pointer(inner).filter(|_| !inner.contains('%'));
        target
            .map(|target| (target, inner.to_owned()))
            .ok_or_else(|| SchemaError {
                code: Code::Schema,
                pointer,
                message: "a reference to nothing".to_owned(),
                way_out: "refer to something that is there: `#/$defs/…`",
            })
    }
}

/// A key as part of a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check_refused(schema: &Value, code: &str, pointer: &str) {
        let error = Schema::new(schema).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.pointer.as_str()),
            (code, pointer),
            "{schema}: {}",
            error.message
        );
    }

    #[test]
    fn schemas_that_are_not_taken() {
        check_refused(
            &json!({"$schema": "http://json-schema.org/draft-07/schema#"}),
            "schema",
            "/$schema",
        );
        check_refused(&json!({"type": "strin"}), "schema", "/type");
        check_refused(
            &json!({"properties": {"a": {"minLength": -1}}}),
            "schema",
            "/properties/a/minLength",
        );
        check_refused(
            &json!({"$ref": "https://example.com/a.json"}),
            "remote_reference",
            "/$ref",
        );
        check_refused(
            &json!({"properties": {"a": {"$ref": "other.json#/x"}}}),
            "remote_reference",
            "/properties/a/$ref",
        );
        check_refused(
            &json!({"items": {"$ref": "file:///etc/passwd"}}),
            "remote_reference",
            "/items/$ref",
        );
        check_refused(&json!({"$ref": "#/$defs/none"}), "schema", "/$ref");
        check_refused(
            &json!({"$ref": "#/%24defs/a", "$defs": {"a": {}}}),
            "schema",
            "/$ref",
        );
        check_refused(
            &json!({"items": {"$dynamicRef": "#a"}}),
            "schema",
            "/items/$dynamicRef",
        );
        check_refused(
            &json!({"$defs": {"a": {"$id": "https://x/y"}}}),
            "schema",
            "/$defs/a/$id",
        );
        check_refused(
            &json!({"properties": {"$anchor": {"$anchor": "a"}}}),
            "schema",
            "/properties/$anchor/$anchor",
        );
    }

    #[test]
    fn schemas_without_end_are_found_before_they_are_compiled() {
        check_refused(&json!({"$ref": "#"}), "schema_work", "");
        check_refused(
            &json!({"allOf": [{"anyOf": [{"$ref": "#"}]}]}),
            "schema_work",
            "",
        );
        check_refused(
            &json!({"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"not": {"$ref": "#/$defs/y"}}, "y": {"if": {"$ref": "#/$defs/x"}}}}),
            "schema_work",
            "/$defs/x",
        );
        let tree = json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}});
        assert!(Schema::new(&tree).is_ok());
    }

    #[test]
    fn schemas_that_double_are_bounded() {
        let mut defs = serde_json::Map::new();
        for level in 0..30 {
            let next = json!({"$ref": format!("#/$defs/l{}", level + 1)});
            defs.insert(format!("l{level}"), json!({"allOf": [next, next]}));
        }
        defs.insert("l30".to_owned(), json!({}));
        let error = Schema::new(&json!({"$ref": "#/$defs/l0", "$defs": defs})).unwrap_err();
        assert_eq!(error.code, Code::SchemaWork);
    }

    #[test]
    fn regular_expressions_are_linear() {
        for pattern in ["(a)\\1", "(?=a)b", "(?<!a)b", "(((a{1000}){1000}){1000})"] {
            check_refused(&json!({"pattern": pattern}), "schema", "/pattern");
        }
        let schema = Schema::new(&json!({"pattern": "^(a+)+$"})).unwrap();
        let bait = Value::String("a".repeat(4_000) + "!");
        assert_eq!(schema.check(&bait).unwrap_err().code(), "schema");
    }

    #[test]
    fn an_error_has_a_path_and_no_data() {
        let schema =
            Schema::new(&json!({"properties": {"a": {"items": {"maxLength": 3}}}})).unwrap();
        let error = schema.check(&json!({"a": ["x", "hunter2"]})).unwrap_err();
        assert_eq!(error.path(), "/a/1");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn formats_are_checked() {
        let schema = Schema::new(&json!({"format": "date-time"})).unwrap();
        assert!(schema.check(&json!("2026-01-02T03:04:05Z")).is_ok());
        assert!(schema.check(&json!("yesterday")).is_err());
    }
}
