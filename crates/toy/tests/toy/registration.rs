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
