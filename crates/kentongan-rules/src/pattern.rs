//! Room patterns: `chat/{org}/{project}/{topic}`. From a room's name to its fields, in one pass, without backtracking.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::limits::{PATTERN_SEGMENTS_MAX, ROOM_BYTES_MAX};
use crate::syntax::table::check_name;

/// The shape of the names of a feature's rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomPattern {
    segments: Vec<Segment>,
}

/// One field of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name, as policies see it.
    pub name: String,
    /// With `{user.org}`: the field has to be what the user's token says.
    pub claim: Option<Claim>,
}

/// What a token says about its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Claim {
    /// Who it is.
    User,
    /// The organization.
    Org,
    /// The projects that the user belongs to.
    Projects,
    /// The user's roles.
    Roles,
}

impl Claim {
    /// All claims that there are.
    pub const ALL: [Self; 4] = [Self::User, Self::Org, Self::Projects, Self::Roles];

    /// The claim's name in `auth.claims`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Org => "org",
            Self::Projects => "projects",
            Self::Roles => "roles",
        }
    }

    /// What a pattern calls the claim behind `user.`, and the field that it makes.
    fn in_pattern(self) -> (&'static str, &'static str) {
        match self {
            Self::User => ("id", "user"),
            Self::Org => ("org", "org"),
            Self::Projects => ("project", "project"),
            Self::Roles => ("role", "role"),
        }
    }
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PatternError {
    /// No segments, an empty one, or too many.
    #[error("a pattern has 1 to {PATTERN_SEGMENTS_MAX} parts between `/`, none of them empty")]
    Segments,
    /// A part that is neither a fixed text nor a field.
    #[error("`{0}` is neither a fixed text of a-z, 0-9, `_`, `-`, `.` nor a whole `{{field}}`")]
    Segment(String),
    /// The first part is a field: every name would be a room of this feature.
    #[error("a pattern begins with a fixed text")]
    Start,
    /// A field's name that policies could not use.
    #[error("`{0}` cannot be a field: {1}")]
    Field(String, String),
    /// A field that is there twice.
    #[error("the field `{0}` is there twice")]
    Twice(String),
    /// A claim that does not exist.
    #[error("there is no claim `{0}`: there is `user.id`, `user.org`, `user.project`, `user.role`")]
    Claim(String),
}

impl PatternError {
    /// Stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Segments => "segments",
            Self::Segment(_) => "segment",
            Self::Start => "start",
            Self::Field(..) => "field",
            Self::Twice(_) => "twice",
            Self::Claim(_) => "claim",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Fixed(String),
    Field(Field),
}

impl RoomPattern {
    /// The fields, from left to right.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Fixed(_) => None,
            Segment::Field(field) => Some(field),
        })
    }

    /// The values of the fields, from left to right, if `room` is a room of this pattern. Values are never empty, and have
    /// no control characters. Takes time in proportion to the shorter of the two.
    #[must_use]
    pub fn matches<'r>(&self, room: &'r str) -> Option<Vec<&'r str>> {
        if room.len() > ROOM_BYTES_MAX {
            return None;
        }
        let mut parts = room.split('/');
        let mut values = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            let part = parts.next()?;
            match segment {
                Segment::Fixed(text) if text == part => {}
                Segment::Field(_) if !part.is_empty() && !part.contains(char::is_control) => {
                    values.push(part);
                }
                _ => return None,
            }
        }
        parts.next().is_none().then_some(values)
    }

    /// A name that both patterns match, if there is one.
    #[must_use]
    pub fn shared_with(&self, other: &Self) -> Option<String> {
        if self.segments.len() != other.segments.len() {
            return None;
        }
        let mut parts = Vec::with_capacity(self.segments.len());
        for pair in self.segments.iter().zip(&other.segments) {
            parts.push(match pair {
                (Segment::Fixed(one), Segment::Fixed(other)) if one != other => return None,
                (Segment::Fixed(text), _) | (_, Segment::Fixed(text)) => text.as_str(),
                (Segment::Field(field), Segment::Field(_)) => field.name.as_str(),
            });
        }
        Some(parts.join("/"))
    }
}

impl FromStr for RoomPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let parts: Vec<&str> = text.split('/').take(PATTERN_SEGMENTS_MAX + 1).collect();
        if parts.len() > PATTERN_SEGMENTS_MAX || parts.iter().any(|part| part.is_empty()) {
            return Err(PatternError::Segments);
        }
        let mut segments: Vec<Segment> = Vec::with_capacity(parts.len());
        for part in parts {
            let segment = segment(part)?;
            if let Segment::Field(field) = &segment {
                if segments.is_empty() {
                    return Err(PatternError::Start);
                }
                let is_known = segments.iter().any(
                    |other| matches!(other, Segment::Field(other) if other.name == field.name),
                );
                if is_known {
                    return Err(PatternError::Twice(field.name.clone()));
                }
            }
            segments.push(segment);
        }
        Ok(Self { segments })
    }
}

