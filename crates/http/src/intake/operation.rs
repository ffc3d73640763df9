//! An operation that writes, as a value that a resource defines, and its routes: one that finds the
//! vendor, and one for each vendor that takes such writes.

use std::pin::Pin;

use axum::http::Method;
use connectors::{
    Connector, component::Component, write_operation::WriteOperation as VendorsOperation,
};
use model::{Permission, Scope, Vendor, resources::prospect::Known, write::Operation};
use utoipa::openapi::HttpMethod;

use super::answer::{Answer, echo, job};
use crate::{error::Error, screening::Target, state::App};

/// A future that borrows what it was made with.
pub type Future<'a, T> = Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

/// The record that a path names, and its vendor.
pub struct Subject {
    /// The prospect.
    pub known: Known,
    /// Its vendor.
    pub vendor: Vendor,
}

/// How the record is found that a path names.
pub type FindSubject =
    for<'a> fn(&'a App, &'a Scope, &'a str, Target) -> Future<'a, Result<Subject, Error>>;

/// An operation that writes, whoever the vendor is.
pub struct WriteOperation {
    /// The operation's id in the document.
    pub id: &'static str,
    /// The kind of write that it makes.
    pub operation: Operation,
    /// The HTTP method: POST for a new record, PUT for a change of the record that the path names.
    pub method: HttpMethod,
    /// The path, with its parameter in braces.
    pub path: &'static str,
    /// The path of one vendor, which stands for `{vendor}`.
    pub vendor_path: &'static str,
    /// The document's section.
    pub tag: &'static str,
    /// The document's heading.
    pub summary: &'static str,
    /// The document's words about it.
    pub description: &'static str,
    /// The permission that it takes.
    pub permission: Permission,
    /// The body whoever the vendor is, as far as it is of no vendor.
    pub body: Component,
    /// How the record is found that the path names, where it names one.
    pub find_subject: Option<FindSubject>,
}

/// A route of an operation.
pub struct WriteRoute {
    /// The operation.
    pub operation: &'static WriteOperation,
    /// The vendor that it writes to.
    pub target: Target,
    /// The operation's id in the document.
    pub id: String,
    /// The path, with its parameter in braces.
    pub path: String,
    /// The document's heading.
    pub summary: String,
    /// The document's words about it.
    pub description: &'static str,
    /// The body in the document.
    pub body: Component,
    /// The body of the answer.
    pub answer: Answer,
}

impl WriteOperation {
    /// The route that finds the vendor.
    pub fn generic(&'static self) -> WriteRoute {
        WriteRoute {
            operation: self,
            target: Target::Generic,
            id: self.id.to_owned(),
            path: self.path.to_owned(),
            summary: self.summary.to_owned(),
            description: self.description,
            body: self.body,
            answer: job(),
        }
    }

    /// The route of a vendor.
    fn of_vendor(&'static self, connector: &Connector, own: &VendorsOperation) -> WriteRoute {
        let vendor = connector.vendor();
        WriteRoute {
            operation: self,
            target: Target::Of(vendor),
            id: format!("{}_{}", self.id, vendor.slug()),
            path: self.path_of(vendor),
            summary: format!("{}: {}", self.summary, connector.definition().title),
            description: own.description,
            body: own.body,
            answer: echo(),
        }
    }

    fn path_of(&self, vendor: Vendor) -> String {
        self.vendor_path.replace("{vendor}", &vendor.slug())
    }

    /// Whether this is its method, and its path of a vendor, whether the vendor takes such writes or
    /// not.
    pub fn is_at(&self, vendor: Vendor, method: &Method, path: &str) -> bool {
        let own = self.path_of(vendor);
        let (own, asked) = (own.split('/'), path.split('/'));
        let is_method = match self.method {
            HttpMethod::Put => *method == Method::PUT,
            _ => *method == Method::POST,
        };
        is_method
            && own.clone().count() == asked.clone().count()
            && own
                .zip(asked)
                .all(|(own, asked)| own.starts_with('{') || own == asked)
    }

    /// All its routes, with those of each of these vendors that takes such writes.
    pub fn routes<'a>(
        &'static self,
        connectors: impl Iterator<Item = &'a Connector>,
    ) -> impl Iterator<Item = WriteRoute> {
        let of_vendors = connectors.filter_map(|connector| {
            let own = connector.operation(self.operation)?;
            Some(self.of_vendor(connector, own))
        });
        std::iter::once(self.generic()).chain(of_vendors)
    }
}

impl WriteRoute {
    /// The name that an idempotency key is bound to. Names are stored for as long as keys are, so
    /// they stay as they are.
    pub(super) fn named(&self, subject: Option<&str>, ignore_unknown: bool) -> String {
        let operation = self.operation.operation;
        let subject = subject.unwrap_or_default();
        let target = match self.target {
            Target::Generic => "Generic".to_owned(),
            Target::Of(vendor) => format!("Of({})", vendor.suffix()),
        };
        format!("{operation} {target} {ignore_unknown} {subject}")
    }
}

#[cfg(test)]
mod tests {
    use connectors::{Registry, VENDORS};

    use super::*;
    use crate::resources::prospects::{CREATE, UPDATE};

    #[test]
    fn the_name_that_an_idempotency_key_is_bound_to_stays_as_it_is() {
        let registry = Registry::new(VENDORS, [].into(), &[]).unwrap();
        let knock = |operation: &'static WriteOperation| {
            let mut routes = operation.routes(registry.connectors());
            routes.find(|route| route.path.contains("/knock")).unwrap()
        };
        for (named, expected) in [
            (
                CREATE.generic().named(None, false),
                "prospect_create Generic false ",
            ),
            (
                knock(&CREATE).named(None, true),
                "prospect_create Of(Knock) true ",
            ),
            (
                knock(&UPDATE).named(Some("pro_1"), false),
                "prospect_update Of(Knock) false pro_1",
            ),
        ] {
            assert_eq!(named, expected);
        }
    }
}
