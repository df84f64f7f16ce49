//! The guide: one page for each thing that you may want to do. Its texts are in `docs/guide`; its examples are tests.
//!
//! Owns nothing but documentation.

#[cfg(doc)]
#[allow(unused_imports, reason = "links of the texts are resolved with it")]
use crate::*;

macro_rules! pages {
    ($($name:ident)*) => {$(
        #[doc = include_str!(concat!("../../../docs/guide/", stringify!($name), ".md"))]
        pub mod $name {}
    )*};
}

pages! {
    getting_started
    events
    acks
    rooms
    namespaces
    middleware
    recovery
    order_and_limits
    transports
    lifecycle
    testing
    from_node
    from_socketioxide
    troubleshooting
}