impl fmt::Display for RoomPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments.iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            match segment {
                Segment::Fixed(text) => f.write_str(text)?,
                Segment::Field(Field { claim: None, name }) => write!(f, "{{{name}}}")?,
                Segment::Field(Field {
                    claim: Some(claim), ..
                }) => write!(f, "{{user.{}}}", claim.in_pattern().0)?,
            }
        }
        Ok(())
    }
}

fn segment(part: &str) -> Result<Segment, PatternError> {
    let Some(inner) = part
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    else {
        let is_fixed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
        return if part.chars().all(is_fixed) {
            Ok(Segment::Fixed(part.to_owned()))
        } else {
            Err(PatternError::Segment(part.to_owned()))
        };
    };
    if let Some(claim) = inner.strip_prefix("user.") {
        let known = Claim::ALL.into_iter().find(|c| c.in_pattern().0 == claim);
        let claim = known.ok_or_else(|| PatternError::Claim(inner.to_owned()))?;
        return Ok(Segment::Field(Field {
            name: claim.in_pattern().1.to_owned(),
            claim: Some(claim),
        }));
    }
    check_name(inner).map_err(|why| PatternError::Field(inner.to_owned(), why))?;
    Ok(Segment::Field(Field {
        name: inner.to_owned(),
        claim: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> RoomPattern {
        text.parse().unwrap()
    }

    #[test]
    fn rooms_have_the_fields_of_their_pattern() {
        for (text, room, expected) in [
            ("lobby", "lobby", Some(vec![])),
            (
                "chat/{org}/{topic}",
                "chat/acme/general",
                Some(vec!["acme", "general"]),
            ),
            ("chat/{org}/x", "chat/acme/x", Some(vec!["acme"])),
            ("chat/{org}", "chat/Größe é", Some(vec!["Größe é"])),
            ("chat/{org}", "chat/", None),
            ("chat/{org}", "chat", None),
            ("chat/{org}", "chat/a/b", None),
            ("chat/{org}", "chat/a/", None),
            ("chat/{org}", "/chat/a", None),
            ("chat/{org}", "Chat/a", None),
            ("chat/{org}", "chat/a\nb", None),
            ("chat/{org}", "", None),
        ] {
            assert_eq!(pattern(text).matches(room), expected, "{text} {room}");
        }
        let long = format!("chat/{}", "a".repeat(ROOM_BYTES_MAX - 5));
        assert!(pattern("chat/{org}").matches(&long).is_some());
        assert!(pattern("chat/{org}").matches(&format!("{long}a")).is_none());
    }

    #[test]
    fn patterns_that_share_a_room_are_found() {
        for (one, other, expected) in [
            ("a/{x}", "a/{y}", Some("a/x")),
            ("a/{x}/c", "a/b/{y}", Some("a/b/c")),
            ("a/{x}", "b/{x}", None),
            ("a/{x}", "a/{x}/{y}", None),
            ("a/b", "a/b", Some("a/b")),
        ] {
            let shared = pattern(one).shared_with(&pattern(other));
            assert_eq!(shared.as_deref(), expected, "{one} {other}");
            if let Some(room) = shared {
                assert!(pattern(one).matches(&room).is_some());
                assert!(pattern(other).matches(&room).is_some());
            }
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for (text, code) in [
            ("", "segments"),
            ("a//b", "segments"),
            ("a/", "segments"),
            ("{x}", "start"),
            ("a/{x}/{x}", "twice"),
            ("a/x{y}", "segment"),
            ("a/{x", "segment"),
            ("a/X", "segment"),
            ("a/*", "segment"),
            ("a/{}", "field"),
            ("a/{X}", "field"),
            ("a/{in}", "field"),
            ("a/{user.team}", "claim"),
            ("a/{org}/{user.org}", "twice"),
        ] {
            assert_eq!(
                text.parse::<RoomPattern>().unwrap_err().code(),
                code,
                "{text}"
            );
        }
    }

    #[test]
    fn a_pattern_is_written_as_it_was_read() {
        for text in [
            "lobby",
            "chat/{org}/{topic}",
            "inbox/{user.id}/{user.project}",
        ] {
            assert_eq!(pattern(text).to_string(), text);
        }
    }
}
