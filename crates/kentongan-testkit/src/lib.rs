//! Test tools of the workspace. A dev-dependency only: nothing that runs in production may need it.

pub mod fuzz;
pub mod sim;
