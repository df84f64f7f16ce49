//! All namespaces of a server: those made by name, and those that patterns allow.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use bytestring::ByteString;
use futures_util::future::BoxFuture;
use kentongan_protocol::socket::args::Args;
use parking_lot::RwLock;
use regex::Regex;

use super::{NamespaceInner, behaviour::Behaviour};
use crate::{adapter::cluster::Cluster, config::SharedConfig, metrics::Metrics};

pub(crate) struct Namespaces {
    config: SharedConfig,
    pub(crate) metrics: Arc<Metrics>,
    /// This node's end of the cluster, if it is in one.
    pub(crate) cluster: Option<Arc<Cluster>>,
    by_name: RwLock<HashMap<ByteString, Entry>>,
    parents: RwLock<Vec<Parent>>,
}

struct Entry {
    namespace: Arc<NamespaceInner>,
    /// Made by a pattern: counted, and perhaps removed when empty.
    is_child: bool,
}

#[derive(Clone)]
struct Parent {
    allows: Allows,
    behaviour: Arc<Behaviour>,
}

/// Whether a name may become a namespace.
pub(crate) type Predicate = Arc<dyn Fn(ByteString, Args) -> BoxFuture<'static, bool> + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Allows {
    Pattern(Regex),
    Predicate(Predicate),
}

/// A client on its way into a namespace, which stays while it is.
pub(crate) struct Arriving(Arc<NamespaceInner>);

impl Arriving {
    fn new(namespace: &Arc<NamespaceInner>) -> Self {
        namespace.arriving.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(namespace))
    }

    pub(crate) fn namespace(&self) -> &Arc<NamespaceInner> {
        &self.0
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.arriving.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Namespaces {
    pub(crate) fn new(config: SharedConfig, metrics: Arc<Metrics>) -> Self {
        let cluster = config
            .cluster
            .as_ref()
            .map(|cluster| Cluster::new(cluster, &metrics));
        Self {
            config,
            metrics,
            cluster,
            by_name: RwLock::default(),
            parents: RwLock::default(),
        }
    }

    /// The namespace of this name, made if need be.
    pub(crate) fn of(&self, name: &str) -> Arc<NamespaceInner> {
        let name = if name.starts_with('/') {
            ByteString::from(name)
        } else {
            ByteString::from(format!("/{name}"))
        };
        if let Some(entry) = self.by_name.read().get(&name) {
            return Arc::clone(&entry.namespace);
        }
        // As in Node, a name that fits a pattern gets the pattern's listeners.
        let parents = self.parents.read();
        let parent = parents.iter().find(
            |parent| matches!(&parent.allows, Allows::Pattern(pattern) if pattern.is_match(&name)),
        );
        let behaviour = parent
            .map(|parent| Arc::clone(&parent.behaviour))
            .unwrap_or_default();
        drop(parents);
        self.make(&name, behaviour, false)
    }

    /// The namespace of this name, if it is there.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<NamespaceInner>> {
        self.by_name
            .read()
            .get(name)
            .map(|entry| Arc::clone(&entry.namespace))
    }

    pub(crate) fn add_parent(&self, allows: Allows) -> Arc<Behaviour> {
        let behaviour = Arc::<Behaviour>::default();
        self.parents.write().push(Parent {
            allows,
            behaviour: Arc::clone(&behaviour),
        });
        behaviour
    }

    /// The namespace that a client asks for, if there is or may be one.
    pub(crate) async fn resolve(&self, name: &ByteString, auth: &Args) -> Option<Arriving> {
        if let Some(entry) = self.by_name.read().get(name) {
            return Some(Arriving::new(&entry.namespace));
        }
        let parents = self.parents.read().clone();
        for parent in parents {
            let allowed = match &parent.allows {
                Allows::Pattern(pattern) => pattern.is_match(name),
                Allows::Predicate(predicate) => predicate(name.clone(), auth.clone()).await,
            };
            if allowed {
                let children = self
                    .by_name
                    .read()
                    .values()
                    .filter(|entry| entry.is_child)
                    .count();
                if children >= self.config.held.child_namespaces_max {
                    return None;
                }
                let namespace = self.make(name, parent.behaviour, true);
                // It may have been removed again before it was counted.
                let arriving = Arriving::new(&namespace);
                let behaviour = Arc::clone(&namespace.behaviour);
                let current = self.make(name, behaviour, true);
                return Some(if Arc::ptr_eq(&current, &namespace) {
                    arriving
                } else {
                    Arriving::new(&current)
                });
            }
        }
        None
    }

    /// Removes a namespace that a pattern made, if that is wanted and nobody is in it.
    pub(crate) fn clean_up(&self, namespace: &NamespaceInner) {
        if !self.config.cleanup_empty_child_namespaces {
            return;
        }
        let mut by_name = self.by_name.write();
        if by_name
            .get(&namespace.name)
            .is_some_and(|entry| entry.is_child && entry.namespace.is_deserted())
        {
            by_name.remove(&namespace.name);
        }
    }

    pub(crate) fn names(&self) -> Vec<ByteString> {
        self.by_name.read().keys().cloned().collect()
    }

    fn make(
        &self,
        name: &ByteString,
        behaviour: Arc<Behaviour>,
        is_child: bool,
    ) -> Arc<NamespaceInner> {
        let mut by_name = self.by_name.write();
        let entry = by_name.entry(name.clone()).or_insert_with(|| Entry {
            namespace: NamespaceInner::new(
                name.clone(),
                behaviour,
                &self.config,
                &self.metrics,
                self.cluster.clone(),
            ),
            is_child,
        });
        Arc::clone(&entry.namespace)
    }
}
