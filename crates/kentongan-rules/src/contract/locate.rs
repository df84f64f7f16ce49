//! From a JSON pointer to the place in the text, so that a problem in a schema has a line and a caret.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::value::RawValue;

/// Where the value that `pointer` (RFC 6901) means stands in `text`. As far as it leads, when it leads nowhere.
pub(crate) fn locate(text: &str, pointer: &str) -> Range<usize> {
    let whole = text.trim();
    let mut current = whole;
    for token in pointer.split('/').skip(1) {
        let key = token.replace("~1", "/").replace("~0", "~");
        let Some(next) = child(current, &key) else {
            break;
        };
        current = next;
    }
    // Both are parts of `text`, so the difference of their addresses is an offset.
    let start = (current.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    // Of a large value its first character is enough.
    let is_container = current.starts_with(['{', '[']);
    let length = if is_container { 1 } else { current.len() };
    start..start + length
}

/// One step into an object or array.
fn child<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    if text.starts_with('{') {
        let object: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
        return Some(object.get(key)?.get());
    }
    let array: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(array.get(key.parse::<usize>().ok()?)?.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_has_a_place() {
        let text = " {\"a\": [10, {\"b/c\": \"x\"}], \"d\": {}}";
        for (pointer, expected) in [
            ("", "{"),
            ("/a", "["),
            ("/a/0", "10"),
            ("/a/1/b~1c", "\"x\""),
            ("/a/7", "["),
            ("/a/0/x", "10"),
            ("/d", "{"),
            ("/nowhere", "{"),
        ] {
            assert_eq!(&text[locate(text, pointer)], expected, "{pointer}");
        }
        assert_eq!(locate("nonsense", "/a"), 0..8);
        assert_eq!(locate("", "/a"), 0..0);
    }
}
