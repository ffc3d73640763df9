//! Rows that a transaction read ahead of their use, a place for each type.
//!
//! Guarantee: nothing in it outlives the transaction that read it, the undoing of what was read, or
//! a change of a subscription.

use std::{
    any::{Any, TypeId},
    cell::RefCell,
    collections::HashMap,
};

/// See the module.
#[derive(Default)]
pub(crate) struct Prefetched(RefCell<HashMap<TypeId, Box<dyn Any>>>);

impl Prefetched {
    /// Gives `work` the rows of type `T`; none were read yet when they are its default. `work` must
    /// not ask for others.
    pub(crate) fn with<T: Default + 'static, R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut all = self.0.borrow_mut();
        let rows = all
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Box::<T>::default());
        match rows.downcast_mut() {
            Some(rows) => work(rows),
            // Never: rows have the type that they stand under.
            None => work(&mut T::default()),
        }
    }

    /// Something that was read has changed, or was undone.
    pub(crate) fn forget(&self) {
        self.0.take();
    }
}
