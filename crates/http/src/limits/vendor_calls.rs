//! Calls to vendors that callers wait for: realtime availability, and checks of credentials.
//!
//! Guarantee: their number is bounded, over all integrations and for each, so that a vendor that
//! hangs leaves slots to the others.

use std::sync::{Mutex, MutexGuard, PoisonError};

use model::IntegrationId;

use crate::{error::Error, limits::tally::Tally};

/// Calls under way at once, over all integrations: each holds a connection.
pub const VENDOR_CALLS_MAX: usize = 64;

/// Calls of one integration under way at once.
pub const VENDOR_CALLS_OF_ONE_MAX: usize = VENDOR_CALLS_MAX / 4;

/// The calls under way, by integration.
#[derive(Default)]
pub struct VendorCalls(Mutex<Tally<IntegrationId>>);

/// The slot of one call, given back when dropped.
pub struct VendorCallSlot<'a> {
    calls: &'a VendorCalls,
    integration: IntegrationId,
}

impl VendorCalls {
    fn lock(&self) -> MutexGuard<'_, Tally<IntegrationId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot for one call to the vendor of an integration.
    ///
    /// # Errors
    /// 503 when too many are under way.
    pub fn slot(&self, integration: IntegrationId) -> Result<VendorCallSlot<'_>, Error> {
        let mut under_way = self.lock();
        if under_way.of(&integration) >= VENDOR_CALLS_OF_ONE_MAX {
            return Err(Error::unavailable(
                "Too many questions to the vendor of this integration are under way",
            ));
        }
        if under_way.total() >= VENDOR_CALLS_MAX {
            return Err(Error::unavailable(
                "Too many questions to vendors are under way",
            ));
        }
        under_way.add(integration, 1);
        Ok(VendorCallSlot {
            calls: self,
            integration,
        })
    }
}

impl Drop for VendorCallSlot<'_> {
    fn drop(&mut self) {
        self.calls.lock().take_back(&self.integration, 1);
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;
    use crate::fixture::Fixed;

    fn integration(number: u8) -> IntegrationId {
        IntegrationId::new(Timestamp::ZERO, &Fixed(number))
    }

    #[test]
    fn an_integration_that_hangs_leaves_slots_to_the_others() {
        let calls = VendorCalls::default();
        let mut held = Vec::new();
        for one in 0..4 {
            for _ in 0..VENDOR_CALLS_OF_ONE_MAX {
                held.push(calls.slot(integration(one)).ok());
            }
            assert!(calls.slot(integration(one)).is_err(), "{one}");
        }
        assert!(held.iter().all(Option::is_some));
        assert!(calls.slot(integration(4)).is_err(), "all are taken");
        held.pop();
        assert!(calls.slot(integration(4)).is_ok());
        assert!(calls.slot(integration(3)).is_ok());
        held.clear();
        assert!(calls.lock().is_empty());
    }
}
