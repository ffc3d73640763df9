//! The table of operations that every vendor has to pass.
//!
//! Goal: no operation of any vendor forgets a field, a rule or a path. Method: the vendor's definition
//! says which there are, the OpenAPI document that is served gives each a valid body and says what else
//! can be wrong with it; the vendor's sandbox takes what is sent.

use connectors::{component::Component, connector::Definition, write_operation::WriteOperation};
use model::{Clock as _, write::Operation};
use serde_json::{Map, Value, json};

use crate::{Outcome, TestApp, customer::Customer, wrong};

/// How often a prospect is written until the vendor has told its id.
const ID_TRIES: usize = 3;

/// From now to a tour that is booked: a week.
const TOUR_IN_MS: i64 = 7 * 24 * 3_600_000;

/// A route of the document.
struct Route {
    method: String,
    path: String,
}

/// A running app with a customer, and the document that it serves.
struct Table {
    app: TestApp,
    customer: Customer,
    document: Value,
    /// A prospect that the vendor has told the id of.
    prospect_id: String,
}

/// Runs every operation of `definition` through the table, in a build with `definitions`.
///
/// # Errors
/// What is not as it has to be.
pub async fn every_operation(
    definitions: &'static [&'static Definition],
    definition: &'static Definition,
) -> Outcome {
    let (app, customer) = TestApp::start_for(definitions, definition).await?;
    let (_, document) = app.send("GET", "/openapi.json", None).await?;
    let mut table = Table {
        app,
        customer,
        document,
        prospect_id: String::new(),
    };
    table.prospect_id = table.prospect().await?;
    for operation in definition.operations {
        table.taken(operation).await?;
        table.refused(operation).await?;
        for other in definitions {
            let is_other = other.terms.vendor != definition.terms.vendor;
            let theirs = other.operations.iter();
            let mut theirs = theirs.filter(|one| one.operation == operation.operation);
            if let (true, Some(theirs)) = (is_other, theirs.next()) {
                table.of_another_vendor(operation, theirs).await?;
            }
        }
    }
    for operation in Operation::ALL {
        if definition
            .operations
            .iter()
            .all(|one| one.operation != *operation)
        {
            table.lacking(*operation).await?;
        }
    }
    table.app.stop().await;
    Ok(())
}

fn check(is_so: bool, what: impl FnOnce() -> String) -> Outcome {
    match is_so {
        true => Ok(()),
        false => Err(wrong(what())),
    }
}

impl Table {
    fn schema(&self, name: &str) -> &Value {
        &self.document["components"]["schemas"][name]
    }

