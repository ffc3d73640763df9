//! The body of a request to a vendor, and the vendor that it is for.

use connectors::{component::Component, connector::BodyOf};
use model::{Issue, Scope, Vendor};
use serde_json::Value;

use super::{Screened, screen, screen_generic};
use crate::{error::Error, state::App};

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
    /// The schema whoever the vendor is.
    pub generic: Component,
    /// What it is of.
    pub of: BodyOf,
    /// The vendor that the path writes to.
    pub target: Target,
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
    /// When the body is not an object, or, on a generic path, names no integration, and when the
    /// vendor does not take such.
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
        let generic = app.schemas.get(&self.generic.name())?;
        let screened = screen(generic, self.body, self.ignore_unknown)?;
        let mut issues = Vec::new();
        if !screened.is_broken("integration_id") {
            issues.push(Issue::custom(
                "integration_id",
                "No integration has this id, or your key may not use it. Without it the vendor is not known, and the rest was not checked against the vendor's rules",
            ));
        }
        Err(screened.refused(issues))
    }

    /// The body without what the schema of a vendor refuses, which is known to be the one.
    ///
    /// # Errors
    /// When the body is not an object, and when the vendor does not take such.
    pub fn screened_for(self, app: &App, vendor: Vendor) -> Result<Screened, Error> {
        let own = app.connector(vendor)?.body(self.of);
        let own = own.ok_or_else(|| Error::not_taken(vendor))?;
        let own = app.schemas.get(&own.name())?;
        match self.target {
            Target::Of(_) => screen(own, self.body, self.ignore_unknown),
            Target::Generic => {
                let generic = app.schemas.get(&self.generic.name())?;
                screen_generic(generic, own, vendor, self.body, self.ignore_unknown)
            }
        }
    }
}
