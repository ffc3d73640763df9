//! A store that keeps no write: what everything but keeping costs.
//!
//! For measuring only: what it accepts is lost.

use crate::Store;

impl Store {
    /// Makes this store answer [`Accepted`](crate::Acceptance::Accepted) to each write at once, and
    /// keep none.
    #[must_use]
    pub fn discarding(mut self) -> Self {
        self.discards = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{
        CommunityId, Entropy, IntegrationId, JobId, Scope, Secret, Timestamp,
        write::{Call, Confirmed, NewWrite, Operation},
    };
    use serde_json::json;

    use crate::{Acceptance, Sealer, Unobserved};

    struct Fixed;

    impl Entropy for Fixed {
        fn bytes(&self) -> [u8; 16] {
            [7; 16]
        }
    }

    #[tokio::test]
    async fn a_store_that_discards_accepts_and_keeps_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portico.db");
        let sealer = Sealer::new(&Secret::new("a".repeat(64)), Arc::new(Fixed)).unwrap();
        let store =
            crate::sqlite::open(&path, sealer, Arc::new(Unobserved), Timestamp::ZERO).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test acts as the operator")]
        let scope = Scope::operator();
        let job_id = JobId::new(Timestamp::ZERO, &Fixed);
        let write = || NewWrite {
            job_id,
            accepted_at: Timestamp::ZERO,
            // One that is not registered, so that the write cannot be stored.
            integration_id: IntegrationId::new(Timestamp::ZERO, &Fixed),
            community_id: CommunityId::new(Timestamp::ZERO, &Fixed),
            operation: Operation::ProspectCreate,
            result: "{}".to_owned(),
            call: Call {
                method: "POST".to_owned(),
                path: "/prospect".to_owned(),
                x_community_id: "1001".to_owned(),
                body: json!({}),
            },
            confirmed: Confirmed::default(),
            order_keys: Vec::new(),
            blocked_by: Vec::new(),
            retry_of: None,
            consent: None,
            request_id: "a-request".to_owned(),
        };
        assert!(store.write_accept(&scope, write(), None).await.is_err());
        let store = store.discarding();
        let accepted = store.write_accept(&scope, write(), None).await;
        assert_eq!(accepted.unwrap(), Acceptance::Accepted);
        assert!(store.write_find(&scope, job_id).await.unwrap().is_none());
        store.close().await;
    }
}
