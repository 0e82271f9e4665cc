//! What a connection to NATS reports besides answers: that it ended, and what the server denied.
//!
//! A server answers a request that a user has no permission for by an error of the connection, and the
//! request itself not at all.

use crate::error::Error;
use crate::location::Location;
use async_nats::{Event, ServerError};
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// The events of one connection.
#[derive(Default)]
pub(crate) struct Events {
    end: Notify,
    denial: Notify,
    /// The server's words.
    denied: Mutex<String>,
}

impl Events {
    pub(crate) fn receive(&self, event: Event) {
        match event {
            Event::Disconnected | Event::Closed => self.end.notify_one(),
            Event::ServerError(ServerError::Other(text)) if is_denial(&text) => {
                *self.denied.lock().unwrap_or_else(PoisonError::into_inner) = text;
                self.denial.notify_one();
            }
            _ => {}
        }
    }

    /// Waits until the connection ends.
    pub(crate) async fn ended(&self) {
        self.end.notified().await;
    }

    /// What `requests` return, or [`Error::Denied`] once the server denies one of them.
    pub(crate) async fn unless_denied<T>(
        &self,
        location: &Location,
        requests: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            outcome = requests => outcome,
            () = self.denial.notified() => {
                let denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
                Err(Error::Denied {
                    location: location.to_string(),
                    why: denied.clone(),
                })
            }
        }
    }
}

/// `Permissions Violation for Publish to "$KV.flags.limit"` (nats-server, `client.go`).
fn is_denial(text: &str) -> bool {
    text.to_ascii_lowercase().contains("permissions violation")
}
