//! The table of operations, for every vendor of the build.

use testkit::{Outcome, operations::every_operation};

use super::VENDORS;

#[tokio::test(flavor = "multi_thread")]
async fn toy_passes_the_table_of_operations() -> Outcome {
    every_operation(VENDORS, &toy::DEFINITION).await
}

#[tokio::test(flavor = "multi_thread")]
async fn knock_passes_it_beside_toy() -> Outcome {
    every_operation(VENDORS, &connectors::knock::DEFINITION).await
}
