//! An integration of Toy is made through the API, beside those of another vendor.

use serde_json::{Value, json};
use testkit::{Outcome, TestApp, customer::Customer};

use super::VENDORS;

fn body(customer: &Customer, credentials: &Value) -> Value {
    json!({
        "integration_vendor": "TOY", "name": "Toy Homes", "credentials": credentials,
        "base_url": format!("http://{}", customer.address), "active": true,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credentials_are_those_of_the_vendor_that_is_named() -> Outcome {
    let (mut app, customer) = TestApp::start_for(VENDORS, &toy::DEFINITION).await?;
    let path = "/v1/admin/integrations";
    for (credentials, named) in [
        (json!({ "apiKey": "toy-key-for-the-header" }), "secret"),
        (json!({ "apiKey": "k", "secret": "s", "more": "m" }), "more"),
        (json!({ "apiKey": 1, "secret": "s" }), "apiKey"),
    ] {
        let (status, answer) = app
            .send("POST", path, Some(body(&customer, &credentials)))
            .await?;
        assert_eq!(status, 400, "{answer}");
        assert!(
            answer["error"].to_string().contains(named),
            "{named}: {answer}"
        );
    }
    // They are tried: the token is asked for.
    let wrong = json!({ "apiKey": "toy-key-for-the-header", "secret": "a-wrong-secret" });
    let (status, answer) = app
        .send("POST", path, Some(body(&customer, &wrong)))
        .await?;
    assert_eq!(status, 409, "{answer}");
    let right = json!({ "apiKey": "toy-key-for-the-header", "secret": "toy-secret-for-the-body" });
    let (status, answer) = app
        .send("POST", path, Some(body(&customer, &right)))
        .await?;
    assert_eq!(status, 200, "{answer}");
    let id = answer["results"]["id"]
        .as_str()
        .or(answer["result"]["id"].as_str());
    let own = format!("{path}/{}", id.unwrap_or_default());
    let change = json!({ "credentials": { "apiKey": "another" } });
    let (status, answer) = app.send("PUT", &own, Some(change)).await?;
    assert_eq!(status, 400, "{answer}");
    // A header that would show one of the secrets is refused.
    let header = json!({ "extra_headers": [
        { "header": "x-shown", "value": "toy-secret-for-the-body" },
    ] });
    let (status, answer) = app.send("PUT", &own, Some(header)).await?;
    assert_eq!(status, 400, "{answer}");
    app.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_the_vendor_does_not_look_at_is_not_taken() -> Outcome {
    let (mut app, customer) = TestApp::start_for(VENDORS, &toy::DEFINITION).await?;
    let path = "/v1/admin/integrations";
    let right = json!({ "apiKey": "toy-key-for-the-header", "secret": "toy-secret-for-the-body" });
    let mut new = body(&customer, &right);
    for name in ["authorization", "x-another"] {
        new["key_header_name"] = json!(name);
        let (status, answer) = app.send("POST", path, Some(new.clone())).await?;
        assert_eq!(status, 400, "{answer}");
        let change = json!({ "key_header_name": name });
        let own = format!("{path}/{}", customer.integration_id);
        let (status, answer) = app.send("PUT", &own, Some(change)).await?;
        assert_eq!(status, 400, "{answer}");
    }
    new["key_header_name"] = json!("X-Toy-Key");
    let (status, answer) = app.send("POST", path, Some(new)).await?;
    assert_eq!(status, 200, "{answer}");
    app.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vendor_lacks_is_said_on_its_paths() -> Outcome {
    let (mut app, _) = TestApp::start_for(VENDORS, &toy::DEFINITION).await?;
    for path in [
        "listings/toy",
        "appointments/toy",
        "appointment-availability/toy",
    ] {
        let path = format!("/crm/v1/{path}");
        let (status, answer) = app.send("POST", &path, Some(json!({}))).await?;
        assert_eq!(status, 405, "{path}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(
            message.starts_with("TOY has no such operation"),
            "{path}: {message}"
        );
    }
    let (status, answer) = app.send("DELETE", "/crm/v1/listings/toy", None).await?;
    assert_eq!(status, 405, "{answer}");
    let (status, _) = app
        .send("POST", "/crm/v1/appointment-availability/nope", None)
        .await?;
    assert_eq!(status, 404);
    let mut wrong = json!({ "integration_vendor": "toy", "name": "n", "credentials": {} });
    wrong["active"] = json!(false);
    let (_, answer) = app
        .send("POST", "/v1/admin/integrations", Some(wrong))
        .await?;
    let shown = answer["error"].to_string();
    assert!(
        shown.contains("The text is not one of KNOCK, TOY"),
        "{shown}"
    );
    app.stop().await;
    Ok(())
}

/// A build without the vendor keeps what is there, says what is missing, and loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn writes_wait_for_a_build_that_has_their_vendor() -> Outcome {
    let (mut app, customer) = TestApp::start_for(VENDORS, &toy::DEFINITION).await?;
    let fault = json!({ "match": { "path": "/v1/leads" }, "kind": "status", "status": 503 });
    customer.control("POST", "/faults", fault).await?;
    let create = customer.referring(json!({
        "integration_id": "", "community_id": "", "email_1": "ada@example.com",
    }));
    let (_, accepted) = app
        .send("POST", "/crm/v1/prospects/toy", Some(create.clone()))
        .await?;
    let job_id = accepted["meta"]["job_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    app.stop().await;
    app.rebuild(connectors::VENDORS);
    app.resume().await?;
    let integration = format!("/v1/admin/integrations/{}", customer.integration_id);
    for (method, path, body) in [
        ("POST", "/crm/v1/prospects".to_owned(), Some(create)),
        (
            "PUT",
            integration.clone(),
            Some(json!({ "name": "Another" })),
        ),
        ("POST", format!("{integration}/data-access"), None),
        ("POST", format!("{integration}/manual-sync"), None),
    ] {
        let (status, answer) = app.send(method, &path, body).await?;
        assert_eq!(status, 503, "{path}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(
            message.contains("does not have the vendor TOY"),
            "{path}: {message}"
        );
    }
    app.stop().await;
    customer.control("DELETE", "/faults", Value::Null).await?;
    app.rebuild(VENDORS);
    app.resume().await?;
    app.clock.advance_ms(60_000);
    let write = app.ended_within(&job_id, 1_000, 600).await?;
    assert_eq!(write["write_status"], "SUCCESS", "{write}");
    app.stop().await;
    Ok(())
}
