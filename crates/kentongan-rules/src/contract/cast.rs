//! A cast: how data of one version becomes data of the next, as a JSON Patch (RFC 6902) of bounded work.

use json_patch::{Patch, PatchOperation};
use serde::Deserialize;
use serde_json::Value;

use super::{ContractError, Fault};
use crate::limits::{CAST_COPIES_MAX, CAST_OPERATIONS_MAX};

/// A compiled cast.
#[derive(Debug, Clone)]
pub(crate) struct Cast {
    patch: Patch,
}

impl Cast {
    /// Reads a patch. The error is a text for people.
    pub(crate) fn new(value: &Value) -> Result<Self, String> {
        let patch = Patch::deserialize(value).map_err(|error| error.to_string())?;
        let copies = patch
            .0
            .iter()
            .filter(|operation| matches!(operation, PatchOperation::Copy(_)))
            .count();
        if patch.0.len() > CAST_OPERATIONS_MAX || copies > CAST_COPIES_MAX {
            return Err(format!(
                "at most {CAST_OPERATIONS_MAX} operations are possible, {CAST_COPIES_MAX} of them `copy`"
            ));
        }
        Ok(Self { patch })
    }

    pub(crate) fn apply(&self, value: &mut Value) -> Result<(), ContractError> {
        json_patch::patch(value, &self.patch.0).map_err(|error| {
            let detail = format!("operation {} of the cast fails here", error.operation);
            ContractError::new(Fault::CastFailed, error.path.to_string(), detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cast_says_which_operation_failed() {
        let patch = json!([
            {"op": "add", "path": "/lang", "value": "en"},
            {"op": "remove", "path": "/old"},
        ]);
        let cast = Cast::new(&patch).unwrap();
        let mut value = json!({"old": 1});
        cast.apply(&mut value).unwrap();
        assert_eq!(value, json!({"lang": "en"}));
        let error = cast.apply(&mut value).unwrap_err();
        assert_eq!(
            (error.code(), error.path(), error.detail()),
            ("cast_failed", "/old", "operation 1 of the cast fails here")
        );
    }

    #[test]
    fn work_is_bounded() {
        let copy = json!({"op": "copy", "from": "", "path": "/x"});
        let copies = |count| Value::Array(vec![copy.clone(); count]);
        assert!(Cast::new(&copies(CAST_COPIES_MAX)).is_ok());
        assert!(Cast::new(&copies(CAST_COPIES_MAX + 1)).is_err());
        let test = json!({"op": "test", "path": "", "value": 1});
        let tests = |count| Value::Array(vec![test.clone(); count]);
        assert!(Cast::new(&tests(CAST_OPERATIONS_MAX)).is_ok());
        assert!(Cast::new(&tests(CAST_OPERATIONS_MAX + 1)).is_err());
        assert!(Cast::new(&json!([{"op": "sing", "path": ""}])).is_err());
    }
}
