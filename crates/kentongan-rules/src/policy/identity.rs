//! Who asks: what a checked token says about its user, in the form that decisions are made from.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use thiserror::Error;

use crate::limits::{CLAIM_BYTES_MAX, CLAIM_ENTRIES_MAX};

/// A user with organization, projects and roles. Cheap to clone. Checking the token it comes from is the caller's duty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    pub(crate) user: Arc<str>,
    pub(crate) class: Arc<Class>,
}

/// What users with the same rights have in common.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) org: String,
    /// Sorted, each once.
    pub(crate) projects: Vec<String>,
    /// Sorted, each once.
    pub(crate) roles: Vec<String>,
}

/// Why claims make no identity.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The token names no user.
    #[error("the token names no user")]
    NoUser,
    /// A claim is too long.
    #[error("a claim has more than {CLAIM_BYTES_MAX} bytes")]
    TooLong,
    /// Too many projects or roles.
    #[error("the token names more than {CLAIM_ENTRIES_MAX} projects or roles")]
    TooMany,
}

impl IdentityError {
    /// Stable name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoUser => "no_user",
            Self::TooLong => "claim_too_long",
            Self::TooMany => "too_many_claims",
        }
    }
}

impl Identity {
    /// An identity. An empty `org` means none; no room has an empty field, so it equals no field.
    ///
    /// # Errors
    /// When there is no user, or more than [`CLAIM_BYTES_MAX`] or [`CLAIM_ENTRIES_MAX`] allow.
    pub fn new(
        user: &str,
        org: &str,
        projects: impl IntoIterator<Item = String>,
        roles: impl IntoIterator<Item = String>,
    ) -> Result<Self, IdentityError> {
        if user.is_empty() {
            return Err(IdentityError::NoUser);
        }
        if user.len() > CLAIM_BYTES_MAX || org.len() > CLAIM_BYTES_MAX {
            return Err(IdentityError::TooLong);
        }
        let class = Class {
            org: org.to_owned(),
            projects: set(projects)?,
            roles: set(roles)?,
        };
        Ok(Self {
            user: user.into(),
            class: Arc::new(class),
        })
    }

    /// Who it is.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The organization; empty when there is none.
    #[must_use]
    pub fn org(&self) -> &str {
        &self.class.org
    }

    /// Projects, sorted.
    #[must_use]
    pub fn projects(&self) -> &[String] {
        &self.class.projects
    }

    /// Roles, sorted.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.class.roles
    }
}

impl Hash for Class {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.org.hash(state);
        self.projects.hash(state);
        self.roles.hash(state);
    }
}

/// A list as a sorted set. Stops at the limit, so that a list without end is no danger.
fn set(entries: impl IntoIterator<Item = String>) -> Result<Vec<String>, IdentityError> {
    let mut set = Vec::new();
    for entry in entries {
        if entry.len() > CLAIM_BYTES_MAX {
            return Err(IdentityError::TooLong);
        }
        if set.len() == CLAIM_ENTRIES_MAX {
            return Err(IdentityError::TooMany);
        }
        set.push(entry);
    }
    set.sort_unstable();
    set.dedup();
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_rights_are_the_same_class() {
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let one = Identity::new("anna", "acme", list(&["b", "a", "b"]), list(&[])).unwrap();
        let other = Identity::new("ben", "acme", list(&["a", "b"]), list(&[])).unwrap();
        assert_eq!(one.class, other.class);
        assert_ne!(one, other);
        let moved = Identity::new("ben", "acme", list(&[]), list(&["a", "b"])).unwrap();
        assert_ne!(one.class, moved.class);
    }

    #[test]
    fn claims_have_limits() {
        let none = Vec::<String>::new;
        assert_eq!(
            Identity::new("", "", none(), none()),
            Err(IdentityError::NoUser)
        );
        let long = "x".repeat(CLAIM_BYTES_MAX + 1);
        assert_eq!(
            Identity::new(&long, "", none(), none()),
            Err(IdentityError::TooLong)
        );
        assert_eq!(
            Identity::new("a", &long, none(), none()),
            Err(IdentityError::TooLong)
        );
        assert_eq!(
            Identity::new("a", "", [long], none()),
            Err(IdentityError::TooLong)
        );
        let endless = std::iter::repeat("x".to_owned());
        assert_eq!(
            Identity::new("a", "", none(), endless),
            Err(IdentityError::TooMany)
        );
        let full = std::iter::repeat_n("x".to_owned(), CLAIM_ENTRIES_MAX);
        assert!(Identity::new("a", "", full, none()).is_ok());
    }
}
