//! The body of a write, and the vendor that it is for.

use model::{Issue, Scope, directory::Vendor};
use serde_json::Value;

use super::{Screened, screen, screen_generic};
use crate::{document::schemas::own_name, error::Error, state::App};

/// The vendor that a path writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one that the path names.
    Of(Vendor),
    /// The one behind the integration or the record.
    Generic,
}

/// A body that is to be screened.
pub struct Draft {
    /// The name of the generic schema: `ProspectCreate`.
    pub schema: &'static str,
    /// The vendor that the path writes to.
    pub target: Target,
    /// The record that the path names.
    pub subject: Option<String>,
    /// The body.
    pub body: Value,
    /// Whether members that the schema does not have are dropped.
    pub ignore_unknown: bool,
}

impl Draft {
    /// The vendor, which a generic body names by its integration, and the body without what that
    /// vendor's schema refuses.
    ///
    /// # Errors
    /// When the body is not an object, or, on a generic path, names no integration.
    pub fn screened(self, app: &App, scope: &Scope) -> Result<(Vendor, Screened), Error> {
        let vendor = match self.target {
            Target::Of(vendor) => Some(vendor),
            Target::Generic => self.body["integration_id"]
                .as_str()
                .and_then(|id| Some(app.live.get().find_integration(scope, id)?.vendor)),
        };
        if let Some(vendor) = vendor {
            return Ok((vendor, self.screened_for(app, vendor)?));
        }
        let screened = screen(
            app.schemas.get(self.schema)?,
            self.body,
            self.ignore_unknown,
        )?;
        let mut issues = Vec::new();
        if !screened.is_broken("integration_id") {
            issues.push(Issue::custom(
                "integration_id",
                "No integration has this id, or your key may not use it. Without it the vendor is not known, and the rest was not checked against the vendor's rules",
            ));
        }
        screened.settle(Err(issues))
    }

    /// The body without what the schema of a vendor refuses, which is known to be the one.
    ///
    /// # Errors
    /// When the body is not an object.
    pub fn screened_for(self, app: &App, vendor: Vendor) -> Result<Screened, Error> {
        let own = app.schemas.get(&own_name(self.schema, vendor))?;
        match self.target {
            Target::Of(_) => screen(own, self.body, self.ignore_unknown),
            Target::Generic => {
                let generic = app.schemas.get(self.schema)?;
                screen_generic(generic, own, vendor, self.body, self.ignore_unknown)
            }
        }
    }
}
