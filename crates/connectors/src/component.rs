//! A schema of the OpenAPI document, as a value.

use std::borrow::Cow;

use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

/// Schemas by the names of their components.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// A type that the document has as a component.
#[derive(Clone, Copy)]
pub struct Component {
    name: fn() -> Cow<'static, str>,
    collect: fn(&mut Schemas),
}

impl Component {
    /// The component of a type.
    pub const fn of<T: ToSchema>() -> Self {
        Self {
            name: T::name,
            collect: |all| {
                all.push((T::name().into_owned(), T::schema()));
                T::schemas(all);
            },
        }
    }

    /// A component with this name; `collect` adds its schema and those that it refers to.
    pub const fn new(name: fn() -> Cow<'static, str>, collect: fn(&mut Schemas)) -> Self {
        Self { name, collect }
    }

    /// Its name among the document's components.
    pub fn name(&self) -> Cow<'static, str> {
        (self.name)()
    }

    /// Adds its schema and those that it refers to.
    pub fn collect(&self, schemas: &mut Schemas) {
        (self.collect)(schemas);
    }
}