    /// The route whose body has this schema.
    fn route(&self, name: &str) -> Outcome<Route> {
        let wanted = format!("#/components/schemas/{name}");
        let paths = self.document["paths"].as_object();
        for (path, item) in paths.into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let body = &operation["requestBody"]["content"]["application/json"]["schema"];
                if body["$ref"] == wanted.as_str() {
                    let path = path
                        .replace("{prospect_id}", &self.prospect_id)
                        .replace("{id}", &self.prospect_id);
                    return Ok(Route {
                        method: method.to_uppercase(),
                        path,
                    });
                }
            }
        }
        Err(wrong(format!("no route takes a {name}")))
    }

    /// A body that the schema shows as an example, about what there is.
    fn body(&self, body: Component) -> Value {
        let example = self.schema(&body.name())["example"].clone();
        let mut body = self.customer.referring(example);
        if body.get("prospect_id").is_some() {
            body["prospect_id"] = json!(self.prospect_id);
        }
        if body.get("appointment_date").is_some() {
            let soon = self.app.clock.now().plus_millis(TOUR_IN_MS).to_string();
            body["appointment_date"] = json!(soon.get(..10));
        }
        body
    }

    async fn send(&self, route: &Route, body: Value) -> Outcome<(u16, Value)> {
        self.app.send(&route.method, &route.path, Some(body)).await
    }

    /// Makes a prospect, and waits until the vendor has told its id.
    async fn prospect(&self) -> Outcome<String> {
        let operations = self.customer.definition.operations.iter();
        let create = operations
            .clone()
            .find(|one| one.operation == Operation::ProspectCreate)
            .ok_or("it makes prospects")?;
        let route = self.route(&create.body.name())?;
        for _ in 0..ID_TRIES {
            let (status, answer) = self.send(&route, self.body(create.body)).await?;
            let job_id = answer["meta"]["job_id"].as_str();
            let job_id = job_id.ok_or_else(|| wrong(format!("{status} {answer}")))?;
            let write = self.app.ended_within(job_id, 1_000, 200).await?;
            let id = write["created_record_id"].as_str();
            let id = id.ok_or_else(|| wrong(write.to_string()))?;
            let path = format!("/crm/v1/prospects/{id}");
            let (_, record) = self.app.send("GET", &path, None).await?;
            if !record["results"]["x_id"].is_null() {
                return Ok(id.to_owned());
            }
        }
        Err(wrong("the vendor never told the id of a prospect"))
    }

    /// The name of the schema whoever the vendor is.
    fn generic(&self, own: &str) -> String {
        let suffix = self.customer.definition.terms.vendor.suffix();
        own.strip_suffix(&suffix).unwrap_or(own).to_owned()
    }

    /// Both paths take a valid body, echo it with every field, and have the vendor take it.
    async fn taken(&self, operation: &WriteOperation) -> Outcome {
        let name = operation.body.name();
        let (own, generic) = (self.route(&name)?, self.route(&self.generic(&name))?);
        let body = self.body(operation.body);
        let (status, answer) = self.send(&own, body.clone()).await?;
        check(status == 200, || format!("{name}: {status} {answer}"))?;
        let fields = self.schema(&name)["properties"].as_object();
        let fields = fields.ok_or("the schema has fields")?;
        let echoed = answer["result"].as_object().ok_or("an echo")?;
        let is_whole = fields.keys().all(|field| echoed.contains_key(field));
        check(is_whole && echoed.len() == fields.len(), || {
            format!("{name}: the echo lacks a field, or has one more: {answer}")
        })?;
        for (field, value) in body.as_object().into_iter().flatten() {
            check(echoed[field] == *value, || {
                format!("{name}: {field} is not echoed: {answer}")
            })?;
        }
        let (status, other) = self.send(&generic, body).await?;
        check(status == 200, || {
            format!("{name}, generic: {status} {other}")
        })?;
        for job_id in [&answer["meta"]["job_id"], &other["job_id"]] {
            let job_id = job_id.as_str().ok_or("a job id")?;
            let write = self.app.ended_within(job_id, 1_000, 200).await?;
            check(write["write_status"] == "SUCCESS", || {
                format!("{name}: {write}")
            })?;
        }
        Ok(())
    }

    /// A body that lacks a field, has one more, or has one of another type, is refused with its name.
    async fn refused(&self, operation: &WriteOperation) -> Outcome {
        let name = operation.body.name();
        let schema = self.schema(&name);
        let empty = Map::new();
        let fields = schema["properties"].as_object().unwrap_or(&empty);
        let required = schema["required"].as_array();
        let required = required.into_iter().flatten().filter_map(Value::as_str);
        let valid = self.body(operation.body);
        let mut wrongs: Vec<(String, Value)> = Vec::new();
        for field in required {
            let mut body = valid.clone();
            if let Some(body) = body.as_object_mut() {
                body.remove(field);
            }
            wrongs.push((field.to_owned(), body));
        }
        for field in fields.keys() {
            let mut body = valid.clone();
            body[field] = json!({ "of": "another type" });
            wrongs.push((field.clone(), body));
        }
        let mut more = valid.clone();
        more["no_such_field"] = json!(1);
        wrongs.push(("no_such_field".to_owned(), more));
        let route = self.route(&name)?;
        for (field, body) in wrongs {
            let (status, answer) = self.send(&route, body).await?;
            let is_named = answer["error"].to_string().contains(&field);
            check(status == 400 && is_named, || {
                format!("{name} with a wrong {field}: {status} {answer}")
            })?;
        }
        Ok(())
    }

    /// The path of another vendor refuses what is this one's.
    async fn of_another_vendor(
        &self,
        operation: &WriteOperation,
        theirs: &WriteOperation,
    ) -> Outcome {
        let route = self.route(&theirs.body.name())?;
        let (status, answer) = self.send(&route, self.body(operation.body)).await?;
        let expected = match operation.operation {
            Operation::ProspectUpdate => 409,
            _ => 400,
        };
        check(status == expected, || {
            format!(
                "{} at another vendor's: {status} {answer}",
                operation.operation
            )
        })
    }

    /// What the vendor lacks has no path of its own, and the one that names no vendor says so.
    async fn lacking(&self, operation: Operation) -> Outcome {
        let paths = [
            (Operation::EventCreate, "/crm/v1/events"),
            (Operation::AppointmentCreate, "/crm/v1/appointments"),
            (Operation::ListingCreate, "/crm/v1/listings"),
        ];
        let path = paths.iter().find(|(one, _)| *one == operation);
        let (_, path) = path.ok_or("a vendor without prospects is none")?;
        let body = json!({ "integration_id": self.customer.integration_id });
        let (status, answer) = self.app.send("POST", path, Some(body)).await?;
        let vendor = self.customer.definition.terms.vendor;
        let is_named = answer.to_string().contains(vendor.name());
        check(status == 405 && is_named, || {
            format!("{operation}: {status} {answer}")
        })?;
        let own = format!("{path}/{}", vendor.slug());
        let (status, answer) = self.app.send("POST", &own, Some(json!({}))).await?;
        check(status == 404 || status == 405, || {
            format!("{own}: {status} {answer}")
        })
    }
}
