//! Somebody who waits for something that another thread makes, and hears of it in any case.

/// What is said to whoever waits when nobody says anything else.
pub trait GivenUp {
    fn given_up() -> Self;
}

/// Where something goes that is waited for. One that is dropped says that it was given up, so that nobody
/// waits for ever.
pub struct Reply<T: GivenUp>(Option<Box<dyn FnOnce(T) + Send>>);

impl<T: GivenUp> Reply<T> {
    pub fn new(hear: impl FnOnce(T) + Send + 'static) -> Reply<T> {
        Reply(Some(Box::new(hear)))
    }

    pub fn send(mut self, what: T) {
        if let Some(hear) = self.0.take() {
            hear(what);
        }
    }
}

impl<T: GivenUp> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(hear) = self.0.take() {
            hear(T::given_up());
        }
    }
}
