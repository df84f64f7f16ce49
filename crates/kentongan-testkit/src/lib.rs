//! Test tools of the workspace. A dev-dependency only: nothing that runs in production may need it.

#[cfg(feature = "adapter")]
pub mod adapter_suite;
pub mod fuzz;
#[cfg(feature = "history")]
pub mod history;
pub mod sim;
#[cfg(feature = "store")]
pub mod store_suite;
