//! An operation as a value, for the document and for the router.
//!
//! Guarantee: the route that is served and the operation that is documented are made from the same
//! value.

use std::collections::BTreeMap;

use axum::{
    handler::Handler,
    routing::{MethodFilter, on},
};
use connectors::component::{Component, Schemas};
use model::Permission;
use utoipa::{
    IntoParams, IntoResponses,
    openapi::{
        ContentBuilder, HttpMethod, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
        path::{
            OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
        },
        request_body::RequestBodyBuilder,
        schema::{Array, Object, Type},
        security::SecurityRequirement,
    },
};
use utoipa_axum::router::UtoipaMethodRouter;

/// Refusals, by status.
pub type Problems = BTreeMap<String, RefOr<Response>>;

fn reference(component: &Component) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(component.name()))
}

/// A request body.
#[derive(Clone, Copy)]
pub enum RequestBody {
    /// One thing.
    One(Component),
    /// A list of things.
    Many(Component),
}

/// An operation as the document shows it.
pub struct Operation {
    /// The operation's id.
    pub id: String,
    /// The HTTP method.
    pub method: HttpMethod,
    /// The path, with its parameters in braces.
    pub path: String,
    /// The document's words about the path's one parameter, where it has one.
    pub path_parameter: &'static str,
    /// The document's section.
    pub tag: &'static str,
    /// The heading.
    pub summary: String,
    /// The paragraph under it; empty when there is none.
    pub description: &'static str,
    /// The permission that it takes.
    pub permission: Permission,
    /// Its parameters beside the path's.
    pub parameters: Vec<Parameter>,
    /// Its request body.
    pub body: Option<RequestBody>,
    /// The document's words about its answer, and the answer.
    pub answer: (&'static str, Component),
    /// How it may be refused.
    pub problems: Problems,
}

/// The query parameters that a type stands for.
pub fn query<P: IntoParams>() -> Vec<Parameter> {
    P::into_params(|| Some(ParameterIn::Query))
}

/// The headers that a type stands for.
pub fn headers<P: IntoParams>() -> Vec<Parameter> {
    P::into_params(|| Some(ParameterIn::Header))
}

/// The refusals that a type stands for.
pub fn problems<P: IntoResponses>() -> Problems {
    P::responses()
}

/// The name of the parameter in a path, where it has one.
fn parameter_of(path: &str) -> Option<&str> {
    Some(path.split_once('{')?.1.split_once('}')?.0)
}

impl Operation {
    /// The route that has `handler` behind it, for a router that collects the document.
    pub fn route<H, T, S>(self, handler: H) -> UtoipaMethodRouter<S>
    where
        H: Handler<T, S>,
        T: 'static,
        S: Clone + Send + Sync + 'static,
    {
        let handler = on(filter(&self.method), handler);
        let mut schemas = Schemas::new();
        let text = || Object::with_type(Type::String);
        let in_path = parameter_of(&self.path).map(|name| {
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some(self.path_parameter))
                .schema(Some(text()))
                .build()
        });
        let parameters: Vec<Parameter> = in_path.into_iter().chain(self.parameters).collect();
        let body = self.body.map(|body| {
            let (RequestBody::One(item) | RequestBody::Many(item)) = body;
            item.collect(&mut schemas);
            let schema = match body {
                RequestBody::One(_) => reference(&item),
                RequestBody::Many(_) => Array::new(reference(&item)).into(),
            };
            RequestBodyBuilder::new()
                .content(
                    "application/json",
                    ContentBuilder::new().schema(Some(schema)).build(),
                )
                .required(Some(Required::True))
                .build()
        });
        let (answered, answer) = self.answer;
        answer.collect(&mut schemas);
        let content = ContentBuilder::new()
            .schema(Some(reference(&answer)))
            .build();
        let answered = ResponseBuilder::new()
            .description(answered)
            .content("application/json", content)
            .build();
        let mut operation = OperationBuilder::new()
            .operation_id(Some(self.id))
            .tag(self.tag)
            .summary(Some(self.summary))
            .parameters((!parameters.is_empty()).then_some(parameters))
            .request_body(body)
            .response("200", answered)
            .security(SecurityRequirement::new(
                "bearer",
                [self.permission.to_string()],
            ));
        if !self.description.is_empty() {
            operation = operation.description(Some(self.description));
        }
        for (status, problem) in self.problems {
            operation = operation.response(status, problem);
        }
        let item = PathItem::new(self.method, operation.build());
        let paths = PathsBuilder::new().path(self.path, item).build();
        (schemas, paths, handler)
    }
}

/// The router's word for a method.
const fn filter(method: &HttpMethod) -> MethodFilter {
    match method {
        HttpMethod::Post => MethodFilter::POST,
        HttpMethod::Put => MethodFilter::PUT,
        HttpMethod::Delete => MethodFilter::DELETE,
        HttpMethod::Patch => MethodFilter::PATCH,
        HttpMethod::Head => MethodFilter::HEAD,
        HttpMethod::Options => MethodFilter::OPTIONS,
        HttpMethod::Trace => MethodFilter::TRACE,
        _ => MethodFilter::GET,
    }
}
