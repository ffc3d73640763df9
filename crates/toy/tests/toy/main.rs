//! The toy vendor goes through everything that a vendor has to pass.

mod faults;
mod kill;
mod operations;
mod paces;
mod registration;
mod secrets;
mod tokens;

use connectors::{connector::Definition, knock};

/// The build that has it.
const VENDORS: &[&Definition] = &[&toy::DEFINITION, &knock::DEFINITION];
