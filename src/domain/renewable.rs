//! Something that is replaced as a whole while others use it, such as a key after its rotation.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// A value that all clones share and that may be replaced. A caller that took the value before keeps the old one.
pub struct Renewable<T>(Arc<RwLock<Arc<T>>>);

impl<T> Renewable<T> {
    /// Holds `value` until it is replaced.
    pub fn new(value: impl Into<Arc<T>>) -> Self {
        Self(Arc::new(RwLock::new(value.into())))
    }

    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value for all clones at once.
    pub fn set(&self, value: impl Into<Arc<T>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value.into();
    }
}

impl<T> Clone for Renewable<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: fmt::Debug> fmt::Debug for Renewable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl<T> From<T> for Renewable<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T> From<Arc<T>> for Renewable<T> {
    fn from(value: Arc<T>) -> Self {
        Self::new(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_see_the_new_value_and_who_took_the_old_one_keeps_it() {
        let (one, taken) = {
            let one = Renewable::from(1);
            (one.clone(), one.get())
        };
        let other = one.clone();
        other.set(2);
        assert_eq!((*one.get(), *taken), (2, 1));
    }
}
