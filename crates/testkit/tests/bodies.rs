//! Goal: a hostile body costs the server, and is answered with, no more than an honest one. Method:
//! bodies with as much wrong as fits go to the whole app.

use serde_json::{Map, Value, json};
use testkit::{Outcome, TestApp};

const PROSPECTS: &str = "/crm/v1/prospects/knock";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_problems_of_many_items_are_listed_up_to_a_bound() -> Outcome {
    let app = TestApp::start(1).await?;
    let integration = app.vendors[0].integration_id;
    let path = format!("/v1/admin/integrations/{integration}/communities/bulk");
    let names = (0..40).map(|n| (format!("{n}{}", "x".repeat(10)), Value::from(1)));
    let wrong = Value::Object(names.collect());
    let items = Value::Array(vec![wrong; 1_000]);
    let (status, answer) = app.send("POST", &path, Some(items)).await?;
    assert_eq!(status, 400);
    let issues = answer["error"]["details"]["issues"].as_array();
    let issues = issues.ok_or("issues")?;
    assert_eq!(issues.len(), 101);
    // Three members are missing in each item, and the others are unknown.
    let last = "There are 3900 more problems. Mend those above first";
    assert_eq!(issues[100]["message"], last);
    assert!(answer.to_string().len() < 100_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_too_many_members_is_refused() -> Outcome {
    let app = TestApp::start(1).await?;
    let members: Map<String, Value> = (0..9_000).map(|n| (n.to_string(), json!(n))).collect();
    for query in ["", "?ignore_unknown_fields=true"] {
        let body = Value::Object(members.clone());
        let path = format!("{PROSPECTS}{query}");
        let (status, answer) = app.send("POST", &path, Some(body)).await?;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (400, &json!("invalid_request"))
        );
        let told = answer["error"]["message"].as_str().ok_or("words")?;
        assert!(
            told.contains("an object of more than 256 members"),
            "{told}"
        );
    }
    Ok(())
}
